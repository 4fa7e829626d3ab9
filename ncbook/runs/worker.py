"""What happens to a run in the process that computes it."""

import os
import platform
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from multiprocessing import get_context, parent_process, process
from multiprocessing.util import Finalize
from pathlib import Path

import cloudpickle
import pandas as pd

from ncbook import settings
from ncbook.errors import InputError
from ncbook.runs import store
from ncbook.runs.key import code_of, installed

SILENT, POISONED = 90, 91  # exit codes of a run that asked for 0, and of one whose GPU no longer answers


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
    try:
        # torch chooses its kernels at its first operation, not at import, so the set has to stand in the environment until then
        torch, start = prepare_worker(instruction_set), _clock(device)
        function = cloudpickle.loads(pickled)
        if code and code != _code_as_loaded(function):
            raise InputError("its code was edited after the sweep began, or is of another version here; run it again.")
        from ncbook.training.checkpoint import kept_in

        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with kept_in(checkpoints), no_silent_exit():
            text = _text(function(**parameters, device=device), parameters)
    except (InputError, FloatingPointError) as error:  # the sentence says it all, also of a loss that is no number
        return None, {"error": str(error), "log": ""}
    except BaseException as error:  # noqa: BLE001 - see above; a worker gets no Ctrl-C, so that a KeyboardInterrupt is the experiment's own
        log = traceback.format_exc()
        if device == "cuda" and not _answers():
            print(log, file=sys.stderr, flush=True)
            os._exit(POISONED)
        return None, {"error": f"{type(error).__name__}: {error}", "log": log}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    took = {
        "seconds": round(_clock(device) - start, 3),
        "peak_memory_mb": round(peak / 2**20),
        **{name.replace("-", "_"): full for name, full in installed().items()},
        "torch": str(torch.__version__),  # it is no plain text: unpickling it would import torch
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": cpu(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **_gpu(device),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return text, took


def calls(orders: list[tuple]) -> list[tuple[str | None, dict]]:
    """`call` of several runs in this process, in which networks of one shape are trained as one (`ncbook.training.stacked`)."""
    prepare_worker(instruction_set=orders[0][-1])
    start = _clock("cpu")
    from ncbook.training.stacked import in_lock_step

    with no_silent_exit():
        answers = in_lock_step([partial(call, *order) for order in orders])
    share = round((_clock("cpu") - start) / len(orders), 3)  # each took as long as all
    return [(text, {**info, "seconds": share}) for text, info in answers]


def _clock(device: str) -> float:
    """Seconds of this process's one core, which a busy machine does not stretch; of the wall where a core waits for a GPU."""
    return time.process_time() if device == "cpu" else time.perf_counter()


def _gpu(device: str) -> dict:
    """What a run had of a GPU: its name, the most memory, and what float32 means where the network is trained."""
    if device != "cuda":
        return {"gpu": None, "gpu_peak_memory_mb": None, "gpu_float32": None}
    import torch

    products = torch.backends.cuda.matmul.fp32_precision
    convolutions = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]  # made when torch is imported
    return {
        "gpu": torch.cuda.get_device_name(),
        "gpu_peak_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20),
        "gpu_float32": f"products {products.replace('none', 'ieee')}, convolutions {convolutions.replace('none', 'ieee')}",
    }


def _answers() -> bool:
    """Whether the GPU of this process does: after some errors each later call of CUDA fails as well, in whatever run comes next."""
    import torch

    try:
        torch.cuda.synchronize()
    except (RuntimeError, AssertionError):
        return False
    return True


def begin(instruction_set: str, gpus: list[str] | None = None, places: str = "") -> None:
    """Make a new process of a pool ready for runs, with one of the `gpus`. It ends when the one that started it has ended, however that
    did."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpus:
        settings.keep(CUDA_VISIBLE_DEVICES=_own(gpus, Path(places)))
    prepare_worker(instruction_set)


_place: list = []  # the lock on the place that this process has among those of its pool


def _own(gpus: list[str], places: Path) -> str:
    """The GPU of the first place that no process has; one that was killed leaves its place to the process that comes for it."""
    from filelock import FileLock, Timeout

    for number in count():
        place = FileLock(places / str(number))
        try:
            place.acquire(timeout=0)
        except Timeout:
            continue
        _place.append(place)
        return gpus[number % len(gpus)]
    raise AssertionError  # there is always a next number


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)  # nobody is left to take what it computes; another may be at work on its run


@dataclass(frozen=True)
class Surroundings:
    """What a run finds around it, as the machine that asks for it has it."""

    environment: dict[str, str]  # what it rounds with
    places: dict[str, str]  # more of the environment: folders, which count where they are there, since a container has its own
    path: list[str]  # where modules are looked for, those of an experiment among them


_threads = threading.local()  # `process`: the process beside each thread of a worker


class _Beside:
    """A process for runs, until its thread, the worker, or whoever needs other surroundings ends it."""

    def __init__(self, surroundings: Surroundings, instruction_set: str):
        from pebble import ProcessPool

        process.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # Dask's workers are, and may have no children
        settings.keep(**surroundings.environment, **{name: at for name, at in surroundings.places.items() if Path(at).is_dir()})
        sys.path += [folder for folder in surroundings.path if folder not in sys.path and Path(folder).exists()]
        self.surroundings = surroundings
        self.pool = ProcessPool(1, initializer=begin, initargs=(instruction_set,), context=get_context("spawn"))
        # before multiprocessing, at the worker's end, waits for children: the pool would start one for each that is ended
        self.stop = Finalize(self, _ended, args=(self.pool,), exitpriority=100)


def _ended(pool) -> None:
    pool.stop()
    pool.join()


def elsewhere(order: tuple, surroundings: Surroundings, timeout: float | None) -> tuple[str | None, dict]:
    """`call` in a worker that another program has started, such as Parsl or Dask: in a process beside it.

    That process has the environment of a run before it loads a library, whatever the worker has loaded; it is ended at the time limit; and
    if it is killed, the worker lives on. So whatever becomes of a run comes back as `call` gives it, and an exception means that the worker
    itself was lost.
    """
    beside = getattr(_threads, "process", None)
    if beside is None or beside.surroundings != surroundings:
        if beside:
            beside.stop()
        _threads.process = beside = _Beside(surroundings, instruction_set=order[-1])
    try:
        # pebble keeps the time; the longer one is for a process that was killed between taking the run and saying so
        return beside.pool.schedule(call, args=order, timeout=timeout).result(timeout and timeout + 60)
    except Exception as error:  # noqa: BLE001 - of the process, not of the experiment
        _threads.process = None
        beside.stop()
        text, log = reason(error, timeout)
        return None, {"error": text, "log": log}


def reason(error: Exception, timeout: float | None) -> tuple[str, str]:
    """Why a process gave no answer, in words, and a traceback where it says more."""
    if isinstance(error, TimeoutError):
        return f"it ran past its time limit of {timeout:g} s", ""
    if isinstance(error, BrokenProcessPool):
        return 'the workers did not start; in a script, call sweep below `if __name__ == "__main__":`, since each of them imports it', ""
    code = getattr(error, "exitcode", None)
    if code == POISONED:
        return "its GPU no longer answers, so its process was ended; what went wrong stands in a traceback above", ""
    if code is not None:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended by exit code {0 if code == SILENT else code}"
        return f"its process was {how}" + ("; did the memory run out?" if code == -signal.SIGKILL else ""), ""
    return f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))


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
    """Import torch with one thread and one instruction set, before any run's clock starts; an `InputError` where the processor lacks it."""
    settings.keep(**settings.workers_environment(settings.instruction_set(instruction_set)))
    import torch

    torch.set_num_threads(1)
    return torch


@cache
def cpu() -> str | None:
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
