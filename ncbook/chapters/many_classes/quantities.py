"""The numbers behind the claims on many classes. Each takes the rows of one seed in one setting.

The scale is one over the temperature. On networks the quantities are of the last epoch, and undefined (nan) unless every network compared
ends with at most one in a hundred training images wrong. The *judged* scale is 7, the published one; the smallest and the largest are the
controls.
"""

import pandas as pd

NAN = float("nan")
FITTED = 0.01  # training error at the last epoch
JUDGED = 7.0


def code_over_known(rows: pd.DataFrame) -> float:
    """One-vs-rest distance of the free weights at the largest scale over 1 - the best known largest cosine; the smallest over sizes."""
    return _over_known(rows, rows["scale"].max())


def code_over_known_hot(rows: pd.DataFrame) -> float:
    """The same at the smallest scale."""
    return _over_known(rows, rows["scale"].min())


def free_hot(rows: pd.DataFrame) -> float:
    """One-vs-rest distance of the free weights at the smallest scale over the largest found at any, searched to the end."""
    return _hot(rows, rows["digits"].max())


def free_hot_stopped(rows: pd.DataFrame) -> float:
    """The same where the search stops early."""
    return _hot(rows, rows["digits"].min())


def collapse(rows: pd.DataFrame) -> float:
    """V of the unit features on the training set, judged scale."""
    return _of(_few(rows), "variance_ratio", scale=JUDGED)


def collapse_cold(rows: pd.DataFrame) -> float:
    """The same at the largest scale."""
    return _of(_few(rows), "variance_ratio", scale=rows["scale"].max())


def code(rows: pd.DataFrame) -> float:
    """One-vs-rest distance of the classifier over that of the best code found, judged scale."""
    return _code(rows, JUDGED)


def code_hot(rows: pd.DataFrame) -> float:
    """The same at the smallest scale."""
    return _code(rows, rows["scale"].min())


def off_weights(rows: pd.DataFrame) -> float:
    """1 - cosine of class means and classifier rows, mean over classes, judged scale."""
    return _of(_few(rows), "off_weights", scale=JUDGED)


def off_weights_random(rows: pd.DataFrame) -> float:
    """The same with the classifier that stays as it was drawn."""
    return _of(_few(rows), "off_weights", scale=JUDGED, classifier="random")


def temperature_gain(rows: pd.DataFrame) -> float:
    """Test accuracy at the judged scale minus that at the smallest."""
    return _of(_few(rows), "accuracy", scale=JUDGED) - _of(_few(rows), "accuracy", scale=rows["scale"].min())


def temperature_gain_cold(rows: pd.DataFrame) -> float:
    """Test accuracy at the largest scale minus that at the smallest."""
    return _of(_few(rows), "accuracy", scale=rows["scale"].max()) - _of(_few(rows), "accuracy", scale=rows["scale"].min())


def means_gain(rows: pd.DataFrame) -> float:
    """Test accuracy with class means as classifier minus that with a learned one, judged scale."""
    return _of(_few(rows), "accuracy", scale=JUDGED, classifier="class means") - _of(_few(rows), "accuracy", scale=JUDGED)


def random_gain(rows: pd.DataFrame) -> float:
    """Test accuracy with a classifier that stays as it was drawn minus that with a learned one, judged scale."""
    return _of(_few(rows), "accuracy", scale=JUDGED, classifier="random") - _of(_few(rows), "accuracy", scale=JUDGED)


def _over_known(rows: pd.DataFrame, scale: float) -> float:
    there = rows[rows["scale"] == scale]
    return float((there["one_vs_rest"] / (1 - there["best_known"])).min())


def _hot(rows: pd.DataFrame, digits: int) -> float:
    of_size = rows[rows["classes"] == rows["classes"].min()]
    hot = of_size[(of_size["scale"] == of_size["scale"].min()) & (of_size["digits"] == digits)]
    return float(hot["one_vs_rest"].iloc[0] / of_size["one_vs_rest"].max()) if len(hot) == 1 else NAN


def _code(rows: pd.DataFrame, scale: float) -> float:
    return _of(_few(rows), "one_vs_rest", scale=scale) / _of(_few(rows), "one_vs_rest_of_code", scale=scale)


def _few(rows: pd.DataFrame) -> pd.DataFrame:
    """The networks with fewer dimensions than classes."""
    return rows[rows["dimension"] == rows["dimension"].min()]


def _of(rows: pd.DataFrame, column: str, *, scale: float, classifier: str = "learned") -> float:
    there = rows[(rows["scale"] == scale) & (rows["classifier"] == classifier)]
    end = there[there["epoch"] == there["epoch"].max()]
    if len(end) != 1 or end["train_error"].iloc[0] > FITTED:
        return NAN
    return float(end[column].iloc[0])
