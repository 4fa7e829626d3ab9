"""Gradient descent on free features and a chain of weight matrices, many starts at once: the deep unconstrained features model.

Written out by hand and in float64: the matrices are so small that autograd and torch's kernels take several times as long on a CPU as the
products themselves, which NumPy does there.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncbook.errors import InputError, unknown
from ncbook.training.parallel import alone

LOSSES = ("squared", "cross_entropy")


def first_factors(
    classes: int, layers: int, width: int, *, per_class: int, scales: Tensor, generator: torch.Generator, device: str = "cpu"
) -> list[Tensor]:
    """Features (B, d, nK) and weights W_1 (B, d, d) … W_L (B, K, d), Gaussian of deviation `scales` (B,) over √d; float64.

    Sample j is of class j // n.
    """
    if min(classes, per_class, width) < 1 or layers < 1 or scales.ndim != 1:
        raise InputError(f"{layers} layers of {width} units for {per_class} samples of {classes} classes cannot be.")
    shapes = [(width, classes * per_class), *[(width, width)] * (layers - 1), (classes, width)]
    drawn = [torch.randn(len(scales), *shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [(factor * (scales.double() / width**0.5)[:, None, None]).to(device) for factor in drawn]


def outputs(factors: list[Any], *, relu: bool) -> list[Any]:
    """W_l σ(… W_1 H) of l = 1 … L, each (B, d, nK) and before the ReLU of its layer; none is applied to H, nor after W_L."""
    found, below = [], factors[0]
    for weight in factors[1:]:
        found.append(weight @ below)
        below = found[-1].clip(min=0) if relu else found[-1]
    return found


def descend(
    factors: list[Tensor],
    *,
    per_class: int,
    weight_decay: float,
    steps: int,
    learning_rate: float,
    momentum: float,
    measure_at: list[int],
    relu: bool = True,
    loss: str = "squared",
) -> Iterator[tuple[int, list[Tensor], Tensor]]:
    """Full-batch descent with momentum from `first_factors`: (step, factors, loss (B,)) at the steps `measure_at`.

    The loss is the mean over samples of half the squared distance to one-hot targets, or of the cross-entropy, plus half of `weight_decay`
    times all squared entries, of the features too. Over the last quarter of the steps the learning rate falls linearly to 0, since minima
    lie on the kinks of ReLUs, about which a constant step goes back and forth. `FloatingPointError` where a loss is not finite.
    """
    alone("descent on free features")
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    if factors[0].shape[-1] % per_class:
        raise InputError(f"{factors[0].shape[-1]} features are not {per_class} a class.")
    on_cpu = factors[0].device.type == "cpu"
    at: list[Any] = [factor.numpy().copy() if on_cpu else factor.clone() for factor in factors]
    speed = [0.0 * factor for factor in at]
    classes, samples = at[-1].shape[1], at[0].shape[-1]
    one_hot: Any = np.eye(classes).repeat(per_class, axis=1)
    if not on_cpu:
        one_hot = torch.from_numpy(one_hot).to(factors[0].device)

    for step in range(steps + 1):
        forward = outputs(at, relu=relu)
        fit, pull = _squared(forward[-1], one_hot) if loss == "squared" else _cross_entropy(forward[-1], one_hot)
        if step in measure_at:
            value = torch.as_tensor(fit + 0.5 * weight_decay * sum((factor * factor).sum((1, 2)) for factor in at))
            if not bool(torch.isfinite(value).all()):
                raise FloatingPointError(f"the loss is not finite at step {step}; a smaller learning rate than {learning_rate:g} may help.")
            yield step, [torch.from_numpy(factor.copy()) if on_cpu else factor.clone() for factor in at], value
        rate = learning_rate * min(1.0, 4 * (1 - step / steps)) if steps else 0.0
        pull = pull / samples
        for i in reversed(range(len(at))):
            if i == 0:
                slope = pull
            else:
                below = at[0] if i == 1 else forward[i - 2].clip(min=0) if relu else forward[i - 2]
                slope = pull @ below.swapaxes(1, 2)
                pull = at[i].swapaxes(1, 2) @ pull
                if relu and i > 1:
                    pull = pull * (forward[i - 2] > 0)
            speed[i] *= momentum
            speed[i] -= rate * (slope + weight_decay * at[i])
            at[i] += speed[i]


def _squared(output: Any, one_hot: Any) -> tuple[Any, Any]:
    """Mean over samples of half the squared distance, (B,), and its slope in the output times their number."""
    away = output - one_hot
    return 0.5 * (away * away).sum((1, 2)) / output.shape[-1], away


def _cross_entropy(output: Any, one_hot: Any) -> tuple[Any, Any]:
    exp, log = (np.exp, np.log) if isinstance(output, np.ndarray) else (torch.exp, torch.log)
    shifted = output - _largest(output)
    likely = exp(shifted)
    total = likely.sum(1)[:, None]
    return -((shifted - log(total)) * one_hot).sum((1, 2)) / output.shape[-1], likely / total - one_hot


def _largest(output: Any) -> Any:
    return output.max(1, keepdims=True) if isinstance(output, np.ndarray) else output.amax(1, keepdim=True)
