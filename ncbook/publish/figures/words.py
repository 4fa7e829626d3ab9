"""The numbers of a figure in words, for captions that state what was found."""

import numpy as np
import pandas as pd

from ncbook.claims.names import setting


def only(table: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows in which columns have these values.

    >>> only(pd.DataFrame({"a": [1, 1, 2], "b": [3, 4, 4]}), a=1, b=4).index.tolist()
    [1]
    """
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def last_epoch(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last epoch."""
    return table[table["epoch"] == table["epoch"].max()]


def geometric_mean(table: pd.DataFrame, column: str, by: list[str]) -> pd.Series:
    """Geometric mean of a positive column within each group: what a log axis shows as the middle."""
    return table.groupby(by, sort=False)[column].apply(lambda v: float(10 ** np.log10(v).mean()))


def told(table: pd.DataFrame | pd.Series, form: str, *, otherwise: str = "none was measured") -> str:
    """Each row in words, named by its index: ``digits, MLP: 0.1 on train; …``.

    `form` is a format of the columns, or of a series' value ``v``. Levels of the index that have one value throughout are left out. Without
    rows it is `otherwise`.

    >>> told(pd.Series({"digits": 0.123, "mnist": 0.4}), "{v:.2g}")
    'digits: 0.12; MNIST: 0.4'
    >>> told(pd.DataFrame({"train": [0.1], "test": [0.5]}, index=["mlp"]), "{train} on train, {test} on test")
    '0.1 on train, 0.5 on test'
    """
    rows = table.to_frame("v") if isinstance(table, pd.Series) else table
    several = [i for i in range(rows.index.nlevels) if rows.index.get_level_values(i).nunique() > 1]
    parts = []
    for key, row in zip(rows.index, rows.to_dict("records"), strict=True):
        key = key if isinstance(key, tuple) else (key,)
        name = ", ".join(setting(rows.index.names[i], key[i]) for i in several)
        parts.append(f"{name}: {form.format(**row)}" if name else form.format(**row))
    return "; ".join(parts) or otherwise
