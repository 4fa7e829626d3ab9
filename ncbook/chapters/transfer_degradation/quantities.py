"""The numbers behind the claims on transfer. Each takes the rows of one seed in one setting, of one probe.

The *main arm* is coarse labels at the largest weight decay on record: the one with the deepest collapse, fixed before any run. A *change*
is the accuracy at the last epoch minus that where the terminal phase began. All are nan unless V on the training set falls by a decade over
the terminal phase, and ends below `COLLAPSED`.
"""

import numpy as np
import pandas as pd

from ncbook.claims.curves import terminal_ends

NAN = float("nan")
ROOM = 0.1  # of a probe's accuracy on the untrained network over the ceiling: less leaves nothing to keep or to lose
COLLAPSED = 0.01  # V on the training set, of the labels that it was trained on, at the end of a run that has collapsed


def change(rows: pd.DataFrame) -> float:
    """Change of the probe's accuracy over the terminal phase, main arm."""
    return _change(_arm(rows, "coarse"))


def change_with_fine_labels(rows: pd.DataFrame) -> float:
    """The same after pre-training on the fine labels."""
    return _change(_arm(rows, "fine"))


def change_on_new_classes(rows: pd.DataFrame) -> float:
    """The same on classes that the network has never seen."""
    return _change(_arm(rows, "new"))


def source_change(rows: pd.DataFrame) -> float:
    """Change of the test accuracy on the labels that the network was trained on, main arm."""
    return -_change(_arm(rows, "coarse"), "source_error_test")


def slope_over_weight_decay(rows: pd.DataFrame) -> float:
    """Probe accuracy gained for each decade of V on train, over the weight decays, at the last epoch."""
    return _slope(rows, "coarse")


def slope_with_fine_labels(rows: pd.DataFrame) -> float:
    """The same after pre-training on the fine labels."""
    return _slope(rows, "fine")


def fine_structure(rows: pd.DataFrame) -> float:
    """Of the excess over the readout ceiling that the probe has on the untrained network, the share that it has at the end, main arm.

    Rows of one blur: the noise is the same for both.
    """
    return _share(rows, _at_the_end(_arm(rows, "coarse", rows["blur"].max())))


def fine_structure_of_class_means(rows: pd.DataFrame) -> float:
    """The same where each image stands on the nearest class mean: collapsed altogether."""
    return _share(rows, _at_the_end(rows[rows["layer"] == "class means"]))


def _arm(rows: pd.DataFrame, labels: str, blur: float = 0.0) -> pd.DataFrame:
    """The last layer's rows of one kind of pre-training labels at the largest weight decay, features as they are but for the blur."""
    arm = rows[(rows["labels"] == labels) & rows["last_layer"] & (rows["blur"] == blur)]
    return arm[arm["weight_decay"] == arm["weight_decay"].max()]


def _at_the_end(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["epoch"] == rows["epoch"].max()]


def _collapsed(rows: pd.DataFrame) -> bool:
    begin, end = terminal_ends(rows, "variance_ratio_train")
    return bool(end <= begin / 10 and end < COLLAPSED)


def _change(rows: pd.DataFrame, column: str = "accuracy") -> float:
    if rows.empty or not _collapsed(rows):
        return NAN
    begin, end = terminal_ends(rows, column)
    return end - begin


def _slope(rows: pd.DataFrame, labels: str) -> float:
    """Least-squares slope of accuracy on log10 of V on train at the last epoch; nan for one weight decay, or less than a decade between."""
    arms = _at_the_end(rows[(rows["labels"] == labels) & rows["last_layer"] & (rows["blur"] == 0)])
    x = np.log10(arms["variance_ratio_train"].to_numpy())
    if len(x) < 2 or np.ptp(x) < 1 or not _collapsed(_arm(rows, labels)):
        return NAN
    x = x - x.mean()
    return float(x @ arms["accuracy"].to_numpy() / (x @ x))


def _share(rows: pd.DataFrame, end: pd.DataFrame) -> float:
    main = _arm(rows, "coarse", rows["blur"].max())
    if len(end) != 1 or not _collapsed(main):
        return NAN
    ceiling = main["source_classes"].iloc[0] / main["fine_classes"].iloc[0]
    untrained = main.loc[main["epoch"] == 0, "accuracy"].item()
    if untrained - ceiling < ROOM - 1e-9:
        return NAN
    return float((end["accuracy"].item() - ceiling) / (untrained - ceiling))
