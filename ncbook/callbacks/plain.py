"""The table of `measure` as numbers under stable names, and a function that logs them."""

import inspect
import math
from collections.abc import Callable, Iterable

import pandas as pd

from ncbook.errors import InputError, unknown
from ncbook.metrics.network import measure

MEMORY = 256e6  # bytes of features that a callback holds beside training; beyond it reads the data twice


def collapse_values(table: pd.DataFrame, *, prefix: str = "collapse", names: dict[str, str] | None = None) -> dict[str, float]:
    """A table of `measure` or `collapse_table` as ``{"collapse/train/nc1": …}``; the layer comes before the metric where there are several.

    ``names`` renames splits. Values that are NaN are left out.

    >>> collapse_values(pd.DataFrame({"split": ["train"], "n": [4], "nc1": [0.5]}), names={"train": "val"})
    {'collapse/val/nc1': 0.5}
    """
    several = "layer" in table and table["layer"].nunique() > 1
    values = {}
    for row in table.to_dict("records"):
        split = (names or {}).get(row["split"], row["split"])
        place = "/".join([prefix, split, *([row["layer"]] if several else [])])
        for name, value in row.items():
            if name not in ("split", "layer", "n") and not math.isnan(value):
                values[f"{place}/{name}"] = float(value)
    return values


def log_collapse(
    log: Callable[[dict[str, float]], object], model, train: Iterable, test: Iterable | None = None, *, prefix: str = "collapse", **options
) -> dict[str, float]:
    """`measure` the network and hand the numbers to ``log``, such as ``wandb.log`` or ``print``; they are returned as well.

    Other arguments are those of `measure`. Raises `InputError` as that does.
    """
    check_options(options, measure)
    values = collapse_values(measure(model, train, test, **{"memory": MEMORY, **options}), prefix=prefix)
    log(values)
    return values


def check_options(options: dict, function: Callable, *, every_n_epochs: int = 1) -> None:
    """Raise `InputError` for options that a function does not have, at once and not when training has reached an evaluation."""
    own = ("weight", "bias")  # the network's
    known = [name for name, one in inspect.signature(function).parameters.items() if one.kind is one.KEYWORD_ONLY and name not in own]
    for name in options:
        if name not in known:
            raise unknown("option", name, known)
    if every_n_epochs < 1:
        raise InputError(f"every_n_epochs must be 1 or more, not {every_n_epochs}")


def guarded(warn: Callable[[str], object], measured: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What was measured, or where that cannot be done, for whatever reason, a warning and nothing: training goes on."""
    try:
        return measured()
    except InputError as error:
        warn(f"collapse is not measured: {error}")
    except Exception as error:  # noqa: BLE001  whatever it is, training is worth more
        warn(f"collapse is not measured: {type(error).__name__}: {error}".partition("\n")[0])
    return {}
