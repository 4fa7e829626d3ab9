"""A generated set whose best possible error is known: C Gaussian classes, unit noise, means at the corners of a regular simplex.

Class c is x = mu_c + z with z standard normal in d dimensions and all means `separation` apart. The Bayes rule names the nearest mean.
Put the simplex at a e_1, ..., a e_C with a = separation / sqrt(2): the rule is right when a + z_c exceeds all the other z_j, so

    P(error) = E_z[1 - Phi(z + a)^(C - 1)],  z standard normal,

whatever d is, since noise outside the simplex's span changes no distance comparison. A test of a million draws agrees.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import log_ndtr
from torch import Tensor

from ncbook.errors import InputError
from ncbook.seeds import child_generator
from ncbook.simplex import helmert


def bayes_error(classes: int, separation: float) -> float:
    """The smallest possible error of any classifier on the set, to about 12 digits.

    The trapezoid rule on a smooth integrand that vanishes at both ends converges faster than any power of the step.

    >>> round(bayes_error(2, 2.0), 10)  # two classes: Phi(-separation / 2)
    0.1586552539
    >>> round(bayes_error(5, 0.0), 10)  # no separation: a guess
    0.8
    """
    if classes < 2 or not separation >= 0:
        raise InputError(f"bayes_error needs at least 2 classes and a separation of at least 0, not {classes} and {separation}")
    z = np.linspace(-13.0, 13.0, 5201)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    miss = -np.expm1((classes - 1) * log_ndtr(z + separation / math.sqrt(2)))  # 1 - Phi^(C-1) without cancellation
    return float(np.sum(density * miss) * (z[1] - z[0]))


def simplex(classes: int, separation: float, dim: int) -> Tensor:
    """The means (C, d), float64: centred, all `separation` apart, in the first C - 1 of d coordinates.

    >>> simplex(2, 3.0, 2)
    tensor([[ 1.5000,  0.0000],
            [-1.5000,  0.0000]], dtype=torch.float64)
    """
    return torch.from_numpy(helmert(classes, dim)) * (separation / math.sqrt(2))


def draw(classes: int, dim: int, separation: float, *, per_class: int, seed: int, split: str) -> tuple[Tensor, Tensor]:
    """`per_class` fresh draws of each class: vectors as "images" (N, 1, 1, d) float32, labels (N,) int64 as 0, 1, ..., C-1, 0, 1, ...

    Each class has a stream of its own, read in blocks of 64, so the first n draws of a class are the same however many are asked for.
    """
    means = simplex(classes, separation, dim)  # (C, d)
    blocks = math.ceil(per_class / 64)
    noise = []
    for label in range(classes):
        generator = child_generator(seed, f"data/gaussian/{split}/{label}")
        noise.append(torch.cat([torch.randn(64, dim, generator=generator) for _ in range(blocks)])[:per_class])  # (n, d)
    vectors = torch.stack(noise, dim=1) + means.float()  # (n, C, d)
    return vectors.reshape(-1, 1, 1, dim), torch.arange(classes).repeat(per_class)


def names(classes: int) -> tuple[str, ...]:
    """What the classes are called: their numbers."""
    return tuple(map(str, range(classes)))
