"""Runs computed one at a time by all processes that ``torchrun`` started, which share each batch (`ncbook.training.parallel`).

The first process plans, keeps and reports, as ever. The others do nothing but compute with it what it sends them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ncbook import settings
from ncbook.errors import InputError
from ncbook.runs.worker import call, prepare_worker

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
_joined = False


class _Lost(InputError):
    """The processes are no longer at one point, so that none can be told anything."""


def together() -> bool:
    """Whether this process has joined others."""
    return _joined


@contextmanager
def joined(device: str) -> Iterator[bool]:
    """Join the other processes of ``torchrun``, if there are any. True in the first one; the others have by then done all that it sent."""
    global _joined
    rank = settings.rank()
    if rank.of == 1:
        yield True
        return
    torch = prepare_worker()
    if device == "cuda":
        if rank.here >= torch.cuda.device_count():
            raise InputError(f"this machine has {torch.cuda.device_count()} GPUs, and torchrun started more processes; one a GPU.")
        torch.cuda.set_device(rank.here)
    torch.distributed.init_process_group(BACKENDS[device])
    _joined = True
    if rank.number:
        while (order := _sent(None)) is not None:
            _call(order)
        yield False
    else:
        try:
            yield True
        except _Lost:
            raise
        except Exception:
            _sent(None)
            raise
        _sent(None)
    _joined = False
    torch.distributed.destroy_process_group()


def compute(order: tuple) -> tuple[str | None, dict]:
    """`ncbook.runs.worker.call` by all processes."""
    text, info = _call(_sent(order))
    if text is not None:  # digits of several processes are not those of one: where they come from, they are told apart
        kind = "gpu" if info["gpu"] else "cpu"
        info[kind] = f"{settings.rank().of} × {info[kind] or info['machine']}"
    return text, info


def _sent(order):
    """What the first process sends to all."""
    from torch import distributed

    box = [order]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def _call(order: tuple) -> tuple[str | None, dict]:
    """`call`, where it ends alike in all processes; else `_Lost`. A process that ends is missed by the others, which end as well."""
    from ncbook.metrics.processes import of_all

    text, info = call(*order)
    said, log = info.get("error"), info.get("log")
    try:
        alike = not log and len(set(of_all(said))) == 1
    except RuntimeError:
        alike = False
    if not alike:
        print(log or "", file=sys.stderr, end="", flush=True)
        raise _Lost(
            f"process {settings.rank().number} ended at a run ({said or 'another one is gone'}); which one ended first, torchrun says. "
            "What was finished is kept, and the same command goes on from there."
        )
    return text, info
