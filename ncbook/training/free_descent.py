"""Gradient descent on free features and a chain of weight matrices, many starts at once: the deep unconstrained features model.

Written out by hand and in float64: the matrices are so small that autograd and torch's kernels take several times as long on a CPU as the
products themselves, which NumPy does there.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncbook.errors import InputError, unknown
from ncbook.training.parallel import alone


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
    fit, slope_of_fit = LOSSES[loss]
    xp: Any = np if factors[0].device.type == "cpu" else torch
    first: list[Any] = [factor.numpy() if xp is np else factor for factor in factors]
    every = xp.concatenate([factor.reshape(-1) for factor in first])  # all entries in one row, for few and long operations
    speed, slopes, spare = (xp.zeros_like(every) for _ in range(3))
    at, slope = _parts(every, first), _parts(slopes, first)
    classes, samples = at[-1].shape[1], at[0].shape[-1]
    one_hot: Any = np.eye(classes).repeat(per_class, axis=1)
    if xp is torch:
        one_hot = torch.from_numpy(one_hot).to(factors[0].device)
    zero = 0.0 * one_hot[0, 0]  # torch takes the maximum with a tensor only

    for step in range(steps + 1):
        seen = [at[0]]  # what each weight is applied to
        for weight in at[1:-1]:
            above = weight @ seen[-1]
            seen.append(xp.maximum(above, zero, out=above) if relu else above)
        output = at[-1] @ seen[-1]
        if step in measure_at:
            value = torch.as_tensor(fit(output, one_hot) + 0.5 * weight_decay * sum((factor * factor).sum((1, 2)) for factor in at))
            if not bool(torch.isfinite(value).all()):
                raise FloatingPointError(f"the loss is not finite at step {step}; a smaller learning rate than {learning_rate:g} may help.")
            yield step, [torch.as_tensor(factor).clone() for factor in at], value
        rate = learning_rate * min(1.0, 4 * (1 - step / steps)) if steps else 0.0
        pull = slope_of_fit(output, one_hot)
        pull /= samples
        for i in reversed(range(1, len(at))):
            xp.matmul(pull, seen[i - 1].swapaxes(1, 2), out=slope[i])
            pull = xp.matmul(at[i].swapaxes(1, 2), pull, out=slope[0] if i == 1 else None)
            if relu and i > 1:
                pull *= seen[i - 1] > 0
        slopes += xp.multiply(every, weight_decay, out=spare)
        slopes *= rate
        speed *= momentum
        speed -= slopes
        every += speed


def _parts(row: Any, like: list[Any]) -> list[Any]:
    """A row cut into arrays of the shapes of those in `like`; they share its memory."""
    found, start = [], 0
    for shape in (array.shape for array in like):
        found.append(row[start : start + prod(shape)].reshape(shape))
        start += prod(shape)
    return found


def _squared(output: Any, one_hot: Any) -> Any:
    """Mean over samples of half the squared distance, (B,)."""
    away = output - one_hot
    return 0.5 * (away * away).sum((1, 2)) / output.shape[-1]


def _slope_of_squared(output: Any, one_hot: Any) -> Any:
    """Its slope in the output times the number of samples."""
    return output - one_hot


def _cross_entropy(output: Any, one_hot: Any) -> Any:
    xp, shifted = _shifted(output)
    return -((shifted - xp.log(xp.exp(shifted).sum(1)[:, None])) * one_hot).sum((1, 2)) / output.shape[-1]


def _slope_of_cross_entropy(output: Any, one_hot: Any) -> Any:
    xp, shifted = _shifted(output)
    likely = xp.exp(shifted)
    likely /= likely.sum(1)[:, None]
    return likely - one_hot


def _shifted(output: Any) -> tuple[Any, Any]:
    """The module that the array is of, and logits of which the largest is 0."""
    if isinstance(output, np.ndarray):
        return np, output - output.max(1, keepdims=True)
    return torch, output - output.amax(1, keepdim=True)


LOSSES = {"squared": (_squared, _slope_of_squared), "cross_entropy": (_cross_entropy, _slope_of_cross_entropy)}
