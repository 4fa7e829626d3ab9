"""The numbers behind the claims on train and test collapse. Each takes the rows of one seed in one setting."""

import numpy as np
import pandas as pd

from ncbook.claims.curves import terminal_ends

NAN = float("nan")


def terminal_fall(rows: pd.DataFrame, column: str = "variance_ratio", split: str = "train") -> float:
    """Last value over the value where the terminal phase began, at the largest training set; nan when it never began.

    Below 1 the quantity fell during the terminal phase: 0.1 is a fall by one decade.
    """
    largest = rows[(rows["train_size"] == rows["train_size"].max()) & (rows["split"] == split)]
    begin, end = terminal_ends(largest, column)
    return end / begin


def strong_lag(rows: pd.DataFrame) -> float:
    """Decades that test V, with the test set's own means, falls short of half of train V's fall in the terminal phase."""
    return _lag(rows, "variance_ratio")


def weak_lag(rows: pd.DataFrame) -> float:
    """Decades by which the label-free statistics on test, which vanish exactly under weak collapse, fall short of half of train's fall: the
    smaller."""
    return np.minimum(_lag(rows, "weak_nearest_mean"), _lag(rows, "weak_kmeans"))  # nan when either is


def _lag(rows: pd.DataFrame, column: str) -> float:
    train, test = (terminal_fall(rows, column, split) for split in ("train", "test"))
    return np.log10(test) - 0.5 * np.log10(train)


def opposite_over_training(rows: pd.DataFrame) -> float:
    """Decades by which train V falls and test V rises during the terminal phase: the smaller of the two, so both must move."""
    return np.minimum(-np.log10(terminal_fall(rows)), np.log10(terminal_fall(rows, split="test")))


def opposite_over_train_size(rows: pd.DataFrame) -> float:
    """Decades by which train V falls and test V rises from the largest training set to the smallest, at the last epoch.

    Both are measured at the same number of samples a class. The smaller of the two, so both must move; nan for one size only.
    """
    last = rows.sort_values("epoch").groupby(["train_size", "split"]).tail(1)
    v = np.log10(last.pivot(index="train_size", columns="split", values="variance_ratio_common").sort_index())
    if len(v) < 2:
        return NAN
    small, large = v.iloc[0], v.iloc[-1]
    return np.minimum(large["train"] - small["train"], small["test"] - large["test"])
