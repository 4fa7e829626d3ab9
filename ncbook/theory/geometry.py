"""How far apart the vectors of a spherical code are, and how far apart they could be at best.

The signed problem throughout: the largest cosine between two vectors, not its absolute value, is made small. Softmax tells a vector from
its negative, so this is the problem that training can reach (spherical codes, Tammes' problem).
"""

import math

import numpy as np
from scipy.optimize import brentq, nnls

from ncbook.errors import InputError


def check_frame(vectors) -> np.ndarray:
    """`vectors` as a float64 array (C, d) of two or more finite vectors of length 1 (to 1e-6); an `InputError` otherwise."""
    vectors = np.asarray(vectors, dtype=float)
    if vectors.ndim != 2 or len(vectors) < 2:
        raise InputError(f"a spherical code is an array (C, d) of at least two vectors, not one of shape {vectors.shape}.")
    if not np.isfinite(vectors).all() or np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > 1e-6:
        raise InputError("the vectors of a spherical code must be finite and of length 1.")
    return vectors


def check_sizes(dimension: int, classes: int) -> None:
    """An `InputError` unless both are whole, `classes` at least 2 and `dimension` at least 1."""
    for name, value, least in (("dimension", dimension, 1), ("classes", classes, 2)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    if dimension == 1 and classes > 2:
        raise InputError(f"{classes} classes need at least two dimensions: a line has two directions only.")


def largest_cosine(vectors) -> float:
    """The largest inner product of two different vectors of a code (C, d): s, the number that a spherical code makes small.

    >>> largest_cosine([[1, 0], [0, 1], [-1, 0], [0, -1]])
    0.0
    """
    vectors = check_frame(vectors)
    gram = vectors @ vectors.T
    return float(gram[~np.eye(len(gram), dtype=bool)].max())


def one_vs_rest(vectors) -> np.ndarray:
    """Distance of each vector of a code (C, d) to the convex hull of the others, (C,): its largest possible margin for features of length
    1.

    Jiang et al. (2023) call a code that maximises the least of them a softmax code. It is never below 1 - s. Non-negative least squares
    with the weights' sum as one more, heavy row gives it without an iteration of ours.

    >>> one_vs_rest([[1, 0], [0, 1], [-1, 0], [0, -1]]).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    vectors = check_frame(vectors)
    heavy = 1e4  # the sum of weights is 1 to about 1e-8
    distances = []
    for i in range(len(vectors)):
        rest = np.delete(vectors, i, axis=0)  # (C-1, d)
        weights, _ = nnls(np.vstack([rest.T, np.full(len(rest), heavy)]), np.append(vectors[i], heavy))
        distances.append(np.linalg.norm(vectors[i] - weights @ rest / weights.sum()))
    return np.array(distances)


def lower_bound(dimension: int, classes: int) -> float:
    """No code of `classes` unit vectors in `dimension` dimensions has a largest cosine below this.

    Sharp, hence the exact optimum, for C <= d + 1 (simplex), C <= 2 d (Rankin), d = 2, and where Levenshtein's or Fejes Toth's bound is
    met.

    - C <= d + 1: -1 / (C - 1). d + 2 <= C <= 2 d: 0. d = 2: cos(2 pi / C).
    - d = 3: 1 / (2 sin^2 w) - 1 with w = pi C / (6 (C - 2)) (Fejes Toth 1943).
    - C > 2 d: the s that solves C = d (1 - s) (2 + (d + 1) s) / (1 - d s^2), Levenshtein's third bound. It holds for s up to
      (sqrt(d + 3) - 1) / (d + 2); with more vectors than it allows there, that end of its range is still a bound.

    >>> lower_bound(5, 16), round(lower_bound(3, 12) - 5**-0.5, 12)
    (0.2, 0.0)
    """
    check_sizes(dimension, classes)
    d, c = int(dimension), int(classes)
    if c <= d + 1:
        return -1 / (c - 1)
    if d == 2:
        return math.cos(2 * math.pi / c)
    if c <= 2 * d:
        return 0.0
    end = (math.sqrt(d + 3) - 1) / (d + 2)

    def most(s: float) -> float:  # vectors that a largest cosine of s allows; it grows with s
        return d * (1 - s) * (2 + (d + 1) * s) / (1 - d * s * s)

    levenshtein = end if most(end) <= c else round(brentq(lambda s: most(s) - c, 0, end, xtol=1e-14), 13)
    return max(levenshtein, 1 / (2 * math.sin(math.pi * c / (6 * (c - 2))) ** 2) - 1) if d == 3 else levenshtein


# The least largest cosine that anyone has found, where no bound above meets it. d = 3: Sloane's tables of spherical codes; proven optimal
# for C = 7, 8, 9, 10, 11, 13, 14, 24. d = 4: C = 10 is proven. The others are our own best of many searches.
KNOWN = {
    (3, 7): 0.2101383127,
    (3, 8): 0.2612038750,
    (3, 9): 1 / 3,
    (3, 10): 0.4043943252,
    (3, 11): 5**-0.5,
    (3, 13): 0.5426364869,
    (3, 14): 0.5639503005,
    (3, 15): 0.5926059,
    (3, 16): 0.6122946,
    (3, 20): 0.6764771,
    (3, 24): 0.7230784687,
    (4, 9): 0.162017,
    (4, 10): 1 / 6,
    (4, 11): 0.230407,
    (4, 12): 0.25,
    (4, 13): 0.307296,
    (4, 14): 0.319519,
    (4, 16): 0.387629,
    (5, 11): 0.132854,
    (5, 12): 0.1539316,
    (5, 13): 0.187261,
    (5, 14): 0.2,
    (6, 20): 3 / 14,
    (8, 20): 0.119497,
    (9, 20): 0.08707,
}


def best_known(dimension: int, classes: int) -> float:
    """The least largest cosine known for these sizes; `lower_bound` where that is exact, nan where we know none.

    >>> best_known(5, 10), best_known(7, 40)
    (0.0, nan)
    """
    check_sizes(dimension, classes)
    exact = classes <= 2 * dimension or dimension == 2 or (dimension, classes) in {(3, 12), (5, 16), (6, 27)}
    return lower_bound(dimension, classes) if exact else KNOWN.get((dimension, classes), math.nan)
