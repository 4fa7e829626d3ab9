"""The regular simplex: C points in C - 1 dimensions, all equally far apart."""

import math

import numpy as np


def helmert(classes: int, dimension: int) -> np.ndarray:
    """The projections of e_1, ..., e_C away from (1, ..., 1), in the first C - 1 of d >= C - 1 coordinates: (C, d) float64.

    The columns of a Helmert matrix. The rows add up to 0, have the length sqrt(1 - 1/C) and stay sqrt(2) apart, as the e_c are.

    >>> helmert(2, 3).round(4).tolist()
    [[0.7071, 0.0, 0.0], [-0.7071, 0.0, 0.0]]
    """
    rows = np.zeros((classes, dimension))
    for k in range(1, classes):
        rows[:k, k - 1] = 1 / math.sqrt(k * (k + 1))
        rows[k, k - 1] = -k / math.sqrt(k * (k + 1))
    return rows
