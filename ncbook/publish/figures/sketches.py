"""Sketches of spherical codes: classes on the circle, and points on the sphere with their closest pairs joined."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d import Axes3D

from ncbook.publish.figures.style import LOOKS


def circle(axes: Axes, vectors: np.ndarray) -> None:
    """Vectors (C, 2) on the unit circle, each with the number of its class."""
    axes.add_patch(plt.Circle((0, 0), 1, fill=False, color="0.6", linewidth=0.8))
    for number, (x, y) in enumerate(vectors):
        axes.plot([0, x], [0, y], color="0.8", linewidth=0.8)
        axes.text(1.18 * x, 1.18 * y, str(number), ha="center", va="center", fontsize=11)
        axes.plot(x, y, marker="o", color=LOOKS[0]["color"])
    axes.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal")
    axes.axis("off")


def sphere(axes: Axes3D, vectors: np.ndarray) -> int:
    """Vectors (C, 3) in a three-dimensional panel, seen from where no two come close, the closest pairs joined; how many these are."""
    pairs = closest_pairs(vectors)
    for pair in pairs:
        axes.plot(*vectors[pair].T, color="0.5", linewidth=0.9)
    axes.scatter(*vectors.T, color=LOOKS[1]["color"], s=24, depthshade=False)
    for number, vector in enumerate(vectors):
        axes.text(*vector, f" {number}", ha="left", va="bottom", fontsize=10)
    views = [(elevation, azimuth) for elevation in range(0, 80, 10) for azimuth in range(0, 180, 10)]
    axes.view_init(*max(views, key=lambda view: _apart(vectors, *np.radians(view))))
    axes.set_proj_type("ortho")
    axes.set(box_aspect=(1, 1, 1))
    axes.axis("off")
    return len(pairs)


def closest_pairs(vectors: np.ndarray) -> np.ndarray:
    """The pairs of numbers of unit vectors (C, d) with the largest cosine, one row each.

    >>> closest_pairs(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).tolist()
    [[1, 0], [2, 1]]
    """
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
    return np.argwhere(np.tril(cosines > cosines.max() - 1e-6, -1))


def _apart(vectors: np.ndarray, elevation: float, azimuth: float) -> float:
    """The least distance between two points of the picture that a view gives."""
    across = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    up = np.array([-np.sin(elevation) * np.cos(azimuth), -np.sin(elevation) * np.sin(azimuth), np.cos(elevation)])
    flat = vectors @ np.stack([across, up], axis=1)
    return np.linalg.norm(flat[:, None] - flat[None], axis=2)[np.triu_indices(len(vectors), 1)].min()
