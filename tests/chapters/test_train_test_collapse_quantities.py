"""The numbers behind the claims, on curves whose answer is plain."""

import math

import numpy as np
import pandas as pd
import pytest

from ncbook.chapters.train_test_collapse import quantities as q

EPOCHS = [0, 1, 10, 20, 40]


def curves(train: dict[str, list[float]], test: dict[str, list[float]], *, terminal=10.0) -> pd.DataFrame:
    """One network's rows: columns at EPOCHS on both splits; the terminal phase is known from its epoch on, as the experiment says it."""
    rows = []
    for split, columns in (("train", train), ("test", test)):
        for i, epoch in enumerate(EPOCHS):
            known = math.nan if math.isnan(terminal) or epoch < terminal else terminal
            values = {name: column[i] for name, column in columns.items()}
            rows.append({"epoch": epoch, "split": split, "terminal_epoch": known, **values})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # the order of rows says nothing


def both(train: list[float], test: list[float], **kwargs) -> pd.DataFrame:
    return curves({"variance_ratio": train}, {"variance_ratio": test}, **kwargs)


DOWN = [9, 3, 0.1, 0.02, 0.001]  # two decades from the terminal phase on; its last decade begins between the last two epochs
FLAT = [9, 3, 2, 2, 2]
AS_TRAIN = [9, 3, 1, 0.2, 0.01]
HALF = [9, 3, 1, 20**0.5 / 10, 0.1]  # half the decades of train


def test_terminal_fall():
    assert q.terminal_fall(both(DOWN, FLAT)) == pytest.approx(0.01)
    assert q.terminal_fall(both(DOWN, FLAT), split="test") == pytest.approx(1)
    assert q.terminal_fall(both(DOWN, FLAT, terminal=20.0)) == pytest.approx(0.05)
    assert q.terminal_fall(both(DOWN, FLAT, terminal=0.0)) == pytest.approx(0.001 / 9)


def test_elasticity_is_of_the_last_decade_alone():
    assert q.strong_elasticity(both(DOWN, FLAT)) == pytest.approx(0)
    assert q.strong_elasticity(both(DOWN, AS_TRAIN)) == pytest.approx(1)
    assert q.strong_elasticity(both(DOWN, HALF)) == pytest.approx(0.5)
    assert q.strong_elasticity(both(DOWN, [99, 50, 3, 2, 2])) == pytest.approx(0)  # what test did before does not count
    rise = math.log10(20)  # decades of train between the last two epochs: a rise of test by one decade there is 1 / rise of the last one
    assert q.strong_elasticity(both(DOWN, [9, 3, 2, 2, 20])) == pytest.approx(-1 / rise)


def test_elasticity_between_measured_epochs_is_that_of_a_power_law_wherever_they_are():
    random = np.random.default_rng(0)
    for _ in range(20):
        train = np.sort(10 ** random.uniform(-4, 0, size=len(EPOCHS)))[::-1]
        train[[2, -1]] = train[-1] * 10 ** random.uniform(1, 3), min(train[-1], 4e-3)
        train = np.sort(train)[::-1]
        if train[2] >= 10 * train[-1]:
            assert q.strong_elasticity(both(list(train), list(2 * train**0.4))) == pytest.approx(0.4)


def test_a_fall_that_is_undone_is_not_of_the_last_decade():
    assert q.strong_elasticity(both([9, 3, 0.1, 0.0005, 0.001], FLAT)) == pytest.approx(0)
    bounce = both([9, 0.0005, 0.1, 0.05, 0.001], [9, 1, 4, 2, 1])  # the last crossing counts
    assert 0 < q.strong_elasticity(bounce) < 1


def test_weak_elasticity_is_that_of_the_statistic_that_falls_more():
    def weak(nearest, kmeans):
        return q.weak_elasticity(
            curves({"variance_ratio": DOWN}, {"variance_ratio": FLAT, "weak_nearest_mean": nearest, "weak_kmeans": kmeans})
        )

    assert weak(AS_TRAIN, AS_TRAIN) == pytest.approx(1)
    assert weak(AS_TRAIN, FLAT) == weak(FLAT, AS_TRAIN) == pytest.approx(1)
    assert weak(FLAT, FLAT) == pytest.approx(0)
    gone = [9, 3, math.nan, math.nan, math.nan]
    assert math.isnan(weak(gone, FLAT)) and math.isnan(weak(FLAT, gone))


@pytest.mark.parametrize(
    "rows",
    [
        both(DOWN, FLAT, terminal=math.nan),
        both(DOWN, FLAT, terminal=40.0),
        both([9, 3, 0.02, 0.01, 0.004], FLAT),  # less than a decade
        both([9, 3, 1, 0.1, 0.006], FLAT),  # not deep enough
        both(DOWN[:-1] + [math.nan], FLAT),
    ],
    ids=["never", "at the last epoch", "no decade", "not collapsed", "undefined"],
)
def test_the_guard(rows):
    assert not q.collapsed(rows)
    for quantity in (q.strong_elasticity, q.weak_elasticity, q.opposite_over_training, q.equal_norms_and_angles, q.self_duality):
        assert math.isnan(quantity(rows))
    assert math.isnan(q.nearest_mean_mismatch(rows))


def test_opposite_over_training_is_the_rise_of_test():
    assert q.opposite_over_training(both(DOWN, FLAT)) == pytest.approx(0)
    assert q.opposite_over_training(both(DOWN, [9, 3, 2, 2, 20])) > 0
    assert q.opposite_over_training(both(DOWN, AS_TRAIN)) == pytest.approx(-1)


def test_the_four_properties_at_the_end_and_before_training():
    train = {
        "variance_ratio": DOWN,
        "nc2_equinorm": [0.1, 0, 0, 0, 0.02],
        "nc2_equiangularity": [0.2, 0, 0, 0, 0.01],
        "nc2_max_angle": [0.3, 0, 0, 0, 0.03],
        "nc3_self_duality": [2, 1, 1, 1, 0.04],
        "nc4_ncc_mismatch": [0.8, 0, 0, 0, 0],
    }
    test = {name: [9, 9, 9, 9, 9] for name in train} | {"nc4_ncc_mismatch": [0.9, 0, 0, 0, 0.01]}
    rows = curves(train, test)
    assert (q.equal_norms_and_angles(rows), q.untrained_norms_and_angles(rows)) == (0.03, 0.3)
    assert q.norms_and_angles_without_collapse(rows) == 0.03
    assert (q.self_duality(rows), q.untrained_self_duality(rows)) == (0.04, 2)
    assert (q.nearest_mean_mismatch(rows), q.untrained_mismatch(rows)) == (0.01, 0.9)
    shallow = curves(train | {"variance_ratio": FLAT}, test)
    assert q.norms_and_angles_without_collapse(shallow) == 0.03 and math.isnan(q.equal_norms_and_angles(shallow))
    assert math.isnan(q.norms_and_angles_without_collapse(curves(train, test, terminal=math.nan)))


def test_errors_over_the_bayes_error():
    rows = curves({"variance_ratio": DOWN, "error": [0] * 5}, {"variance_ratio": FLAT, "error": [0.9, 0.5, 0.1, 0.05, 0.03]})
    rows = rows.assign(bayes_error=0.01, bayes_rule_error=0.012)
    assert q.error_over_bayes(rows) == pytest.approx(3)
    assert q.bayes_rule_over_bayes(rows) == pytest.approx(1.2)
    assert math.isnan(q.error_over_bayes(rows.assign(terminal_epoch=math.nan)))
