"""Features and classifier without a network: cross-entropy over unit vectors, at one logit scale after another.

The unconstrained features model with norms under control. One feature a class stands for all of its images: for a given classifier the loss
of a feature has one minimum on the sphere, or none better than another, so that its images gain nothing by parting.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from ncbook.errors import InputError
from ncbook.seeds import child_generator
from ncbook.theory.codes import spherical_code
from ncbook.theory.geometry import check_sizes

NUDGE = 0.01


def log_loss(weights: np.ndarray, features: np.ndarray, scale: float) -> tuple[float, np.ndarray, np.ndarray]:
    """log of the mean cross-entropy of logits scale · w_k · h_y with w, h (C, d), and its gradients in w and h (C, d).

    In log form, since at a large scale the loss itself falls below what a minimiser can see: its logarithm is about -scale · margin.

    >>> line = np.array([[1.0], [-1.0]])
    >>> round(log_loss(line, line, 1.0)[0], 6)  # log log(1 + exp(-2))
    -2.064135
    """
    logits = scale * features @ weights.T  # (C, C): one row a feature
    right = logits.diagonal().copy()
    np.fill_diagonal(logits, -np.inf)  # the others are left
    highest = logits.max(axis=1)
    likely = np.exp(logits - highest[:, None])  # of the others, but for their sum
    total = likely.sum(axis=1)
    short = highest + np.log(total) - right  # (C,); the loss of a class is log(1 + exp(short))
    bounded = np.maximum(short, -30)  # further down it is exp(short) to rounding
    losses = np.logaddexp(0, bounded)
    log_losses = np.where(short < -30, short, np.log(losses))
    most = log_losses.max()
    shares = np.exp(log_losses - most)  # of the classes in the mean, but for their sum
    slope = scale * shares / shares.sum() * expit(bounded) / losses
    pull = likely * (slope / total)[:, None]
    np.fill_diagonal(pull, -slope)
    return float(most + np.log(shares.mean())), pull.T @ features, pull @ weights


def minimise(
    dimension: int, classes: int, scales: list[float], *, generator: torch.Generator, tolerances: tuple[float, float] = (1e-15, 1e-10)
) -> Iterator[tuple[float, float, np.ndarray, np.ndarray]]:
    """Minima from one random start: scale, mean cross-entropy, unit weights (C, d) and unit features (C, d), for rising scales.

    Each scale goes on from the minimum before it, as norms grow in training, nudged by one part in a hundred: a symmetric minimum can be a
    saddle at the next scale, and a method without noise would stay on it. L-BFGS on the directions of free vectors, until a step lowers the
    loss, or its largest slope is, by less than the `tolerances` (relative, absolute).
    """
    check_sizes(dimension, classes)
    if not scales or min(scales) <= 0 or sorted(scales) != list(scales):
        raise InputError(f"scales must be positive and rising, not {scales}.")
    free = torch.randn(2, classes, dimension, generator=generator, dtype=torch.float64).numpy()

    def objective(flat: np.ndarray, scale: float) -> tuple[float, np.ndarray]:
        vectors = flat.reshape(2, classes, dimension)
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        units = vectors / lengths
        value, *gradients = log_loss(units[0], units[1], scale)
        gradient = np.stack(gradients)
        gradient = (gradient - (gradient * units).sum(2, keepdims=True) * units) / lengths  # along the sphere
        return value / scale, gradient.ravel() / scale

    for scale in scales:
        options = {"maxiter": 5000, "maxfun": 20000, "ftol": tolerances[0], "gtol": tolerances[1]}
        free = free + NUDGE * torch.randn(free.shape, generator=generator, dtype=torch.float64).numpy()
        flat = minimize(objective, free.ravel(), args=(scale,), jac=True, method="L-BFGS-B", options=options).x
        free = flat.reshape(2, classes, dimension)
        free /= np.linalg.norm(free, axis=2, keepdims=True)
        yield scale, float(np.exp(log_loss(free[0], free[1], scale)[0])), free[0].copy(), free[1].copy()


def softmax_code(dimension: int, classes: int, *, scales: tuple[float, ...] = (7.0, 100.0, 1000.0)) -> np.ndarray:
    """A softmax code (Jiang et al. 2023): unit weights (C, d), each as far from the hull of the others as we know how to put them.

    Where a spherical code is known in closed form it is that one; beyond, the weights of `minimise` at the last of rising scales, from one
    start of a fixed seed: in 62 classes and 10 dimensions three starts agree to .2%.

    >>> from ncbook.theory.geometry import one_vs_rest
    >>> [round(float(one_vs_rest(softmax_code(3, classes)).min()), 3) for classes in (4, 6, 12)]  # simplex, orthoplex, icosahedron
    [1.333, 1.0, 0.553]
    """
    if dimension == 2 or classes <= 2 * dimension:
        return spherical_code(dimension, classes)
    *_, (_, _, weights, _) = minimise(dimension, classes, list(scales), generator=child_generator(0, "softmax code"))
    return weights
