"""The numbers behind the claims on train and test collapse. Each takes the rows of one network: one seed in one setting.

The *last decade* is the end of the terminal phase, over which V on the training set falls from ten times its last value to it. The numbers
that speak of it are nan where the terminal phase holds no decade, or where V on the training set ends above `COLLAPSED`.
"""

import numpy as np
import pandas as pd

from ncbook.claims.curves import terminal_ends

NAN = float("nan")
COLLAPSED = 0.005  # V on the training set at the end of a run that has collapsed
WEAK = ("weak_nearest_mean", "weak_kmeans")
NC2 = ("nc2_equinorm", "nc2_equiangularity", "nc2_max_angle")


def terminal_fall(rows: pd.DataFrame, split: str = "train") -> float:
    """Last V over the V where the terminal phase began; nan when it never began. Below 1 it fell: 0.1 is a fall by one decade."""
    begin, end = terminal_ends(rows[rows["split"] == split], "variance_ratio")
    return end / begin


def strong_elasticity(rows: pd.DataFrame) -> float:
    """Decades that test V, with the test set's own means, falls while train V falls its last decade."""
    return elasticity(rows, "variance_ratio")


def weak_elasticity(rows: pd.DataFrame) -> float:
    """The same of the two label-free statistics, which vanish on test exactly under weak collapse: the larger."""
    return float(np.max([elasticity(rows, column) for column in WEAK]))  # nan when either is


def elasticity(rows: pd.DataFrame, column: str) -> float:
    """Decades that a column falls on the test set while V on the training set falls its last decade: 0 is a plateau, at 1 test follows.

    Between two measured epochs both are read off a straight line of the logarithms. Time and schedule cancel.
    """
    if not collapsed(rows):
        return NAN
    train, test = (np.log10(_curve(rows, name, split)) for name, split in (("variance_ratio", "train"), (column, "test")))
    above = train - train[-1] - 1  # decades above where the last decade begins
    i = np.flatnonzero(above >= 0)[-1]
    share = above[i] / (above[i] - above[i + 1])
    return float(test[i] + share * (test[i + 1] - test[i]) - test[-1])


def collapsed(rows: pd.DataFrame) -> bool:
    """Whether the terminal phase holds a decade of the fall of V on the training set, and V ends below `COLLAPSED`."""
    last = _curve(rows, "variance_ratio", "train")[-1]
    return bool(terminal_fall(rows) <= 0.1 and last < COLLAPSED)


def opposite_over_training(rows: pd.DataFrame) -> float:
    """Decades that test V rises while train V falls its last decade."""
    return -strong_elasticity(rows)


def equal_norms_and_angles(rows: pd.DataFrame) -> float:
    """NC2 on the training set at the last epoch: the largest of its three deviations."""
    return _largest(rows, -1, *NC2) if collapsed(rows) else NAN


def norms_and_angles_without_collapse(rows: pd.DataFrame) -> float:
    """The same of a network that fits its labels, whatever V is."""
    return NAN if np.isnan(terminal_fall(rows)) else _largest(rows, -1, *NC2)


def self_duality(rows: pd.DataFrame) -> float:
    """NC3 on the training set at the last epoch."""
    return _largest(rows, -1, "nc3_self_duality") if collapsed(rows) else NAN


def nearest_mean_mismatch(rows: pd.DataFrame) -> float:
    """NC4 at the last epoch: share of the test images whose nearest train mean is not of the class that the network names."""
    return float(_curve(rows, "nc4_ncc_mismatch", "test")[-1]) if collapsed(rows) else NAN


def untrained_norms_and_angles(rows: pd.DataFrame) -> float:
    """NC2 on the training set before any training."""
    return _largest(rows, 0, *NC2)


def untrained_self_duality(rows: pd.DataFrame) -> float:
    """NC3 on the training set before any training."""
    return _largest(rows, 0, "nc3_self_duality")


def untrained_mismatch(rows: pd.DataFrame) -> float:
    """NC4 on the test set before any training."""
    return float(_curve(rows, "nc4_ncc_mismatch", "test")[0])


def error_over_bayes(rows: pd.DataFrame) -> float:
    """Test error at the last epoch over the Bayes error; nan where the terminal phase holds no decade of train V's fall."""
    return float(_curve(rows, "error", "test")[-1] / rows["bayes_error"].iloc[0]) if terminal_fall(rows) <= 0.1 else NAN


def bayes_rule_over_bayes(rows: pd.DataFrame) -> float:
    """Error on the same test images of the rule that knows the class means, over the Bayes error."""
    return float(rows["bayes_rule_error"].iloc[0] / rows["bayes_error"].iloc[0])


def _curve(rows: pd.DataFrame, column: str, split: str) -> np.ndarray:
    """A column of one split, first epoch to last."""
    return rows[rows["split"] == split].sort_values("epoch")[column].to_numpy()


def _largest(rows: pd.DataFrame, place: int, *columns: str) -> float:
    """The largest of some columns on the training set, at the first (0) or the last (-1) epoch."""
    return float(np.max([_curve(rows, column, "train")[place] for column in columns]))
