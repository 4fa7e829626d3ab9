"""The numbers behind the claims of the new chapter. Each takes the rows of one seed in one setting."""

import pandas as pd


def train_fall(rows: pd.DataFrame) -> float:
    """V on the training set at the last epoch, over V with the first weights: below 1 it fell."""
    curve = rows[rows["split"] == "train"].sort_values("epoch")["variance_ratio"]
    return curve.iloc[-1] / curve.iloc[0]
