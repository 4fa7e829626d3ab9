"""Classifier and features that are all free: the unconstrained features model, descended from a small start, or minimised with penalties.

Data plays no part in it: a feature belongs to a label and to no image. Columns of H (d, N) are features, rows of W (C, d) the classifier.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from ncbook.errors import InputError, unknown

LOSSES = ("squared", "cross_entropy")


@dataclass(frozen=True)
class Solution:
    """Classifier (C, d), features (d, N), bias (C,) and labels (N,) of the model, and its mean loss without penalties."""

    weight: np.ndarray
    features: np.ndarray
    bias: np.ndarray
    labels: np.ndarray
    loss: float


def descent(
    *, classes: int, per_class: int, dimension: int, start: float, step: float, measure_at: list[int], generator: torch.Generator
) -> Iterator[tuple[int, Solution]]:
    """Gradient descent on |W H + b 1' - Y|^2 / 2 without penalties, from Gaussian weights, features and bias of deviation `start`.

    Small steps follow the gradient flow of Mixon, Parshall & Pi (2020, eq. 2 as recalled). Yields the numbers of steps of `measure_at`, in
    order, each with the state reached; its loss is that sum over N. A `FloatingPointError` where it diverges.
    """
    _check(classes, per_class, dimension)
    labels = np.repeat(np.arange(classes), per_class)
    targets = np.eye(classes)[:, labels]  # (C, N)
    weight, features, bias = (
        start * torch.randn(*shape, generator=generator, dtype=torch.float64).numpy()
        for shape in ((classes, dimension), (dimension, classes * per_class), (classes,))
    )
    for done in range(max(measure_at) + 1):
        off = weight @ features + bias[:, None] - targets  # (C, N)
        if done in measure_at:
            loss = float((off**2).sum()) / 2 / len(labels)
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} after {done} steps; a smaller step than {step:g} may help.")
            yield done, Solution(weight.copy(), features.copy(), bias.copy(), labels, loss)
        weight, features, bias = (
            weight - step * off @ features.T,
            features - step * weight.T @ off,
            bias - step * off.sum(1),
        )


def minimum(*, loss: str, bias: bool, penalty: float, classes: int, per_class: int, dimension: int, generator: torch.Generator) -> Solution:
    """The minimum of the mean loss + penalty/2 (|W|^2 + |H|^2) from a random start; the bias is free of penalty, or 0 without `bias`.

    ``squared`` is |W H + b 1' - Y|^2 / 2N. L-BFGS in float64.
    """
    _check(classes, per_class, dimension)
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    labels = np.repeat(np.arange(classes), per_class)
    return _minimised(loss, bias, penalty, penalty, labels, np.full(len(labels), 1 / len(labels)), classes, dimension, generator)


def peeled_minimum(*, ratio: float, penalty: float, classes: int, dimension: int, generator: torch.Generator) -> Solution:
    """The layer-peeled model (Fang, He, Long & Su 2021) of unequal classes: cross-entropy over one feature a class, each weighted by the
    share of its samples, with penalty/2C on |W|^2 and on |H|^2, without bias.

    The first half of the classes are the majority, `ratio` times as large as those of the second.
    """
    _check(classes, 1, dimension)
    sizes = np.where(np.arange(classes) < classes // 2, float(ratio), 1.0)
    each = penalty / classes
    return _minimised("cross_entropy", False, each, each, np.arange(classes), sizes / sizes.sum(), classes, dimension, generator)


def shrunk_singular_value(per_class: int, classes: int, penalty: float) -> float:
    """max(0, sqrt(n) - N penalty): what the singular values of W H are at the minimum of the squared loss, n samples a class, N = C n.

    Derived: with equal penalties |W|^2 + |H|^2 is at least twice the nuclear norm of W H, which shrinks each singular value sqrt(n) of Y.

    >>> round(shrunk_singular_value(5, 6, 0.01), 6)
    1.936068
    """
    return max(0.0, per_class**0.5 - classes * per_class * penalty)


def leftover_ratio(start: float, *, classes: int, per_class: int, dimension: int) -> float:
    """V of the features that the flow ends with, from a small Gaussian start: what of them the classifier never sees does not move.

    Derived to first order in start^2: start^2 (d - C + 1) (1 - 1/n) sqrt(n) / (1 - 1/C).

    >>> round(leftover_ratio(1e-3, classes=10, per_class=20, dimension=20), 9)
    5.1926e-05
    """
    return start**2 * (dimension - classes + 1) * (1 - 1 / per_class) * per_class**0.5 / (1 - 1 / classes)


def frame_distances(vectors: np.ndarray) -> dict[str, float]:
    """How far the cosines of pairs of vectors (C, d) are from those of an orthogonal frame, 0, and of a simplex, -1/(C - 1): root mean
    squares.

    >>> {name: round(value, 6) for name, value in frame_distances(np.eye(3)).items()}
    {'to_orthogonal': 0.0, 'to_simplex': 0.5}
    """
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (units @ units.T)[~np.eye(len(units), dtype=bool)]
    targets = {"to_orthogonal": 0.0, "to_simplex": -1 / (len(vectors) - 1)}
    return {name: float(np.sqrt(np.mean((cosines - target) ** 2))) for name, target in targets.items()}


def _minimised(loss, has_bias, on_weight, on_features, labels, shares, classes, dimension, generator) -> Solution:
    """The minimum of the mean loss with a share (N,) for each feature and penalties of half the squares."""
    samples, targets = len(labels), np.eye(classes)[:, labels]
    ends = np.cumsum([classes * dimension, dimension * samples])

    def parts(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weight, features, bias = np.split(flat, ends)
        return weight.reshape(classes, dimension), features.reshape(dimension, samples), bias

    def mean_loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, features, bias = parts(flat)
        scores = weight @ features + bias[:, None]
        if loss == "squared":
            off = (scores - targets) * shares
            return float((off * (scores - targets)).sum()) / 2, off
        logs = log_softmax(scores, axis=0)
        return float(-(logs[labels, np.arange(samples)] * shares).sum()), (np.exp(logs) - targets) * shares

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, features, _ = parts(flat)
        value, off = mean_loss(flat)
        value += (on_weight * (weight**2).sum() + on_features * (features**2).sum()) / 2
        of_bias = off.sum(1) if has_bias else np.zeros(classes)
        gradients = [off @ features.T + on_weight * weight, weight.T @ off + on_features * features, of_bias]
        return value, np.concatenate([g.ravel() for g in gradients])

    first = torch.randn(int(ends[-1]), generator=generator, dtype=torch.float64).numpy() / dimension**0.5
    options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-16, "gtol": 1e-9, "maxcor": 20}
    flat = minimize(objective, np.concatenate([first, np.zeros(classes)]), jac=True, method="L-BFGS-B", options=options).x
    weight, features, bias = parts(flat)
    return Solution(weight, features, bias, labels, mean_loss(flat)[0])


def _check(classes: int, per_class: int, dimension: int) -> None:
    if classes < 2 or per_class < 1 or dimension < classes:
        raise InputError(
            f"the model needs 2 classes, a sample of each and as many dimensions as classes, not {classes}, {per_class} and {dimension}."
        )
