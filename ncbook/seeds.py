"""Named random streams from one root seed. Nothing here, or anywhere in the package, seeds globally.

Each thing that draws asks for its own child by name, so that adding a draw in one place never shifts the numbers of another: the label
noise of seed 3 is the same whether or not a subset was drawn before it.
"""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING

from ncbook.errors import InputError

if TYPE_CHECKING:
    import torch


def child_seed(seed: int, name: str) -> int:
    """The seed in 0 ... 2^63 - 1 of the stream `name` under the root seed `seed`: the head of sha256("seed/name").

    The same on every machine and version, and torch is not imported. torch's CPU generator keeps the low 32 bits of it.

    >>> child_seed(0, "weights")
    133441691874178746
    >>> child_seed(0, "weights") == child_seed(1, "weights")
    False
    """
    try:
        if isinstance(seed, bool):
            raise TypeError
        seed = operator.index(seed)
    except TypeError:
        raise InputError(f"seed must be a whole number, not {seed!r}") from None
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def child_generator(seed: int, name: str, *, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh `torch.Generator` on `device` for the stream `name` under the root seed `seed`.

    Draw on the CPU whatever must agree between a CPU and a GPU run (subsets, noise, shuffles): the two devices' generators differ.

    >>> import torch
    >>> a, b = child_generator(0, "weights"), child_generator(0, "weights")
    >>> torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b))
    True
    """
    import torch

    return torch.Generator(device=device).manual_seed(child_seed(seed, name))
