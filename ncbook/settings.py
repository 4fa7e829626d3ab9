"""Settings of the machine, from the environment: never parameters of a notebook, since a result must not depend on them silently."""

import os
from pathlib import Path

from ncbook.errors import InputError


def device(choice: str | None = None) -> str:
    """``"cpu"`` or ``"cuda"``: the choice, else ``DEVICE``, else CUDA where a GPU answers. Imports torch only where a GPU could be.

    Apple's ``mps`` is not offered: it has no float64, in which every statistic is accumulated.
    """
    choice = choice or os.environ.get("DEVICE") or "auto"
    if choice not in ("auto", "cpu", "cuda"):
        raise InputError(f"DEVICE={choice!r}: use cpu, cuda or auto.")
    if choice == "cpu" or (choice == "auto" and not any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/dxg"))):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if choice == "cuda":
        raise InputError("DEVICE=cuda, but this PyTorch sees no CUDA device; use DEVICE=cpu, or install with `make TORCH=cuda`.")
    return "cpu"


def jobs(choice: int | None = None, *, on: str | None = None) -> int:
    """How many runs at a time `on` a device: the choice, else ``JOBS``, else one a core on a CPU, one on a GPU. No result depends on it."""
    given = choice if choice is not None else os.environ.get("JOBS") or None
    if given is None:
        return (
            1 if (on or device()) == "cuda" else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        )
    try:
        count = int(given)
    except ValueError:
        count = 0
    if count < 1:
        raise InputError(f"JOBS={given!r}: use a whole number of at least 1.")
    return count
