"""Runs in a pool of processes, each with one thread, so that a table never depends on how many run at a time."""

import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import as_completed
from concurrent.futures import TimeoutError as Expired
from dataclasses import dataclass
from multiprocessing import get_context

import cloudpickle
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncbook import settings
from ncbook.sweeps import store
from ncbook.sweeps.key import canonical, name_of, run_key


@dataclass(frozen=True)
class Run:
    """One call of an experiment: what it computes, and roughly how long it takes on one core."""

    function: Callable[..., pd.DataFrame]
    parameters: dict
    device: str
    seconds: float = 1.0

    @property
    def experiment(self) -> str:
        return name_of(self.function)

    @property
    def key(self) -> str:
        return run_key(self.function, self.parameters, device=self.device)

    def __str__(self) -> str:
        return f"{self.experiment}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"


class SweepError(RuntimeError):
    """Some runs failed; the others are finished and kept. `failures` holds each failed run, its error and the worker's traceback."""

    def __init__(self, failures: list[tuple[Run, str, str]], total: int):
        self.failures = failures
        by_error: dict[str, list[Run]] = {}
        for run, error, _ in failures:
            by_error.setdefault(error, []).append(run)
        lines = [f"{error}\n" + "".join(f"  - {run}\n" for run in failed) for error, failed in by_error.items()]
        super().__init__(f"{len(failures)} of {total} runs failed; the others are kept. " + "".join(lines).rstrip())


def call(pickled: bytes, parameters: dict, device: str) -> tuple[pd.DataFrame, dict]:
    """Compute one run in this process: the table, and what it took. Importable under spawn and by other executors."""
    one_thread()
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    table = cloudpickle.loads(pickled)(**parameters, device=device)
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"an experiment returns a pandas DataFrame, not {type(table).__name__}.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    took = {
        "seconds": round(time.perf_counter() - start, 3),
        "peak_memory_mb": round(peak / 2**20),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return table, took


def one_thread() -> None:
    """Before torch or NumPy is imported: two threads beside other jobs took five times as long as one."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def missing(planned: list[Run]) -> list[Run]:
    """The runs that the store does not hold yet, each once."""
    unique = {(run.experiment, run.key): run for run in planned}
    return [run for (experiment, key), run in unique.items() if store.read(experiment, key) is None]


def finish(planned: list[Run], *, jobs: int | None = None, timeout: float | None = None) -> int:
    """Compute the runs that the store lacks, longest first, and keep each as it ends; returns how many that were.

    A failed, killed or overdue run (`timeout` seconds each) loses itself only: the others finish, then `SweepError` names the failed ones.
    """
    todo = sorted(missing(planned), key=lambda run: -run.seconds)
    if not todo:
        return 0
    store.writable(store.runs())
    from pebble import ProcessPool

    failures = []
    one_thread()  # the workers inherit it
    workers = min(settings.jobs(jobs), len(todo))
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    console.print(f"training {len(todo)} runs, {workers} at a time", highlight=False)
    with Progress(*columns, console=console) as bar, ProcessPool(workers, context=get_context("spawn")) as pool:
        task = bar.add_task(name_of(todo[0].function).split(".")[0], total=len(todo))
        waiting = {}
        for run in todo:
            arguments = (cloudpickle.dumps(run.function), canonical(run.parameters), run.device)
            waiting[pool.schedule(call, args=arguments, timeout=timeout)] = run
        try:
            for future in as_completed(waiting):
                run = waiting[future]
                try:
                    table, took = future.result()
                except Expired:
                    failures.append((run, f"it ran past its time limit of {timeout:g} s", ""))
                except Exception as error:  # noqa: BLE001 - whatever an experiment raises is reported, and loses this run only
                    failures.append((run, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))))
                else:
                    store.write(run.experiment, run.key, table, {"parameters": canonical(run.parameters), "device": run.device, **took})
                bar.update(task, advance=1, description=run.experiment.split(".")[0])
        except BaseException:
            pool.stop()
            raise
    if failures:
        raise SweepError(failures, len(todo))
    return len(todo)
