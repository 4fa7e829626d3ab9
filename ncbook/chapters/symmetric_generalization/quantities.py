"""The numbers behind the claims on frames: from one start, one training set, or one layout of frames × seeds."""

import numpy as np
import pandas as pd

from ncbook.claims import components

NAN = float("nan")
ALIKE = 2.0  # V of two frames of a layout, at most


def angle_gap(rows: pd.DataFrame) -> float:
    """Largest cosine at the largest scale, less the least known: 0 when the frame is reached."""
    last = rows.sort_values("scale").iloc[-1]
    return last["largest_cosine"] - last["best_cosine"]


def finite_scale_gap(rows: pd.DataFrame) -> float:
    """Largest cosine at scale 10, less the least known; nan where the table has no scale 10."""
    there = rows[rows["scale"] == 10]
    return (there["largest_cosine"] - there["best_cosine"]).iloc[0] if len(there) else NAN


def gap_left(rows: pd.DataFrame) -> float:
    """Share of the way from random directions to the best code that trained class means have still to go at the last epoch, mean of the
    networks; nan while one has a training error."""
    last = rows[rows["epoch"] == rows["epoch"].max()]
    return NAN if (last["train_error"] > 0).any() else _share(last)


def gap_before(rows: pd.DataFrame) -> float:
    """The same share before training."""
    return _share(rows[rows["epoch"] == 0])


def code_gain(rows: pd.DataFrame) -> float:
    """Test accuracy, in points, of the best code less that of random directions in as many dimensions, with the fewest training images;
    nan while a network of either has a training error."""
    small = rows[rows["train_size"] == rows["train_size"].min()]
    random = small[small["code"] == "random"]
    best = small[(small["code"] == "best") & small["dimension"].isin(random["dimension"])]
    return points(best) - points(random)


def same_code_gain(rows: pd.DataFrame) -> float:
    """Test accuracy, in points, of the first half of the networks with the best code less that of the second, mean of the dimensions, with
    the fewest training images."""
    best = rows[(rows["train_size"] == rows["train_size"].min()) & (rows["code"] == "best")]
    first = best["network"] < (best["network"].max() + 1) // 2
    halves = [best[half].groupby("dimension")["test_error"].mean() for half in (first, ~first)]
    return float(100 * (halves[1] - halves[0]).mean())


def dimension_loss(rows: pd.DataFrame) -> float:
    """Test accuracy, in points, that the best code in fewer dimensions loses against the simplex; nan while a network of either has a
    training error.

    The fewer dimensions are the most that are measured below those of the simplex.
    """
    dimensions = sorted(rows["dimension"].unique())
    return _loss(rows, dimensions[-2]) if len(dimensions) > 1 else NAN


def low_dimension_loss(rows: pd.DataFrame) -> float:
    """The same loss in the fewest dimensions, with the fewest training images."""
    small = rows[rows["train_size"] == rows["train_size"].min()]
    return _loss(small, small["dimension"].min())


def frame_variance(rows: pd.DataFrame) -> float:
    """Variance that frames add to the test accuracy, in squared percentage points, after what V explains of it within seeds has been taken
    out; unbiased, so negative half the time when there is none.

    nan unless no network of the layout has a training error, and the frames' V, geometric means over seeds, are within a factor of `ALIKE`.
    """
    collapse = table(rows, "train_variance_ratio")
    if (rows["train_error"] > 0).any() or (collapse <= 0).any() or _spread(collapse) > ALIKE:
        return NAN
    x, y = _within(np.log(collapse)), _within(accuracy(rows))
    return components.variance(y - x * (x * y).sum() / (x * x).sum())


def unfitted(rows: pd.DataFrame) -> float:
    """Share of a layout's networks that keep a training error."""
    return float((rows["train_error"] > 0).mean())


def accuracy(rows: pd.DataFrame) -> np.ndarray:
    """Test accuracy in percent (F, S) of one layout's rows."""
    return 100 * (1 - table(rows, "test_error"))


def table(rows: pd.DataFrame, column: str) -> np.ndarray:
    """A column as an array (F, S), frames by seeds."""
    return rows.pivot(index="frame", columns="seed", values=column).to_numpy()


def points(rows: pd.DataFrame) -> float:
    """Mean test accuracy in percent of networks that fit their training set; nan where one does not, or there is none."""
    return NAN if rows.empty or (rows["train_error"] > 0).any() else float(100 * (1 - rows["test_error"].mean()))


def spread_of_collapse(rows: pd.DataFrame) -> float:
    """The largest V of a layout's frames over the smallest, geometric means over seeds."""
    return _spread(table(rows, "train_variance_ratio"))


def _spread(collapse: np.ndarray) -> float:
    return float(np.exp(np.ptp(np.log(collapse).mean(1))))


def _loss(rows: pd.DataFrame, dimension: int) -> float:
    best = rows[rows["code"] == "best"]
    return points(best[best["dimension"] == best["dimension"].max()]) - points(best[best["dimension"] == dimension])


def _share(rows: pd.DataFrame) -> float:
    return float(((rows["largest_cosine"] - rows["best_cosine"]) / (rows["random_cosine"] - rows["best_cosine"])).mean())


def _within(y: np.ndarray) -> np.ndarray:
    """Less each seed's mean."""
    return y - y.mean(0)
