"""The variance component of a factor in a two-way layout of one measurement a cell, with an interval and a permutation test.

Model: y[f, s] = mean + frame[f] + seed[s] + error[f, s], all three random. A dozen lines of analysis of variance rather than a mixed model
by REML: on a balanced table the two agree where the estimate is positive, and this one is unbiased (it may be negative, so that its mean
over layouts is 0 when there is no effect) and has an interval with known coverage also at 0.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from ncbook.errors import InputError


@dataclass(frozen=True)
class Component:
    """Variance of the first factor: the unbiased estimate, its interval cut at 0, the error's variance, and the permutation test's
    p-value."""

    estimate: float
    low: float
    high: float
    error: float
    p: float


def mean_squares(values) -> tuple[float, float]:
    """Mean squares of the first factor and of the error, of values (F, S) or, pooled over L layouts, (L, F, S).

    >>> mean_squares([[1.0, 2.0], [3.0, 4.0]])  # rows differ by 2, nothing else does but the columns
    (4.0, 0.0)
    """
    y = _layouts(values)
    layouts, frames, seeds = y.shape
    factor = ((y.mean(2) - y.mean((1, 2))[:, None]) ** 2).sum() * seeds
    residual = y - y.mean(2, keepdims=True) - y.mean(1, keepdims=True) + y.mean((1, 2), keepdims=True)
    return float(factor / (layouts * (frames - 1))), float((residual**2).sum() / (layouts * (frames - 1) * (seeds - 1)))


def variance(values) -> float:
    """Unbiased estimate of the first factor's variance, (MS factor - MS error) / S; negative when the factor does less than chance would.

    >>> variance([[1.0, 2.0], [3.0, 4.0]])
    2.0
    """
    factor, error = mean_squares(values)
    return (factor - error) / np.shape(values)[-1]


def component(values, *, draws: int = 999, level: float = 0.95, random: np.random.Generator | None = None) -> Component:
    """The component of values (F, S) or (L, F, S) with its interval and test; `random` (default: seed 0) draws the permutations.

    The interval is the modified large-sample one for a difference of two mean squares (Ting et al. 1990; Burdick & Graybill 1992). The test
    shuffles the first factor's labels within each seed: exact, whatever the values' distribution, when cells of a seed are exchangeable.
    """
    y = _layouts(values)
    layouts, frames, seeds = y.shape
    factor, error = mean_squares(y)
    n1, n2 = layouts * (frames - 1), layouts * (frames - 1) * (seeds - 1)
    tail, estimate = (1 - level) / 2, (factor - error) / seeds
    f = {up: (_f(tail, n1, n2, up), _f(tail, n1, np.inf, up), _f(tail, n2, np.inf, up)) for up in (True, False)}
    upper, lower = f[True], f[False]  # upper and lower points of F
    g1, h2 = 1 - 1 / upper[1], 1 / lower[2] - 1
    g12 = ((upper[0] - 1) ** 2 - g1**2 * upper[0] ** 2 - h2**2) / upper[0]
    h1, g2 = 1 / lower[1] - 1, 1 - 1 / upper[2]
    h12 = ((1 - lower[0]) ** 2 - h1**2 * lower[0] ** 2 - g2**2) / lower[0]
    down = g1**2 * factor**2 + h2**2 * error**2 + g12 * factor * error
    up = h1**2 * factor**2 + g2**2 * error**2 + h12 * factor * error
    low, high = estimate - np.sqrt(max(0, down)) / seeds, estimate + np.sqrt(max(0, up)) / seeds
    p = _permutation_p(y, draws, random or np.random.default_rng(0))
    return Component(estimate, max(0.0, float(low)), max(0.0, float(high)), error, p)


def _permutation_p(y: np.ndarray, draws: int, random: np.random.Generator) -> float:
    """Share of shuffles, the table itself among them, whose factor means spread at least as widely."""
    centred = y - y.mean(1, keepdims=True)
    spread = (centred.mean(2) ** 2).sum()
    order = random.random((draws, *y.shape)).argsort(axis=2)
    shuffled = np.take_along_axis(np.broadcast_to(centred, order.shape), order, axis=2)
    others = (shuffled.mean(3) ** 2).sum((1, 2))
    return float((1 + (others >= spread * (1 - 1e-12)).sum()) / (1 + draws))


def _f(tail: float, n1: float, n2: float, upper: bool) -> float:
    """Point of the F distribution that leaves `tail` above it, or below it."""
    share = 1 - tail if upper else tail
    return 2 * special.gammaincinv(n1 / 2, share) / n1 if np.isinf(n2) else special.fdtri(n1, n2, share)


def _layouts(values) -> np.ndarray:
    y = np.asarray(values, dtype=float)
    y = y[None] if y.ndim == 2 else y
    if y.ndim != 3 or min(y.shape[1:], default=0) < 2 or not len(y) or not np.isfinite(y).all():
        raise InputError(f"a two-way layout is a finite array (F, S) or (L, F, S) of at least 2 × 2, not one of shape {np.shape(values)}.")
    return y
