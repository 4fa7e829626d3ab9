"""The numbers behind the claims of the new chapter. Each takes the rows of one seed in one setting."""

import pandas as pd

NAN = float("nan")


def fall(rows: pd.DataFrame) -> float:
    """V on the training set at the last epoch, over V with the first weights: below 1 it fell."""
    curve = _train(rows)["variance_ratio"]
    return curve.iloc[-1] / curve.iloc[0]


def train_fall(rows: pd.DataFrame) -> float:
    """The same; nan where more than one in a hundred training images is misclassified at the last epoch."""
    return NAN if _train(rows)["error"].iloc[-1] > 0.01 else fall(rows)


def _train(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["split"] == "train"].sort_values("epoch")
