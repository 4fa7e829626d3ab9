"""Settings of the machine: the only place that reads the environment, or changes it.

They are never parameters of a notebook, since a result must not depend on them silently.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ncbook.errors import InputError

SESSION = "NCBOOK_SESSION"
GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # one of them is there where a GPU is: NVIDIA's, Windows' below Linux, AMD's


@dataclass(frozen=True)
class Settings:
    """What the environment says at one moment; None where it says nothing."""

    root: Path | None  # NCBOOK_ROOT: the checkout
    runs: Path | None  # NCBOOK_RUNS: the cache of finished runs
    data: Path | None  # NCBOOK_DATA: downloaded data sets
    session: Path | None  # NCBOOK_SESSION: what the build that executes a notebook tells it
    source: str | None  # FROM: record, where tables are read and not trained
    device: str | None  # DEVICE
    jobs: str | None  # JOBS
    executor: str | None  # EXECUTOR: who computes runs
    instruction_set: str | None  # INSTRUCTION_SET


def current() -> Settings:
    """The settings as the environment has them now."""

    def path(name: str) -> Path | None:
        return Path(value).expanduser() if (value := os.environ.get(name)) else None

    return Settings(
        root=path("NCBOOK_ROOT"),
        runs=path("NCBOOK_RUNS"),
        data=path("NCBOOK_DATA"),
        session=path(SESSION),
        source=os.environ.get("FROM") or None,
        device=os.environ.get("DEVICE") or None,
        jobs=os.environ.get("JOBS") or None,
        executor=os.environ.get("EXECUTOR") or None,
        instruction_set=os.environ.get("INSTRUCTION_SET") or None,
    )


@contextmanager
def within(changes: Mapping[str, str]) -> Iterator[None]:
    """Change variables of the environment, for this process and those that start within, and put them back after."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def keep(**changes: str) -> None:
    """Change variables of the environment from now on."""
    os.environ.update(changes)


def environment(**changes: str) -> dict[str, str]:
    """The environment for a process of another program, with changes."""
    return {**os.environ, **changes}


def session() -> dict:
    """What the build that executes this notebook says of it: ``profile``, ``output``, ``record``; nothing for one opened by hand."""
    path = current().session
    if path is None:
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{SESSION} is {str(path)!r}, which is no session of a build ({error}); unset it.") from error


def from_record(choice: str | None = None) -> bool:
    """Whether tables are read from records: the choice, else ``FROM``, else they are trained."""
    source = choice or current().source
    if source not in (None, "record"):
        raise InputError(f"FROM={source!r}: the only other source is FROM=record.")
    return source == "record"


def device(choice: str | None = None) -> str:
    """``"cpu"`` or ``"cuda"``: the choice, else ``DEVICE``, else CUDA where a GPU answers. Imports torch only where a GPU could be.

    Where an ``EXECUTOR`` computes elsewhere, ``cuda`` is taken at its word, since this machine may well have none.

    Apple's ``mps`` is not offered: it has no float64, in which every statistic is accumulated.
    """
    choice = choice or current().device or "auto"
    if choice not in ("auto", "cpu", "cuda"):
        raise InputError(f"DEVICE={choice!r}: use cpu, cuda or auto.")
    if choice == "cuda" and current().executor not in (None, "local"):
        return "cuda"  # that of the workers
    if choice == "cpu" or (choice == "auto" and not any(Path(p).exists() for p in GPUS)):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if choice == "cuda":
        raise InputError("DEVICE=cuda, but this PyTorch sees no CUDA device; use DEVICE=cpu, or install with `make TORCH=cuda`.")
    _say_that_a_gpu_is_idle(torch.__version__)
    return "cpu"


@cache  # once
def _say_that_a_gpu_is_idle(version: str) -> None:
    print(
        f"This machine has a GPU that this PyTorch ({version}) cannot use: the CPU computes, which takes hundreds of times as long at the "
        "profile paper. For NVIDIA: `make TORCH=cuda`. For AMD: an environment with PyTorch's ROCm build, as PYTHON=/path/to/python. "
        "DEVICE=cpu says that the CPU is meant.",
        file=sys.stderr,
    )


def gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


OPEN_FILES = 256  # of a build: pipes to its workers, sockets of its kernels, fonts
MOST_JOBS = 1024  # processes at a time, each of which imports torch


def jobs(choice: int | None = None, *, on: str | None = None) -> int:
    """How many runs at a time `on` a device: the choice, else ``JOBS``, else one a core, or one a GPU. No result depends on it."""
    given = choice if choice is not None else current().jobs
    if given is None:
        if (on or device()) == "cuda":
            return max(1, len(gpus()))
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        count = int(given)
    except ValueError:
        count = 0
    if not 1 <= count <= MOST_JOBS:
        raise InputError(f"JOBS={given!r}: use a whole number from 1 to {MOST_JOBS}.")
    return count


@dataclass(frozen=True)
class Rank:
    """This process among those that ``torchrun`` started."""

    number: int
    here: int  # among those of this machine
    of: int


def rank() -> Rank:
    """What ``torchrun`` says in ``RANK``, ``LOCAL_RANK`` and ``WORLD_SIZE``; the only one where nobody says anything."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # other programs set WORLD_SIZE too
        return Rank(0, 0, 1)
    return Rank(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))


# What decides how a run rounds, in PyTorch's own kernels, in MKL and oneDNN below them, and in the BLAS below NumPy and SciPy.
LIBRARIES = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
INSTRUCTION_SETS = {
    "generic": ("default", "SSE4_2", "SSE41", "Nehalem"),
    "avx2": ("avx2", "AVX2", "AVX2", "Haswell"),
    "avx512": ("avx512", "AVX512", "AVX512_CORE", "SkylakeX"),
}
NEEDED = {
    "generic": {"sse4_2"},
    "avx2": {"avx2", "fma"},
    "avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}  # flags of a processor
NATIVE = "native"  # whatever a processor of another kind has


@cache
def instruction_sets() -> list[str]:
    """The instruction sets that runs can be computed with on this machine; ``["native"]`` where nothing can be chosen."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [NATIVE]
    flags = next((set(line.partition(":")[2].split()) for line in text.splitlines() if line.startswith("flags")), set())
    return [name for name, needed in NEEDED.items() if needed <= flags] or [NATIVE]


def instruction_set(choice: str | None = None) -> str:
    """The instruction set that runs on a CPU are computed with: the choice, else ``INSTRUCTION_SET``, else ``"avx2"`` wherever a processor
    has it.

    Wider registers sum in another order, and training makes of the last digit another network. With one set for all, the tables of one
    machine are, digit for digit, those of the next.
    """
    known = instruction_sets()
    choice = choice or current().instruction_set or "auto"
    if choice == "auto":
        return "avx2" if "avx2" in known else known[-1]
    if choice not in known:
        raise InputError(f"INSTRUCTION_SET={choice!r}: this machine offers {', '.join(known)}; or leave it out.")
    return choice


def workers_environment(chosen: str) -> dict[str, str]:
    """The environment that a worker starts in: one thread, and the instruction set `chosen`. What it rounds to depends on nothing else."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return one_thread | dict(zip(LIBRARIES, INSTRUCTION_SETS.get(chosen, ()), strict=False))  # nothing to choose: one thread only


def places(root: Path) -> dict[str, str]:
    """The environment in which a worker elsewhere finds the checkout and the data sets, if it has the same file system."""
    data = current().data
    return {"NCBOOK_ROOT": str(root)} | ({"NCBOOK_DATA": str(data.resolve())} if data else {})


def check_open_files() -> None:
    """An `InputError` where the system allows this process too few open files; what it allows when asked is taken."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows counts otherwise
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= OPEN_FILES or soft == resource.RLIM_INFINITY
    if not enough and (hard >= OPEN_FILES or hard == resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))
    elif not enough:
        raise InputError(f"this shell allows {hard} open files, and a build needs {OPEN_FILES}: start another one, or raise its limit.")


def path_of_this_python() -> dict[str, str]:
    """The environment in which programs that came with a library are found by name, also where nobody activated its environment."""
    return {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}
