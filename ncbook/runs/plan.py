"""`sweep`: an experiment over a grid of parameters, each run computed once and then read from the store."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from math import nan

import numpy as np
import pandas as pd

from ncbook import paths, settings
from ncbook.errors import InputError
from ncbook.runs import store
from ncbook.runs.digest import canonical
from ncbook.runs.durations import expected
from ncbook.runs.key import check_function, code_of, name_of
from ncbook.runs.pool import finish
from ncbook.runs.run import Run, stored


def plan(function: Callable, grid: list[dict], *, device: str | None = None) -> list[Run]:
    """The runs of a grid, each with the time that it should take (see `ncbook.runs.durations`); an `InputError` where one cannot run."""
    check_function(function)
    if not grid:
        raise InputError(f"the grid of {function.__qualname__} is empty; give at least one value of each parameter.")
    device, code, rounding, runs, keys = settings.device(device), code_of(function), settings.instruction_set(), [], set()
    grid, takes = [canonical(parameters) for parameters in grid], signature(function)
    for parameters in grid:
        run = Run(function, parameters, device, nan, code, rounding)
        try:
            takes.bind(**run.parameters, device=device)
        except TypeError as error:
            raise InputError(f"{run} cannot be called: {error}; a run gets the grid's parameters and device={device!r}.") from error
        if run.key in keys:
            raise InputError(f"the grid has this run twice: {run}; remove the doubled value.")
        keys.add(run.key)
        runs.append(run)
    name = name_of(function)
    if keys <= {path.name for path in (paths.runs() / name).glob("*")}:
        return runs  # to look up their times takes as long as to read them; `missing` does it for what is there and not whole
    return [replace(run, seconds=seconds) for run, seconds in zip(runs, expected(name, grid, device), strict=True)]


def sweep(
    function: Callable[..., pd.DataFrame],
    grid: list[dict],
    *,
    device: str | None = None,
    jobs: int | None = None,
    timeout: float | None = None,
) -> pd.DataFrame:
    """One table of ``function(**parameters, device=…)`` over all `parameters` of the grid, which become its first columns.

    `function` returns a tidy DataFrame; it may be defined in a notebook cell. Runs computed before are read from ``data/runs``; the
    table is always what a CSV holds, also the first time, so types and digits never differ. `jobs` and `device` default to the
    environment's ``JOBS`` and ``DEVICE``. Raises `SweepError` when runs failed (the others are kept), `InputError` for a bad grid.
    """
    planned = plan(function, grid, device=device)
    return finished(planned, computed(planned, jobs=jobs, timeout=timeout)).rows


def computed(planned: list[Run], **how) -> dict[tuple[str, str], tuple[str, dict]]:
    """What the store holds of these runs, by their experiment and key, after those that it lacked were computed (`finish` takes `how`)."""
    found = stored(planned)
    if lacking := [run for run in planned if (run.experiment, run.key) not in found]:
        finish(lacking, **how)
        found |= stored(lacking)
    return found


@dataclass(frozen=True)
class Table:
    """A table as it was read: its rows, and for each of its runs what it took and where it ran (its ``run.json``)."""

    rows: pd.DataFrame
    runs: list[dict]


def read(planned: list[Run]) -> pd.DataFrame:
    """The rows of finished runs, in the order of the plan; an `InputError` where one is not in the store."""
    return finished(planned).rows


def finished(planned: list[Run], found: dict[tuple[str, str], tuple[str, dict]] | None = None) -> Table:
    """The table of finished runs, in the order of the plan, and what they took; an `InputError` where one is not in the store.

    `found` is what was read of it already (see `computed`).
    """
    found = stored(planned) if found is None else found
    if lacking := [run for run in planned if (run.experiment, run.key) not in found]:
        raise InputError(f"{lacking[0]} is not in the store; run the sweep first.")
    texts, infos = zip(*(found[run.experiment, run.key] for run in planned), strict=True)
    rows, counts = store.tables(list(texts))
    # parameters as a CSV holds them, as the rows are; behind the number of the run, since there may be none
    given = store.from_csv(store.to_csv(pd.DataFrame([run.parameters for run in planned]).reset_index()))
    of_rows = given.iloc[np.repeat(np.arange(len(planned)), counts), 1:].reset_index(drop=True)
    return Table(pd.concat([of_rows, rows], axis=1), list(infos))
