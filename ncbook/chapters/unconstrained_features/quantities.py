"""The numbers behind the claims on unconstrained features. Each takes the rows of one seed in one setting."""

import numpy as np
import pandas as pd

from ncbook.claims.curves import onset

NAN = float("nan")
FITTED = 1e-8  # of the loss per sample, which starts at half a label
WRONG = 0.01  # of the images at most
COLLAPSED = 0.1  # V of a network with true labels


def v_from_small_start(rows: pd.DataFrame) -> float:
    """V at the last step, from the smallest start; nan where the labels are not fitted."""
    return _end_of_flow(rows, rows["start"].min(), "variance_ratio")


def v_from_large_start(rows: pd.DataFrame) -> float:
    """V at the last step, from the largest start; nan where the labels are not fitted."""
    return _end_of_flow(rows, rows["start"].max(), "variance_ratio")


def leftover_law(rows: pd.DataFrame) -> float:
    """V at the last step over the formula, from the smallest start."""
    return v_from_small_start(rows) / _end_of_flow(rows, rows["start"].min(), "leftover")


def shrinkage(rows: pd.DataFrame) -> float:
    """Singular values of the scores at the minima of the squared loss over the formula; the one farthest from 1."""
    squared = rows[rows["loss"] == "squared"]
    ratios = np.concatenate([squared[column] / squared["predicted"] for column in ("largest", "next_to_last")])
    return float(ratios[np.abs(np.log(ratios)).argmax()])


def off_frame(rows: pd.DataFrame) -> float:
    """Distance of the classifier from the frame that the model gives; the largest of all minima."""
    orthogonal = (rows["loss"] == "squared") & ~rows["bias"]
    return float(np.where(orthogonal, rows["to_orthogonal"], rows["to_simplex"]).max())


def merged(rows: pd.DataFrame) -> float:
    """Mean cosine between minority rows, at the largest ratio and the largest penalty."""
    return float(rows[(rows["ratio"] == rows["ratio"].max()) & (rows["penalty"] == rows["penalty"].max())]["minority_cosine"].iloc[0])


def off_its_frame(rows: pd.DataFrame) -> float:
    """Distance of the classifier from the frame that the model gives for the squared loss over that from the other; nan unless it fits."""
    end = _end(rows[rows["loss"] == "squared"])
    right, wrong = ("to_simplex", "to_orthogonal") if end["bias"] else ("to_orthogonal", "to_simplex")
    return end[right] / end[wrong] if end["train_error"] <= WRONG else NAN


def orthogonal_in_cross_entropy(rows: pd.DataFrame) -> float:
    """Distance of the classifier from an orthogonal frame over that from a simplex, with cross-entropy and no bias; nan unless it fits."""
    return _orthogonal(rows[(rows["loss"] == "cross_entropy") & ~rows["bias"]])


def orthogonal_in_relu(rows: pd.DataFrame) -> float:
    """The same with the squared loss, no bias and ReLU."""
    return _orthogonal(rows[(rows["loss"] == "squared") & ~rows["bias"] & (rows["activation"] == "relu")])


def off_path_fall(rows: pd.DataFrame) -> float:
    """Share of the squared loss that is off the central path at the last epoch over that where the terminal phase begins, with ReLU; nan
    where it does not begin before the last epoch, or the network does not collapse."""
    own = rows[(rows["loss"] == "squared") & (rows["activation"] == "relu")]
    begins, end = own[own["epoch"] == onset(own)], _end(own)
    if begins.empty or end["variance_ratio"] >= COLLAPSED:
        return NAN
    start = begins.iloc[0]
    return (end["off_path"] / end["squared_loss"]) / (start["off_path"] / start["squared_loss"])


def shuffled_over_true(rows: pd.DataFrame) -> float:
    """V with shuffled labels over V with the true ones."""
    return _over_true(rows, "shuffled")


def renamed_over_true(rows: pd.DataFrame) -> float:
    """V with renamed classes over V with the true ones."""
    return _over_true(rows, "renamed")


def merging(rows: pd.DataFrame) -> float:
    """Minority cosine of unequal classes minus that of equal ones, at the largest weight decay."""
    most = rows["weight_decay"].max()
    return _cosine(rows, most, unequal=True) - _cosine(rows, most, ratio=1)


def merging_with_fewer_images(rows: pd.DataFrame) -> float:
    """The same with as few images, shared out equally."""
    most = rows["weight_decay"].max()
    return _cosine(rows, most, unequal=False) - _cosine(rows, most, ratio=1)


def merging_by_decay(rows: pd.DataFrame) -> float:
    """Minority cosine of unequal classes at the largest weight decay minus that at the smallest."""
    return _cosine(rows, rows["weight_decay"].max(), unequal=True) - _cosine(rows, rows["weight_decay"].min(), unequal=True)


def merging_by_decay_with_equal_classes(rows: pd.DataFrame) -> float:
    """The same of equal classes."""
    return _cosine(rows, rows["weight_decay"].max(), ratio=1) - _cosine(rows, rows["weight_decay"].min(), ratio=1)


def _end_of_flow(rows: pd.DataFrame, start: float, column: str) -> float:
    end = rows[rows["start"] == start].sort_values("done").iloc[-1]
    return end[column] if end["loss"] < FITTED else NAN


def _end(rows: pd.DataFrame) -> pd.Series:
    return rows.sort_values("epoch").iloc[-1]


def _orthogonal(rows: pd.DataFrame) -> float:
    if rows.empty:  # a loss that a profile does not train
        return NAN
    end = _end(rows)
    return end["to_orthogonal"] / end["to_simplex"] if end["train_error"] <= WRONG else NAN


def _over_true(rows: pd.DataFrame, labels: str) -> float:
    other, true = (_end(rows[rows["labels"] == name]) for name in (labels, "true"))
    fitted = max(other["train_error"], true["train_error"]) <= WRONG and true["variance_ratio"] < COLLAPSED
    return other["variance_ratio"] / true["variance_ratio"] if fitted else NAN


def _cosine(rows: pd.DataFrame, decay: float, *, unequal: bool = False, ratio: float | None = None) -> float:
    """The minority cosine at the end of one network; nan where it misclassifies more than one in a hundred of the majority."""
    ratio = rows["ratio"].max() if ratio is None else ratio
    end = _end(rows[(rows["weight_decay"] == decay) & (rows["unequal"] == unequal) & (rows["ratio"] == ratio)])
    return end["minority_cosine"] if end["majority_error"] <= WRONG else NAN
