"""The terminal phase in the rows of one network: where it begins, and what has changed at the end."""

import numpy as np
import pandas as pd

NAN = float("nan")


def onset(rows: pd.DataFrame) -> float:
    """The epoch at which the terminal phase begins (Papyan et al. 2020); nan where it never does, or only at the last epoch.

    >>> onset(pd.DataFrame({"epoch": [0, 5, 9], "terminal_epoch": [np.nan, 5, 5]}))
    5.0
    """
    begins = rows["terminal_epoch"].max()
    return NAN if np.isnan(begins) or begins >= rows["epoch"].max() else float(begins)


def terminal_ends(rows: pd.DataFrame, column: str) -> tuple[float, float]:
    """A column where the terminal phase begins and at the last epoch, of rows with one value an epoch; nan where it does not begin."""
    begins = onset(rows)
    if np.isnan(begins):
        return NAN, NAN
    curve = rows.set_index("epoch")[column].sort_index()
    return curve.loc[begins], curve.iloc[-1]


def lasting_onset(rows: pd.DataFrame) -> tuple[float, float]:
    """The first epoch of the lasting terminal phase, and the first measured one at twice that; nan where there is none before the last.

    Lasting: there is no training error then, nor at any later measured epoch.

    >>> lasting_onset(pd.DataFrame({"epoch": [1, 2, 4, 8, 16], "train_error": [0.1, 0.0, 0.2, 0.0, 0.0]}))
    (8, nan)
    """
    curve = rows.sort_values("epoch")
    wrong = curve.loc[curve["train_error"] > 0, "epoch"].max()
    clear = curve["epoch"] if np.isnan(wrong) else curve.loc[curve["epoch"] > wrong, "epoch"]
    last = curve["epoch"].max()
    if clear.empty or clear.iloc[0] == last:
        return NAN, NAN
    doubled = clear[clear >= 2 * clear.iloc[0]]
    return clear.iloc[0].item(), doubled.iloc[0].item() if len(doubled) and doubled.iloc[0] < last else NAN
