"""Gradient descent on both layers of two-layer ReLU networks, many networks at once (the setting of Razborov 2022, arXiv 2212.02323).

f(x) = a·relu(W x) / √m with W (m, d) Gaussian and a of random signs, half the sum of squared errors over all samples. Written out by hand
and in float64: autograd takes twice as long for matrices this small.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.errors import InputError, unknown
from ncbook.training.parallel import alone

LABELS = ("random", "worst", "teacher", "shuffled")
TEACHER_WIDTH = 3


@dataclass(frozen=True)
class Networks:
    """B networks: first layers `weight` (B, m, d) and second layers `head` (B, m)."""

    weight: Tensor
    head: Tensor

    def gates(self, inputs: Tensor) -> Tensor:
        """Which units are on, (B, n, m), for `inputs` (B, n, d)."""
        return inputs @ self.weight.mT > 0

    def outputs(self, inputs: Tensor, gates: Tensor | None = None) -> Tensor:
        """f of `inputs` (B, n, d), as (B, n); with `gates` (B, n, m) in place of those that the weights open."""
        return ((self.hidden(inputs, gates) @ self.head[:, :, None]) / self.head.shape[1] ** 0.5)[:, :, 0]

    def hidden(self, inputs: Tensor, gates: Tensor | None = None) -> Tensor:
        """relu(W x), as (B, n, m)."""
        before = inputs @ self.weight.mT
        return before * (before > 0 if gates is None else gates)


def first_networks(count: int, width: int, dimension: int, generator: torch.Generator) -> Networks:
    """`count` networks of `width` units: weights from N(0, 1), signs a fair coin."""
    if min(count, width, dimension) < 1:
        raise InputError(f"{count} networks of {width} units on inputs of {dimension} dimensions cannot be.")
    weight = torch.randn(count, width, dimension, generator=generator, dtype=torch.float64)
    signs = 2 * torch.randint(2, (count, width), generator=generator, dtype=torch.float64) - 1
    return Networks(weight, signs)


def gaussian_inputs(count: int, samples: int, dimension: int, generator: torch.Generator) -> Tensor:
    """`count` sets of `samples` inputs from N(0, I/d), (B, n, d): of norm about 1."""
    return torch.randn(count, samples, dimension, generator=generator, dtype=torch.float64) / dimension**0.5


def kernels(networks: Networks, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The tangent kernels of the first and of the second layer, each (B, n, n): J J' with J the slope of f in the layer's weights.

    >>> one = Networks(torch.ones(1, 1, 1), torch.ones(1, 1))  # f(x) = relu(x)
    >>> [kernel.tolist() for kernel in kernels(one, torch.tensor([[[2.0], [1.0]]]))]
    [[[[4.0, 2.0], [2.0, 1.0]]], [[[4.0, 2.0], [2.0, 1.0]]]]
    """
    width = networks.head.shape[1]
    weighted = networks.gates(inputs) * networks.head[:, None]
    first = (weighted @ weighted.mT) * (inputs @ inputs.mT) / width
    hidden = networks.hidden(inputs)
    return first, hidden @ hidden.mT / width


def labels_for(name: str, networks: Networks, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Labels (B, n) of mean square 1.

    ``random``: fair signs. ``worst``: of such signs what lies in the tenth of all directions that the first layer's kernel learns most
    slowly at the first weights, so chosen with inputs and weights in sight. ``teacher``: the sign, about its median, of a network of three
    units; ``shuffled``: the same in another order. `InputError` for others.
    """
    count, samples, dimension = inputs.shape
    signs = 2 * torch.randint(2, (count, samples), generator=generator, dtype=torch.float64) - 1
    if name == "random":
        return signs
    if name == "worst":
        slow = torch.linalg.eigh(kernels(networks, inputs)[0]).eigenvectors[:, :, : max(1, samples // 10)]
        part = (slow @ (slow.mT @ signs[:, :, None]))[:, :, 0]
        return part / part.square().mean(1, keepdim=True).sqrt()
    if name in ("teacher", "shuffled"):
        out = first_networks(count, TEACHER_WIDTH, dimension, generator).outputs(inputs)
        taught = torch.where(out > out.median(1, keepdim=True).values, 1.0, -1.0).double()
        order = torch.rand(count, samples, generator=generator).argsort(1)
        return taught if name == "teacher" else taught.gather(1, order)
    raise unknown("labels", name, LABELS)


@dataclass(frozen=True)
class State:
    """Where each of B networks stands: its number of steps, `loss` (half the mean squared error) and weights."""

    steps: Tensor
    loss: Tensor
    networks: Networks


EVERY = 10  # steps between two looks at the losses


def descend(
    networks: Networks,
    inputs: Tensor,
    labels: Tensor,
    *,
    first_rate: float,
    second_rate: float,
    steps: int,
    until: float,
    linearised: bool = False,
) -> State:
    """Each network where its loss is first seen below `until`, which is looked at every tenth step, or after `steps` steps.

    A layer's learning rate is a share, `first_rate` or `second_rate`, of what is stable at the first weights: 2 over the largest
    eigenvalue of the layer's kernel. A rate of 0 freezes the layer. `linearised`: the first layer's gates stay as they are at first, so
    that with a frozen second layer f is linear in its weights and descends as its tangent kernel says. A network whose loss is no longer
    finite ends there.
    """
    alone("descent of many networks at once")
    if linearised and second_rate:
        raise InputError("a linearised network has a frozen second layer: set second_rate to 0.")
    scale = networks.head.shape[1] ** -0.5
    first, second = (2 * scale / torch.linalg.eigvalsh(kernel)[:, -1] for kernel in kernels(networks, inputs))
    first, second = first_rate * first[:, None, None], second_rate * second[:, None, None]
    weight, head = networks.weight.clone(), networks.head[:, :, None].clone()  # (B, m, d), (B, m, 1)
    labels = labels[:, :, None]
    gates = networks.gates(inputs) if linearised else None
    reached, loss = (torch.zeros(len(head), dtype=kind, device=inputs.device) for kind in (torch.int64, torch.float64))
    ends = Networks(weight.clone(), head[:, :, 0].clone())
    going = torch.arange(len(head), device=inputs.device)
    for step in range(steps + 1):
        before = inputs @ weight.mT
        on = before > 0 if gates is None else gates
        hidden = before * on
        away = scale * (hidden @ head) - labels  # (B, n, 1)
        if step % EVERY == 0 or step == steps:
            now = 0.5 * away.square().mean((1, 2))
            stops = ~(now >= until) | torch.isinf(now) | (step == steps)
            if stops.any():
                at, left = going[stops], ~stops
                reached[at], loss[at], ends.weight[at], ends.head[at] = step, now[stops], weight[stops], head[stops, :, 0]
                going, inputs, labels, hidden, on, away = (t[left] for t in (going, inputs, labels, hidden, on, away))
                weight, head, first, second = (t[left] for t in (weight, head, first, second))
                gates = None if gates is None else gates[left]
                if not len(going):
                    break
        slope = hidden.mT @ away if second_rate else 0.0
        if first_rate:
            weight = weight - first * head * ((away * on).mT @ inputs)
        head = head - second * slope
    return State(reached, loss, ends)
