"""Checkpoints of long runs: one that was killed goes on where it was, and ends with the same digits.

`train` saves the network at every epoch at which it is measured, with the state of the optimiser and of the random generator. When the run
starts again, `train` first yields those saved networks once more, in order, so that the experiment measures them as before and needs no
code for it; then it trains on.

A file begins with a checksum of its content and of the run, training and epoch that it belongs to. The checksum is tested before anything
is loaded; if one file is damaged, or belongs to another training, the training begins again.
"""

import hashlib
import io
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import nn

from ncbook.errors import InputError
from ncbook.training.parallel import alike, rank

EVERY = 300.0  # seconds between two checkpoints where measurements are further apart
_run: ContextVar[Iterator[Path] | None] = ContextVar("run", default=None)


@contextmanager
def kept_in(folder: Path | str | None) -> Iterator[None]:
    """Each training within keeps its checkpoints below `folder`, the first in ``0``, the next in ``1``; none does when it is None."""
    token = _run.set(folder and (Path(folder) / str(i) for i in range(1000)))
    try:
        yield
    finally:
        _run.reset(token)


class Checkpoint:
    """The checkpoints of one training: saves its state, and restores it. Outside `kept_in` it does nothing.

    A training may have no `optimiser`, or draw from no `generator`.
    """

    def __init__(self, model: nn.Module, optimiser: torch.optim.Optimizer | None = None, generator: torch.Generator | None = None):
        trainings = _run.get()
        self.folder = next(trainings) if trainings else None
        self.model, self.optimiser, self.generator = model, optimiser, generator
        self.written = time.monotonic()
        self.latest = self._read("latest")
        self.measured = self.latest["measured"] if self.latest else []
        if not all(self._read(f"epoch-{epoch}") for epoch in self.measured):  # nothing to go on from
            self.latest, self.measured = None, []
        if not alike(self.latest and self.latest["state"]["epoch"]):
            raise InputError("the processes find different checkpoints: all machines need the same data/runs.")

    def states(self) -> Iterator[dict]:
        """The states that were measured before the run was killed, oldest first; for each, the network is restored to its weights there."""
        for epoch in self.measured:
            yield self._restore(self._read(f"epoch-{epoch}"))

    def resume(self) -> dict | None:
        """Bring network, optimiser and generator to where training was: its state there, or None where it begins."""
        if self.latest is None:
            return None
        if self.optimiser:
            self.optimiser.load_state_dict(self.latest["optimiser"])
        if self.latest["state"]["epoch"] in self.measured:  # as `states` left it: the measurement may have drawn from the generator
            return self.latest["state"]
        return self._restore(self.latest)

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is `EVERY` seconds old."""
        return self.folder is not None and time.monotonic() - self.written > EVERY

    def save(self, state: dict, *, measured: bool) -> None:
        """Save the state of training, if it is `measured` now or a checkpoint `is_due`. Of several processes one does."""
        if self.folder is None or rank() or not (measured or self.is_due):
            return
        here = {"state": state, "model": self.model.state_dict(), "generator": self.generator and self.generator.get_state()}
        self.measured = self.measured + [state["epoch"]] * measured
        try:
            if measured:
                self._write(f"epoch-{state['epoch']}", here)
            self._write("latest", {**here, "optimiser": self.optimiser and self.optimiser.state_dict(), "measured": self.measured})
        except OSError:  # a full disk: the run itself needs none of this
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
        self.written = time.monotonic()

    def _restore(self, saved: dict) -> dict:
        self.model.load_state_dict(saved["model"])
        if self.generator:
            self.generator.set_state(saved["generator"].cpu())
        return saved["state"]

    def _write(self, name: str, saved: dict) -> None:
        """Write a file under another name, then rename it, so that it is whole or not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        aside = self.folder / f".{name}-{os.getpid()}"
        aside.write_bytes(self._checksum(name, buffer.getbuffer()) + buffer.getbuffer())
        aside.replace(self.folder / f"{name}.pt")

    def _read(self, name: str) -> dict | None:
        if self.folder is None:
            return None
        try:
            held = memoryview((self.folder / f"{name}.pt").read_bytes())
            if held[:32] != self._checksum(name, held[32:]):
                return None
            # tensors and plain values only: nothing in the file is executed
            return torch.load(io.BytesIO(held[32:]), weights_only=True, map_location=next(self.model.parameters()).device)
        except Exception:  # noqa: BLE001 - whatever is wrong with a checkpoint, training from the start is right
            return None

    def _checksum(self, name: str, content: memoryview) -> bytes:
        """32 bytes. The last parts of the folder's path are experiment, key and number of the training."""
        found = hashlib.sha256("/".join((*self.folder.parts[-3:], name, "")).encode())
        found.update(content)
        return found.digest()
