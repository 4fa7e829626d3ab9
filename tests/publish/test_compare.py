"""What two tables of the same runs are compared by: digit for digit, and by what rounding does to them here."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ncbook.publish import compare
from ncbook.runs.run import Run

SEEDS, EPOCHS = 6, [0, 1, 3, 10, 30, 100]


def experiment(seed, device="cpu"):
    """Only its name is used."""


RUNS = [Run(experiment, {"dataset": "digits", "seed": seed}, "cpu", instruction_set="native") for seed in range(SEEDS)]


def table(rounding: int) -> pd.DataFrame:
    """A collapse as training makes it, on a machine that rounds its own way: 1e-7 apart before training, and more and more so afterwards.

    The third run goes over an edge under one rounding only, as a network does at a maximum.
    """
    draw, rows = np.random.default_rng(rounding), []
    for seed in range(SEEDS):
        start = np.random.default_rng(100 + seed).uniform(1, 2)
        for epoch in EPOCHS:
            apart = min(0.1, 1e-7 * 1.15**epoch) * draw.standard_normal()
            if seed == 2 and rounding == 3 and epoch > 0:
                apart += 0.004
            v = start * (1 + epoch) ** -1.3 * (1 + apart)
            margin = start - 1.5 + 0.01 * epoch * (1 + apart)
            wrong = round(100 * 0.3 / (1 + epoch) * (1 + apart)) / 100
            rows.append(
                {"dataset": "digits", "seed": seed, "epoch": epoch, "split": "train", "n": 50, "v": v, "margin": margin, "error": wrong}
            )
            rows[-1]["spectrum"] = f"1 {v / 2:.3g} {v / 9:.3g}"
    return pd.DataFrame(rows)


HERE, RECORD, OTHERS = table(0), table(1), [table(2), table(4)]


def change(column: str, by: Callable, where: str = "epoch >= 0") -> pd.DataFrame:
    """The record, with some cells of a column changed."""
    forged = RECORD.copy()
    rows = forged.query(where).index
    forged.loc[rows, column] = by(forged.loc[rows, column])
    return forged


def within(record: pd.DataFrame, others=OTHERS, **kwargs) -> list[str]:
    return compare.within(RUNS, record, HERE, others, **kwargs).misses


def test_the_same_digits_are_exact():
    same = compare.exactly(RUNS, HERE.copy(), HERE)
    assert same.misses == [] and same.cells == HERE.size


def test_one_last_digit_is_not_exact_and_is_named():
    forged = HERE.copy()
    forged.loc[8, "v"] = np.nextafter(forged.loc[8, "v"], 9)
    (miss,) = compare.exactly(RUNS, forged, HERE).misses
    assert "dataset=digits, seed=1, epoch 3, split train: v recorded" in miss


@pytest.mark.parametrize("rounding", [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12])
def test_a_machine_that_rounds_otherwise_is_within(rounding):
    assert within(table(rounding)) == []


FORGED = {
    "x 1.001": change("v", lambda v: v * 1.001),
    "x 1.01": change("v", lambda v: v * 1.01),
    "x 0.999": change("v", lambda v: v * 0.999),
    "x 1.01, late": change("v", lambda v: v * 1.01, "epoch >= 10 and epoch < 100"),
    "x 3 at the end": change("v", lambda v: v * 3, "epoch == 100"),
    "one cell before training": change("v", lambda v: v * 1.001, "epoch == 0 and seed == 4"),
    "one late cell x 5": change("v", lambda v: v * 5, "epoch == 100 and seed == 4"),
    "negative": change("v", lambda v: -v),
    "nothing": change("v", lambda v: np.nan * v, "epoch == 3"),
    "infinite": change("v", lambda v: np.inf, "epoch == 3 and seed == 1"),
    "constant": change("v", lambda v: 0.123),
    "a margin x 1.001": change("margin", lambda v: v * 1.001),
    "a margin's sign": change("margin", lambda v: -v),
    "errors": change("error", lambda v: 0.123),
    "errors, all one image off": change("error", lambda v: v + 0.01),
    "samples": change("n", lambda n: n + 1, "seed == 0"),
    "seeds exchanged": RECORD.assign(v=np.roll(RECORD.v, len(EPOCHS))),
    "epochs exchanged": RECORD.assign(v=RECORD.v[::-1].to_numpy()),
    "texts": change("split", lambda v: "test"),
    "spectrum": change("spectrum", lambda text: text.str.replace(r"^1 ", "1.1 ", regex=True)),
    "a row missing": RECORD.drop(index=3),
    "a run missing": RECORD[RECORD.seed < 5],
    "a column missing": RECORD.drop(columns="v"),
    "another run": change("seed", lambda v: v + 50, "seed == 5"),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_was_forged_is_not_within(name):
    assert within(FORGED[name]), name


def test_short_runs_may_not_go_over_an_edge():
    assert within(table(3)) == []
    assert any("seed=2" in miss for miss in within(table(3), steady=True))


def test_nothing_measured_compares_columns_with_their_seeds():
    assert within(table(3), others=[]) == []
    assert within(change("v", lambda v: v * 30), others=[])
    assert within(change("error", lambda v: v + 0.5), others=[])
    assert within(change("v", lambda v: v * 1.01), others=[]) == []  # which is why this class is the weaker one


def test_rows_are_compared_at_the_same_epoch():
    """Where the terminal phase begins an epoch later, the record has a row of its own; any other row that one of them lacks is a miss."""
    tables = [t.assign(terminal_epoch=10.0) for t in (RECORD, HERE, *OTHERS)]
    late = (tables[0].seed == 1) & (tables[0].epoch == 10)
    tables[0].loc[late, "epoch"] = 11
    assert compare.within(RUNS, *tables[:2], tables[2:]).misses
    tables[0].loc[tables[0].seed == 1, "terminal_epoch"] = 11.0
    assert compare.within(RUNS, *tables[:2], tables[2:]).misses == []


def test_a_count_that_differs_in_a_few_images_is_within_and_one_that_differs_in_all_is_not():
    assert within(change("error", lambda v: v + 0.01, "epoch == 3 and seed == 1")) == []
    assert within(change("error", lambda v: v + 0.01, "epoch == 0"))


def test_the_last_printed_digit_of_a_spectrum_is_rounding():
    near = RECORD.copy()
    near.loc[4, "spectrum"] = " ".join(f"{float(x) * 1.003:.3g}" for x in near.loc[4, "spectrum"].split())
    assert within(near) == []


def test_rounding_at_the_end_of_a_spectrum_is_rounding_also_where_one_prints_it_as_zero():
    """A matrix of less than full rank: the last numbers are float32's noise, some of them 0."""
    here, near, other = (
        t.assign(spectrum=t.spectrum + tail) for t, tail in ((HERE, " 0.0"), (RECORD, " 3.6e-09"), (OTHERS[0], " 1.2e-08"))
    )
    assert compare.within(RUNS, near, here, [other], steady=True).misses == []
    wrong = near.assign(spectrum=RECORD.spectrum + " 1e-3")
    assert compare.within(RUNS, wrong, here, [other], steady=True).misses


def test_single_images_that_are_right_on_one_machine_only():
    """A row an image, as on the map of features: a flag is a count of one. One that no machine ever has otherwise is compared exactly."""
    images = pd.concat([HERE.assign(image=i) for i in range(20)]).sort_values(["seed", "epoch"], ignore_index=True)
    here, near, other, all_of_it = (images.assign(right=images.image != wrong, of_train=True) for wrong in (3, 4, 5, 3))
    all_of_it.loc[all_of_it.epoch == 30, "right"] = False
    assert compare.within(RUNS, near, here, [other]).misses == []
    assert compare.within(RUNS, all_of_it, here, [other]).misses
    assert compare.within(RUNS, near.assign(of_train=False), here, [other]).misses
