"""Runs in a pool of processes, each with one thread, so that a table never depends on how many run at a time."""

import os
import platform
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from multiprocessing import get_context
from pathlib import Path
from queue import Empty, SimpleQueue

import cloudpickle
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncbook import settings
from ncbook.errors import InputError
from ncbook.paths import runs, writable
from ncbook.runs import store
from ncbook.runs.digest import canonical
from ncbook.runs.key import code_of, installed, name_of, run_key

STARTING, STALLED = 600.0, 60.0  # seconds that runs may wait, and none be at work, before a pool has begun and after that
SILENT = 90  # exit code of a run that asked for 0
LONG = 300.0  # seconds that a run is expected to take, from which on it keeps checkpoints


@dataclass(frozen=True)
class Run:
    """One call of an experiment: what it computes, and roughly how long it takes on one core."""

    function: Callable[..., pd.DataFrame]
    parameters: dict
    device: str
    seconds: float = 1.0
    code: str | None = None
    instruction_set: str = field(default_factory=settings.instruction_set)  # of the CPU: it decides the last digits

    @property
    def experiment(self) -> str:
        return name_of(self.function)

    @cached_property  # the code may be edited while runs are at work; a run keeps the key that it was planned with
    def key(self) -> str:
        # a GPU's digits are not promised, so they do not depend on what the CPU beside it rounds with
        rounding = self.instruction_set if self.device == "cpu" else None
        return run_key(self.function, self.parameters, device=self.device, code=self.code, instruction_set=rounding)

    def stored(self) -> tuple[pd.DataFrame, dict] | None:
        """The run's table and ``run.json`` from the store; None where there is none, or it is damaged or of other parameters."""
        return store.read(self.experiment, self.key, parameters=canonical(self.parameters), device=self.device)

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


def call(
    pickled: bytes,
    parameters: dict,
    device: str,
    code: str | None = None,
    checkpoints: Path | None = None,
    instruction_set: str | None = None,
) -> tuple[str | None, dict]:
    """Compute one run in this process: the table as CSV, and what it took; or None, and its ``error`` and ``log``.

    Importable under spawn and by other executors, and it returns texts only: whatever an experiment raises or returns, and whether or not
    that can be pickled, it loses its own run alone. `code` is the digest that the run was planned with, where files hold the code;
    `checkpoints` a folder from which the run goes on if it was begun before; `instruction_set` what a CPU rounds with, if it is not this
    machine's setting.
    """
    # torch chooses its kernels at its first operation, not at import, so the set has to stand in the environment until then
    torch, start = prepare_worker(instruction_set), time.perf_counter()
    try:
        function = cloudpickle.loads(pickled)
        if code and code != _code_as_loaded(function):
            raise InputError("its code was edited after the sweep began; run it again.")
        from ncbook.training.checkpoint import kept_in

        with kept_in(checkpoints), no_silent_exit():
            text = _text(function(**parameters, device=device), parameters)
    except (InputError, FloatingPointError) as error:  # the sentence says it all, also of a loss that is no number
        return None, {"error": str(error), "log": ""}
    except BaseException as error:  # noqa: BLE001 - see above; a worker gets no Ctrl-C, so that a KeyboardInterrupt is the experiment's own
        return None, {"error": f"{type(error).__name__}: {error}", "log": traceback.format_exc()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    took = {
        "seconds": round(time.perf_counter() - start, 3),
        "peak_memory_mb": round(peak / 2**20),
        **{name.replace("-", "_"): full for name, full in installed().items()},
        "torch": str(torch.__version__),  # it is no plain text: unpickling it would import torch
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return text, took


@contextmanager
def no_silent_exit() -> Iterator[None]:
    """Within, the end of this process by ``os._exit(0)`` has an exit code that is not 0: for the pool, 0 is a worker that was let go, whose
    run would be waited for until its time limit. Processes that the run forks may end as they like."""
    leave, here = os._exit, os.getpid()
    os._exit = lambda status: leave(status or (SILENT if os.getpid() == here else 0))
    try:
        yield
    finally:
        os._exit = leave


def prepare_worker(instruction_set: str | None = None):
    """Import torch with one thread and one instruction set, before any run's clock starts."""
    settings.keep(**settings.workers_environment(instruction_set or settings.instruction_set()))
    import torch

    torch.set_num_threads(1)
    return torch


@cache
def _cpu() -> str | None:
    """The name of the processor, and its family and model: clouds give one name to several that round differently."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    first = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    numbers = ", ".join(f"{name} {first[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if key in first)
    return f"{first['model name']}{f' ({numbers})' if numbers else ''}" if "model name" in first else None


@cache  # a worker computes with the files as they were when it imported them
def _code_as_loaded(function) -> str:
    return code_of(function)


def _text(table, parameters: dict) -> str:
    """The CSV of what an experiment returned; an `InputError` for what a CSV would not hold."""
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise InputError(
            f"an experiment returns a DataFrame of at least one row, not {type(table).__name__} {table if table is None else ''}".rstrip()
        )
    if any(name is not None for name in table.index.names):
        raise InputError(f"the index {', '.join(map(str, table.index.names))} of the table would be lost; return table.reset_index().")
    if doubled := set(parameters) & set(table.columns):
        raise InputError(f"a column of the table is named like a parameter: {', '.join(sorted(doubled))}; rename it.")
    return store.to_csv(table)


def missing(planned: list[Run]) -> list[Run]:
    """The runs that the store does not hold yet, each once."""
    unique = {(run.experiment, run.key): run for run in planned}
    return [run for run in unique.values() if run.stored() is None]


def time_limit(planned: list[Run]) -> float:
    """Seconds after which a run counts as hanging: an hour, and twenty times what the longest should take on one core."""
    return 3600 + 20 * max((run.seconds for run in planned), default=0)


def finish(planned: list[Run], *, jobs: int | None = None, timeout: float | None = None, budget: float | None = None) -> int:
    """Compute the runs that the store lacks, longest first, and keep each as it ends; returns how many that were.

    After `budget` seconds it stops: what is finished is kept, what is at work is lost.

    A failed, killed or overdue run (`timeout` seconds each) loses itself only: the others finish, then `SweepError` names the failed ones.
    """
    todo = sorted(missing(planned), key=lambda run: -run.seconds)
    if not todo:
        return 0
    writable(runs())
    from pebble import ProcessPool

    failures = []
    workers = min(settings.jobs(jobs, on=todo[0].device), len(todo))
    console = Console(stderr=True, force_jupyter=False)  # in a notebook it would ask for ipywidgets
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console.print(f"training {len(todo)} runs, {workers} at a time", highlight=False)
    chosen = todo[0].instruction_set
    until = None if budget is None else time.monotonic() + budget
    left = {(run.experiment, run.key): run for run in todo}
    with settings.within(settings.workers_environment(chosen)), Progress(*columns, console=console) as bar:
        task = bar.add_task(todo[0].experiment.split(".")[0], total=len(todo))
        while left:
            with ProcessPool(workers, initializer=prepare_worker, initargs=(chosen,), context=get_context("spawn")) as pool:
                try:
                    waiting = {pool.schedule(call, args=_order(run), timeout=timeout): run for run in left.values()}
                    for future in _ended(waiting, until):
                        run = waiting[future]
                        if failure := _keep(run, future, timeout):
                            failures.append((run, *failure))
                        del left[run.experiment, run.key]
                        bar.update(task, advance=1, description=run.experiment.split(".")[0])
                except _Stalled:
                    pool.stop()  # and those that are left go to a new one
                except FutureTimeout:  # the budget is spent
                    pool.stop()
                    break
                except BaseException:
                    pool.stop()
                    raise
    if failures:
        raise SweepError(failures, len(todo))
    return len(todo) - len(left)


class _Stalled(Exception):
    """Nobody works at the runs that are left."""


def _ended(waiting: Iterable, until: float | None) -> Iterator:
    """The futures of a pool as they end. Raises ``FutureTimeout`` at the time `until`, and `_Stalled` when none is at work for long.

    A worker that is killed after it took a run, and before it said so, takes it along: the pool knows of nothing to wait for, not even a
    time limit, and no other worker will ever take that run.
    """
    ended: SimpleQueue = SimpleQueue()
    for future in waiting:
        future.add_done_callback(ended.put)
    left, begun, seen = dict.fromkeys(waiting), False, time.monotonic()
    while left:
        now = time.monotonic()
        if until is not None and now >= until:
            raise FutureTimeout
        try:
            future = ended.get(timeout=1.0 if until is None else min(1.0, until - now))
        except Empty:
            if any(future.running() for future in left):
                begun, seen = True, time.monotonic()
            elif time.monotonic() - seen > (STALLED if begun else STARTING):
                raise _Stalled from None
            continue
        begun, seen = True, time.monotonic()
        del left[future]
        yield future


def _order(run: Run) -> tuple:
    """The arguments of `call` for a run."""
    in_a_file = run.function.__module__ != "__main__"
    checkpoints = store.checkpoints(run.experiment, run.key) if run.seconds > LONG else None
    return cloudpickle.dumps(run.function), run.parameters, run.device, run.code if in_a_file else None, checkpoints, run.instruction_set


def _keep(run: Run, future, timeout: float | None) -> tuple[str, str] | None:
    """Put a run that has ended into the store; its error and log if there is nothing to put."""
    try:
        text, info = future.result()
        if text is None:  # it would fail again in the same way
            shutil.rmtree(store.checkpoints(run.experiment, run.key), ignore_errors=True)
            return info["error"], info["log"]
        store.write(
            run.experiment,
            run.key,
            text,
            {"parameters": canonical(run.parameters), "device": run.device, "instruction_set": run.instruction_set, **info},
        )
        shutil.rmtree(store.checkpoints(run.experiment, run.key), ignore_errors=True)
    except TimeoutError:
        return f"it ran past its time limit of {timeout:g} s", ""
    except BrokenProcessPool:
        return 'the workers did not start; in a script, call sweep below `if __name__ == "__main__":`, since each of them imports it', ""
    except Exception as error:  # noqa: BLE001 - of the pool or the disk
        code = getattr(error, "exitcode", None)
        if code is not None:
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended by exit code {0 if code == SILENT else code}"
            return f"its process was {how}" + ("; did the memory run out?" if code == -signal.SIGKILL else ""), ""
        return f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    return None
