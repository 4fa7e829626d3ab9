"""The numbers behind the claims on frames: from one start of free features, or from one layout of frames × seeds."""

import numpy as np
import pandas as pd
from scipy import special

from ncbook.claims import components

NAN = float("nan")


def angle_gap(rows: pd.DataFrame) -> float:
    """Largest cosine at the largest scale, less the least known: 0 when the frame is reached."""
    last = rows.sort_values("scale").iloc[-1]
    return last["largest_cosine"] - last["best_cosine"]


def margin_shortfall(rows: pd.DataFrame) -> float:
    """How far the margin at the largest scale falls short of the best code's, in units of log(C (C - 1)) / scale, which a minimiser keeps
    to."""
    last = rows.sort_values("scale").iloc[-1]
    classes = last["classes"]
    return (1 - last["best_cosine"] - last["one_vs_rest"]) * last["scale"] / np.log(classes * (classes - 1))


def finite_scale_gap(rows: pd.DataFrame) -> float:
    """Largest cosine at scale 10, less the least known; nan where the table has no scale 10."""
    there = rows[rows["scale"] == 10]
    return (there["largest_cosine"] - there["best_cosine"]).iloc[0] if len(there) else NAN


def frame_variance(rows: pd.DataFrame) -> float:
    """Variance that frames add to the test accuracy, in squared percentage points; unbiased, so negative half the time when there is
    none."""
    return components.variance(accuracy(rows))


def frame_variance_equal_collapse(rows: pd.DataFrame) -> float:
    """Variance that frames add to the test accuracy, in squared points, after what train V and train error explain of it has been taken
    out."""
    y, error, collapse = (table(rows, c) for c in ("test_error", "train_error", "train_variance_ratio"))
    if (collapse <= 0).any():
        return NAN
    y = -100 * y
    covariates = np.stack([_within(np.log10(collapse)).ravel(), _within(error).ravel()], axis=1)
    slopes = np.linalg.lstsq(covariates, _within(y).ravel(), rcond=None)[0]
    return components.variance(y - (covariates @ slopes).reshape(y.shape))


def permutation_score(rows: pd.DataFrame) -> float:
    """The p-value of the layout's permutation test as a normal score: standard normal over layouts when frames do not matter, large when
    they do."""
    return float(-special.ndtri(components.component(accuracy(rows)).p - 0.5 / 1000))  # the middle of the step of 1/1000 that p stands for


def held_out_gap(rows: pd.DataFrame) -> float:
    """Accuracy, in points, of the best frame less the worst, both chosen on even seeds and compared on odd ones."""
    y = accuracy(rows)
    chosen, judged = y[:, 0::2].mean(1), y[:, 1::2].mean(1)
    return judged[chosen.argmax()] - judged[chosen.argmin()]


def accuracy(rows: pd.DataFrame) -> np.ndarray:
    """Test accuracy in percent (F, S) of one layout's rows."""
    return 100 * (1 - table(rows, "test_error"))


def table(rows: pd.DataFrame, column: str) -> np.ndarray:
    """A column as an array (F, S), frames by seeds."""
    return rows.pivot(index="frame", columns="seed", values=column).to_numpy()


def _within(y: np.ndarray) -> np.ndarray:
    """Less each seed's mean."""
    return y - y.mean(0)
