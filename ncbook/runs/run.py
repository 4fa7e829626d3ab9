"""A run: one call of an experiment, its key, and whether the store holds it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isnan
from pathlib import Path

import pandas as pd

from ncbook import paths, settings
from ncbook.runs import store
from ncbook.runs.digest import canonical
from ncbook.runs.durations import expected
from ncbook.runs.key import name_of, run_key


@dataclass(frozen=True)
class Run:
    """One call of an experiment: what it computes, and roughly how long it takes on one core."""

    function: Callable[..., pd.DataFrame]
    parameters: dict
    device: str
    seconds: float = field(default=1.0, compare=False)  # a guess, and no part of which run it is
    code: str | None = None
    instruction_set: str = field(default_factory=settings.instruction_set)  # of the CPU: it decides the last digits

    @cached_property
    def experiment(self) -> str:
        return name_of(self.function)

    @cached_property  # the code may be edited while runs are at work; a run keeps the key that it was planned with
    def key(self) -> str:
        # a GPU's digits are not promised, so they do not depend on what the CPU beside it rounds with
        rounding = self.instruction_set if self.device == "cpu" else None
        return run_key(self.function, self.parameters, device=self.device, code=self.code, instruction_set=rounding)

    def stored(self, place: Path | None = None) -> tuple[str, dict] | None:
        """The run's table, as CSV, and ``run.json`` from the store; None where there is none, or it is damaged or of other parameters."""
        return store.read_text(self.experiment, self.key, place=place, parameters=canonical(self.parameters), device=self.device)

    def __str__(self) -> str:
        return f"{self.experiment}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"


class SweepError(RuntimeError):
    """Some runs failed; the others are kept. `failures` holds each failed run, its error and its traceback, if there is one."""

    def __init__(self, failures: list[tuple[Run, str, str]], total: int):
        self.failures = failures
        by_error: dict[str, list[Run]] = {}
        for run, error, _ in failures:
            by_error.setdefault(error, []).append(run)
        lines = [f"{error}\n" + "".join(f"  - {run}\n" for run in failed) for error, failed in by_error.items()]
        super().__init__(f"{len(failures)} of {total} runs failed; the others are kept. " + "".join(lines).rstrip())


def stored(planned: list[Run]) -> dict[tuple[str, str], tuple[str, dict]]:
    """What the store holds of these runs (see `Run.stored`), by their experiment and key."""
    place = paths.runs()
    found = {(run.experiment, run.key): run.stored(place) for run in planned}
    return {name: held for name, held in found.items() if held}


def missing(planned: list[Run]) -> list[Run]:
    """The runs that the store does not hold yet, each once, with the time that it should take."""
    place = paths.runs()
    unique = {(run.experiment, run.key): run for run in planned}
    return [_timed(run) for run in unique.values() if not run.stored(place)]


def _timed(run: Run) -> Run:
    """The run with its time, where its plan looked none up."""
    return replace(run, seconds=expected(run.experiment, [run.parameters], run.device)[0]) if isnan(run.seconds) else run


def time_limit(planned: list[Run]) -> float:
    """Seconds after which a run counts as hanging: an hour, and twenty times what the longest should take on one core."""
    return 3600 + 20 * max((run.seconds for run in planned), default=0)
