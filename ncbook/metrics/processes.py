"""Sums over the processes of a distributed run, each of which has seen its own shard; a shard may be empty."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce

import torch
from torch import Tensor

from ncbook.errors import InputError


class Processes:
    """All processes of the default group, or with ``together=False`` this one alone.

    >>> Processes(False).sum(torch.tensor(2.0)).item()
    2.0
    """

    def __init__(self, together: bool) -> None:
        self.together = together
        if together and not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            raise InputError("distributed=True needs torch.distributed.init_process_group, called in each process")

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """What fails within in one process fails in all of them at its end: the others would wait for its part for ever."""
        error = None
        try:
            yield
        except Exception as caught:  # noqa: BLE001  it is raised again, when the others know
            error = caught
        if self.together:
            said = of_all(None if error is None else f"{type(error).__name__}: {error}".partition("\n")[0])
            if error is None and (wrong := [f"process {rank} failed with {text}" for rank, text in enumerate(said) if text is not None]):
                raise InputError("; ".join(wrong))
        if error is not None:
            raise error

    def check_same(self, value: object, what: str) -> None:
        """Raise `InputError` in all processes where a value is not the same in all; ``what`` says what some have and others lack."""
        if self.together:
            found = of_all(value)
            if any(one != found[0] for one in found):
                raise InputError(
                    f"some processes have {what} and others have none; a process without samples of its own gives an empty one"
                )

    def merge(self, states: dict) -> dict:
        """States that have a `merge`, by name, merged over the processes in their order; a process may lack names."""
        if not self.together:
            return states
        found: dict = {}
        for part in of_all(_cpu(states)):
            for name, state in part.items():
                found[name] = found[name].merge(state) if name in found else state
        devices = {name: state.device for name, state in states.items()}
        return {name: state.to(devices.get(name, "cpu")) for name, state in found.items()}

    def sum(self, value: Tensor | None) -> Tensor | None:
        """The sum of what the processes have; None counts as nothing."""
        if not self.together:
            return value
        parts = [part for part in of_all(_cpu(value)) if part is not None]
        return reduce(torch.add, parts) if parts else None

    def first(self, value):
        """What the first process that has seen data found; ``None`` from the others."""
        if not self.together:
            return value
        return next((one for one in of_all(value) if one is not None), None)


def of_all(value) -> list:
    """What each process of the default group has, in their order."""
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, value)
    return found


def _cpu(value):
    if isinstance(value, dict):
        return {name: _cpu(part) for name, part in value.items()}
    return value if value is None else value.to("cpu")
