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


def change(column: str, by: Callable, where: str = "epoch >= 0", of: pd.DataFrame = RECORD) -> pd.DataFrame:
    """The record, with some cells of a column changed."""
    forged = of.copy()
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


def test_the_run_that_differs_is_named_whatever_the_order_of_the_record():
    record = change("v", lambda v: v * 1.1, "seed == 1 and epoch == 3", of=HERE)
    record = pd.concat([part for _, part in sorted(record.groupby("seed"), reverse=True)], ignore_index=True)
    (miss,) = compare.exactly(RUNS, record, HERE).misses
    assert miss.startswith("dataset=digits, seed=1, epoch 3")


def test_a_run_that_has_no_word_among_its_parameters_is_named_by_all_of_them():
    assert compare.in_words(RUNS[1]) == "dataset=digits, seed=1"
    assert "(width=3)" in compare.in_words(Run(experiment, {"width": 3}, "cpu", instruction_set="native"))


def test_other_columns_are_named_and_nothing_else_is_compared():
    for compared in (compare.exactly, lambda *tables: compare.within(*tables, OTHERS)):
        assert compared(RUNS, HERE.assign(more=1), HERE).misses == ["the columns differ: more"]
        assert compared(RUNS, HERE.drop(columns="v"), HERE).misses == ["the columns differ: v"]
        assert compared(RUNS, HERE[HERE.columns[::-1]], HERE).misses == ["the columns differ: their order"]


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


def test_rows_are_compared_run_by_run_whatever_the_order_of_the_runs():
    assert within(RECORD.sort_values(["seed", "epoch"], ascending=[False, True], ignore_index=True)) == []


def test_a_text_among_numbers_is_a_miss():
    forged = RECORD.astype({"v": object})
    forged.loc[7, "v"] = "abc"
    assert within(forged) == ["v: recorded abc where numbers stand here"]
    assert within(RECORD.astype({"v": object})) == []  # numbers all the same


def test_short_runs_may_not_go_over_an_edge():
    assert within(table(3)) == []
    assert any("seed=2" in miss for miss in within(table(3), steady=True))


# --- where instruction sets round alike, so that a record may be off by no more than single networks may be -------------------------------


def off(column: str, by: Callable, where: str, here: pd.DataFrame = HERE, others: list[pd.DataFrame] | None = None, **kwargs) -> list[str]:
    """What is wrong with a record of exactly these digits but for some cells of a column."""
    return compare.within(RUNS, change(column, by, where, of=here), here, [here.copy()] if others is None else others, **kwargs).misses


def test_a_few_networks_may_be_off_by_what_networks_are_and_by_no_more():
    """By a factor of two, or by 0.3 of a column's largest number: one or two networks of six, and none before training."""
    for unit in (1.0, 100.0):
        here = HERE.assign(margin=HERE.margin * unit)
        largest = here.margin.abs().max()
        cases = [("v", lambda v: v * 1.9, lambda v: v * 2.2)]
        cases += [("margin", lambda m, size=largest: m + 0.25 * size, lambda m, size=largest: m + 0.35 * size)]
        for column, near, far in cases:
            assert off(column, near, "epoch == 30 and seed == 4", here) == []
            assert off(column, near, "epoch == 30 and seed >= 4", here) == []
            assert off(column, far, "epoch == 30 and seed == 4", here)
            assert off(column, near, "epoch == 0 and seed == 4", here)
            assert off(column, near, "epoch == 30 and seed == 4", here, steady=True)
    up_and_down = change(
        "v", lambda v: v / 1.9, "epoch == 30 and seed == 1", of=change("v", lambda v: v * 1.9, "epoch == 30 and seed >= 4", of=HERE)
    )
    assert len(compare.within(RUNS, up_and_down, HERE, [HERE.copy()]).misses) == 3  # of six
    alone, near = HERE[HERE.seed == 0], change("v", lambda v: v * 1.9, "epoch == 30 and seed == 0", of=HERE)
    assert compare.within(RUNS[:1], near[near.seed == 0], alone, [alone.copy()]).misses == []  # of one


def test_a_column_of_zeros_has_the_unit_one():
    here = HERE.assign(zero=0.0)
    assert off("zero", lambda z: z + 1e-4, "seed == 1", here, steady=True) == []
    assert off("zero", lambda z: z + 3e-4, "epoch == 30 and seed == 1", here, steady=True)


def test_networks_may_be_off_as_far_as_they_go_here_in_any_column():
    there = lambda m: m + 0.5 * HERE.margin.abs().max()
    moved = change("v", lambda v: v * 4, "epoch == 100 and seed == 0", of=HERE)  # by 0.6 decades, of one network here
    assert off("margin", there, "epoch == 30 and seed == 4")
    assert off("margin", there, "epoch == 30 and seed == 4", others=[HERE.copy(), moved]) == []
    assert off("v", lambda v: v * 100, "epoch == 30 and seed == 4", others=[HERE.copy(), moved]) == []  # in its own by FACTOR times as much
    assert off("v", lambda v: v * 5000, "epoch == 30 and seed == 4", others=[HERE.copy(), moved])


def test_a_number_may_be_missing_where_the_instruction_sets_lack_it_too():
    missing, where = (lambda v: np.nan * v), "epoch == 30 and seed == 4"
    for steady in (True, False):
        assert off("v", missing, where, others=[change("v", missing, where, of=HERE)], steady=steady) == []
        assert off("v", missing, where, steady=steady)
        assert off("v", missing, "epoch == 0 and seed == 4", others=[change("v", missing, where, of=HERE)], steady=steady)


def test_a_number_that_is_missing_excuses_no_other_number():
    missing, where = (lambda v: np.nan * v), "epoch == 30 and seed == 4"
    here, others = change("v", missing, where, of=HERE), [change("v", missing, where, of=table) for table in OTHERS]
    lies = [(lie, of_run) for lie in (1e9, 1e-9, 0.0, -5.0, np.inf, -1e300) for of_run in ("seed == 1", "seed in (1, 3)")]
    for lie, of_run in lies:
        for epoch in (30, 100):  # where a number is missing, and after it
            record = change("v", lambda v, lie=lie: lie, f"epoch == {epoch} and {of_run}", of=change("v", missing, where))
            assert compare.within(RUNS, record, here, others).misses
    assert compare.within(RUNS, change("v", missing, where), here, others).misses == []


def test_before_training_one_image_may_flip_and_no_two():
    for steady in (True, False):
        assert off("error", lambda e: e + 0.01, "epoch == 0 and seed == 1", steady=steady) == []
        assert off("error", lambda e: e + 0.01, "epoch == 0 and seed in (1, 4)", steady=steady)
    for here in (HERE, change("error", lambda e: np.nan * e, "epoch == 1 and seed == 0", of=HERE)):  # missing values make no cell free
        assert off("error", lambda e: e + 0.03, "epoch == 0 and seed == 1", here, steady=True)


def test_nothing_measured_compares_columns_with_their_seeds():
    assert within(table(3), others=[]) == []
    assert within(change("v", lambda v: v * 30), others=[])
    assert within(change("error", lambda v: v + 0.5), others=[])
    two, forged = HERE[HERE.seed < 2], change("v", lambda v: v * 30, "epoch > 0", of=HERE)
    assert compare.within(RUNS[:2], forged[forged.seed < 2], two, []).misses
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
    text = lambda by: lambda texts: [" ".join(f"{float(x) * by:.3g}" for x in text.split()) for text in texts]
    assert off("spectrum", text(1.005), "epoch == 30 and seed == 1", steady=True) == []
    assert off("spectrum", text(1.03), "epoch == 30 and seed == 1", steady=True)


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
