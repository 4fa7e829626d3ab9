"""The numbers behind the claims, on curves whose answer is plain."""

import math

import numpy as np
import pandas as pd
import pytest

from ncbook.chapters.train_test_collapse import quantities as q

EPOCHS = [0, 1, 10, 20, 40]


def curves(train: dict[str, list[float]], test: dict[str, list[float]], *, terminal=10.0, size: int = 1000) -> pd.DataFrame:
    """One seed's rows: named columns at EPOCHS on both splits; the terminal phase is known from its epoch on, as the experiment says it."""
    rows = []
    for split, columns in (("train", train), ("test", test)):
        for i, epoch in enumerate(EPOCHS):
            known = math.nan if math.isnan(terminal) or epoch < terminal else terminal
            values = {name: column[i] for name, column in columns.items()}
            rows.append({"train_size": size, "epoch": epoch, "split": split, "terminal_epoch": known, **values})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # the order of rows says nothing


def both(train: list[float], test: list[float], **kwargs) -> pd.DataFrame:
    return curves({"variance_ratio": train}, {"variance_ratio": test}, **kwargs)


DOWN = [9, 3, 1, 0.1, 0.01]  # two decades from the terminal phase on, which begins at the value 1
FLAT = [9, 3, 2, 2, 2]
UP = [9, 3, 2, 2.5, 20]  # one decade up


def test_terminal_fall():
    assert q.terminal_fall(both(DOWN, UP)) == pytest.approx(0.01)
    assert q.terminal_fall(both(DOWN, UP), split="test") == pytest.approx(10)
    assert q.terminal_fall(both(DOWN, UP, terminal=20.0)) == pytest.approx(0.1)
    assert q.terminal_fall(both(DOWN, UP, terminal=0.0)) == pytest.approx(0.01 / 9)


def test_strong_lag():
    assert q.strong_lag(both(DOWN, DOWN)) == pytest.approx(-1)  # test falls as train does: half of two decades, less two
    assert q.strong_lag(both(DOWN, [9, 3, 1, 0.5, 0.1])) == pytest.approx(0)  # at half the rate: the threshold
    assert q.strong_lag(both(DOWN, FLAT)) == pytest.approx(1)
    assert q.strong_lag(both(DOWN, UP)) == pytest.approx(2)
    assert q.strong_lag(both(FLAT, FLAT)) == pytest.approx(0)


def test_weak_lag_is_that_of_the_statistic_that_lags_less():
    fall, flat = {"weak_nearest_mean": DOWN, "weak_kmeans": DOWN}, {"weak_nearest_mean": FLAT, "weak_kmeans": FLAT}
    assert q.weak_lag(curves(fall, fall)) == pytest.approx(-1)
    assert q.weak_lag(curves(fall, flat)) == pytest.approx(1)
    assert q.weak_lag(curves(fall, {**flat, "weak_kmeans": DOWN})) == pytest.approx(-1)
    assert q.weak_lag(curves(fall, {**flat, "weak_nearest_mean": UP})) == pytest.approx(1)


def test_opposite_over_training_needs_both_to_move():
    assert q.opposite_over_training(both(DOWN, UP)) == pytest.approx(1)  # two decades down, one up
    assert q.opposite_over_training(both([9, 3, 1, 0.5, 0.5], UP)) == pytest.approx(math.log10(2))
    assert q.opposite_over_training(both(DOWN, FLAT)) == pytest.approx(0)
    assert q.opposite_over_training(both(UP, UP)) == pytest.approx(-1)
    assert q.opposite_over_training(both(DOWN, DOWN)) == pytest.approx(-2)


@pytest.mark.parametrize("terminal", [math.nan, 40.0], ids=["never", "at the last epoch"])
@pytest.mark.parametrize("quantity", [q.terminal_fall, q.strong_lag, q.weak_lag, q.opposite_over_training])
def test_without_a_terminal_phase_there_is_no_number(quantity, terminal):
    columns = dict.fromkeys(("variance_ratio", "weak_nearest_mean", "weak_kmeans"), DOWN)
    assert math.isnan(quantity(curves(columns, columns, terminal=terminal)))


def test_a_missing_half_is_no_number():
    """The smaller of a number and of nothing is nothing, in whichever order they come."""
    gone = [9, 3, math.nan, 1, 1]
    fall, flat = {"weak_nearest_mean": DOWN, "weak_kmeans": DOWN}, {"weak_nearest_mean": FLAT, "weak_kmeans": FLAT}
    for name in fall:
        assert math.isnan(q.weak_lag(curves(fall, {**flat, name: gone})))
    assert math.isnan(q.opposite_over_training(both(DOWN, gone)))
    assert math.isnan(q.opposite_over_training(both(gone, UP)))
    assert math.isnan(q.opposite_over_train_size(sizes({1000: (0.1, math.nan), 100: (0.001, 10.0)})))
    assert math.isnan(q.opposite_over_train_size(sizes({1000: (math.nan, 1.0), 100: (0.001, 10.0)})))


def test_the_largest_training_set_is_what_counts_over_training():
    rows = pd.concat([both(DOWN, UP), both(FLAT, DOWN, size=100, terminal=math.nan)])
    assert q.terminal_fall(rows) == pytest.approx(0.01)
    assert q.strong_lag(rows) == pytest.approx(2)


def sizes(values: dict[int, tuple[float, float]]) -> pd.DataFrame:
    """Last values (train, test) by training-set size; smaller sets train for more epochs, and end elsewhere."""
    parts = []
    for size, (train, test) in values.items():
        column = {"variance_ratio_common": [5, 5, 5, 5, train]}, {"variance_ratio_common": [5, 5, 5, 5, test]}
        part = curves(*column, size=size)
        parts.append(part.assign(epoch=part.epoch * 1000 // size))
    return pd.concat(parts)


def test_opposite_over_train_size():
    assert q.opposite_over_train_size(sizes({1000: (0.1, 1.0), 100: (0.001, 10.0)})) == pytest.approx(1)  # two decades, one decade
    assert q.opposite_over_train_size(sizes({100: (0.1, 10.0), 300: (9, 9), 1000: (0.1, 1.0)})) == pytest.approx(0)  # train stays
    assert q.opposite_over_train_size(sizes({100: (0.01, 0.1), 1000: (0.1, 1.0)})) == pytest.approx(-1)  # test falls
    assert q.opposite_over_train_size(sizes({100: (1.0, 10.0), 1000: (0.1, 1.0)})) == pytest.approx(-1)  # train rises
    assert math.isnan(q.opposite_over_train_size(sizes({1000: (0.1, 1.0)})))


def test_noise_alone_is_not_opposite_movement():
    """Two independent changes without direction: the smaller of the two is negative on average, so chance works against the claim."""
    random = np.random.default_rng(0)
    values = []
    for _ in range(400):
        train, test = 10 ** random.normal(0, 0.1, size=(2, len(EPOCHS)))
        values.append(q.opposite_over_training(both(list(train), list(test))))
    assert np.mean(values) < -0.03
