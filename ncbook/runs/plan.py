"""`sweep`: an experiment over a grid of parameters, each run computed once and then read from the store."""

import os
from collections.abc import Callable
from importlib import import_module
from inspect import signature

import pandas as pd

from ncbook import settings
from ncbook.errors import InputError
from ncbook.runs import store
from ncbook.runs.digest import canonical
from ncbook.runs.key import check_function, code_of
from ncbook.runs.pool import Run, finish


def plan(function: Callable, grid: list[dict], *, device: str | None = None) -> list[Run]:
    """The runs of a grid, an `InputError` where one cannot run.

    What each takes on one core is the estimate ``seconds(parameters)`` of the function's module, where that is an experiment of the book.
    """
    check_function(function)
    ours = function.__module__.startswith("ncbook.chapters.")
    seconds = getattr(import_module(function.__module__), "seconds", None) if ours else None
    if not grid:
        raise InputError(f"the grid of {function.__qualname__} is empty; give at least one value of each parameter.")
    device, code, runs, seen = settings.device(device), code_of(function), [], set()
    for parameters in grid:
        run = Run(function, canonical(parameters), device, seconds(parameters) if seconds else 1.0, code)
        try:
            signature(function).bind(**run.parameters, device=device)
        except TypeError as error:
            raise InputError(f"{run} cannot be called: {error}; a run gets the grid's parameters and device={device!r}.") from error
        if run.key in seen:
            raise InputError(f"the grid has this run twice: {run}; remove the doubled value.")
        seen.add(run.key)
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
    environment's ``JOBS`` and ``DEVICE``. Where the book is made from a record (``NCBOOK_RECORD``), nothing is computed. Raises
    `SweepError` when runs failed (the others are kept), `InputError` for a bad grid.
    """
    planned = plan(function, grid, device=device)
    if os.environ.get("NCBOOK_RECORD"):
        from ncbook.publish.records import asked

        return asked().table(planned)
    finish(planned, jobs=jobs, timeout=timeout)
    return read(planned)


def read(planned: list[Run]) -> pd.DataFrame:
    """The table of finished runs, in the order of the plan; ``attrs["runs"]`` says what each took and where it ran."""
    tables, infos = [], []
    for run in planned:
        found = run.stored()
        if found is None:
            raise InputError(f"{run} is not in the store; run the sweep first.")
        table, info = found
        infos.append(info)
        for position, (name, value) in enumerate(run.parameters.items()):
            table.insert(position, name, [value] * len(table))
        tables.append(table)
    whole = store.from_csv(store.to_csv(pd.concat(tables, ignore_index=True)))
    whole.attrs["runs"] = Infos(infos)  # what each took, where; not part of the result
    return whole


class Infos(tuple):
    """The ``run.json`` of runs. pandas makes a deep copy of a table's attributes in every operation: of these there is one."""

    def __deepcopy__(self, memo) -> "Infos":
        return self
