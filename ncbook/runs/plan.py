"""`sweep`: an experiment over a grid of parameters, each run computed once and then read from the store."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import pandas as pd

from ncbook import settings
from ncbook.errors import InputError
from ncbook.runs import store
from ncbook.runs.digest import canonical
from ncbook.runs.durations import expected
from ncbook.runs.key import check_function, code_of, name_of
from ncbook.runs.pool import finish
from ncbook.runs.run import Run


def plan(function: Callable, grid: list[dict], *, device: str | None = None) -> list[Run]:
    """The runs of a grid, each with the time that it should take (see `ncbook.runs.durations`); an `InputError` where one cannot run."""
    check_function(function)
    if not grid:
        raise InputError(f"the grid of {function.__qualname__} is empty; give at least one value of each parameter.")
    device, code, runs, keys = settings.device(device), code_of(function), [], set()
    grid, takes = [canonical(parameters) for parameters in grid], signature(function)
    for parameters, seconds in zip(grid, expected(name_of(function), grid, device), strict=True):
        run = Run(function, parameters, device, seconds, code)
        try:
            takes.bind(**run.parameters, device=device)
        except TypeError as error:
            raise InputError(f"{run} cannot be called: {error}; a run gets the grid's parameters and device={device!r}.") from error
        if run.key in keys:
            raise InputError(f"the grid has this run twice: {run}; remove the doubled value.")
        keys.add(run.key)
        runs.append(run)
    return runs


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
    finish(planned, jobs=jobs, timeout=timeout)
    return read(planned)


@dataclass(frozen=True)
class Table:
    """A table as it was read: its rows, and for each of its runs what it took and where it ran (its ``run.json``)."""

    rows: pd.DataFrame
    runs: list[dict]


def read(planned: list[Run]) -> pd.DataFrame:
    """The rows of finished runs, in the order of the plan; an `InputError` where one is not in the store."""
    return finished(planned).rows


def finished(planned: list[Run]) -> Table:
    """The table of finished runs, in the order of the plan, and what they took; an `InputError` where one is not in the store."""
    texts, infos = [], []
    for run in planned:
        stored = run.stored()
        if stored is None:
            raise InputError(f"{run} is not in the store; run the sweep first.")
        text, info = stored
        texts.append(text)
        infos.append(info)
    rows, counts = store.tables(texts)
    for position, name in enumerate(dict.fromkeys(name for run in planned for name in run.parameters)):
        values = [value for run, count in zip(planned, counts, strict=True) for value in [run.parameters.get(name)] * count]
        rows.insert(position, name, values)
    return Table(store.from_csv(store.to_csv(rows)), infos)
