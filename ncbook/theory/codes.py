"""Spherical codes: C unit vectors in d dimensions, as far apart as we can put them.

`spherical_code` gives closed forms where they exist and otherwise a code found by `search`, which is kept on disk. A code that was searched
for is never called *the* optimal code: compare `geometry.largest_cosine` with `geometry.lower_bound`.
"""

import hashlib
import math
import os
import tempfile
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from ncbook import paths
from ncbook.errors import InputError
from ncbook.renamed import moved_name
from ncbook.seeds import child_seed
from ncbook.simplex import helmert
from ncbook.theory.geometry import check_sizes, largest_cosine


def simplex(classes: int, dimension: int | None = None) -> np.ndarray:
    """The regular simplex (C, d): all cosines -1 / (C - 1), in the first C - 1 of d >= C - 1 coordinates; d = C - 1 unless told.

    >>> simplex(3).round(4).tolist()
    [[0.866, 0.5], [-0.866, 0.5], [0.0, -1.0]]
    """
    dimension = classes - 1 if dimension is None else dimension
    check_sizes(dimension, classes)
    if dimension < classes - 1:
        raise InputError(f"a simplex of {classes} vectors needs {classes - 1} dimensions, not {dimension}.")
    return helmert(classes, dimension) / math.sqrt(1 - 1 / classes)


def polygon(classes: int) -> np.ndarray:
    """The regular polygon (C, 2): neighbouring classes are neighbours on the circle.

    >>> polygon(4).round(12).tolist()
    [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-0.0, -1.0]]
    """
    check_sizes(2, classes)
    angles = 2 * np.pi * np.arange(classes) / classes
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def orthoplex(classes: int, dimension: int) -> np.ndarray:
    """The first C of e_1, -e_1, e_2, -e_2, …, so that s = 0, (C, d); an optimal code for d + 2 <= C <= 2 d, the only one at C = 2 d.

    >>> orthoplex(3, 2).tolist()
    [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]
    """
    check_sizes(dimension, classes)
    if classes > 2 * dimension:
        raise InputError(f"an orthoplex in {dimension} dimensions has {2 * dimension} vectors, not {classes}.")
    vectors = np.zeros((classes, dimension))
    vectors[np.arange(classes), np.arange(classes) // 2] = np.where(np.arange(classes) % 2, -1.0, 1.0)
    return vectors


def spherical_code(dimension: int, classes: int, *, seed: int = 0) -> np.ndarray:
    """C unit vectors in d dimensions with the least largest cosine that we know how to make, (C, d) float64.

    The simplex for C <= d + 1, the polygon for d = 2, the orthoplex or a part of it for C <= 2 d: all optimal. Beyond, a code from
    `search`, read from ``data/runs/codes`` when it was found before. Raises `InputError` for sizes that make no sense.
    """
    check_sizes(dimension, classes)
    if classes <= dimension + 1:
        return simplex(classes, dimension)
    if dimension == 2:
        return polygon(classes)
    if classes <= 2 * dimension:
        return orthoplex(classes, dimension)
    method = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]  # another search would find other codes
    kept = paths.runs() / "codes" / f"{dimension}-{classes}-{seed}-{method}.npy"
    try:
        return np.load(kept, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or cut off
        pass
    vectors = search(dimension, classes, seed=seed)
    paths.writable(kept.parent)
    with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".part", delete=False) as file:
        np.save(file, vectors, allow_pickle=False)
    os.replace(file.name, kept)  # whole or not at all, whoever else is searching
    return vectors


def search(dimension: int, classes: int, *, starts: int = 64, polished: int = 5, steps: int = 300, seed: int = 0) -> np.ndarray:
    """The best code (C, d) of `starts` annealed random starts, the `polished` best of which are refined to about 1e-9 in s.

    Harder sizes need more starts: (5, 11), (6, 20), (8, 20). Deterministic for a given `seed` on one kind of machine.

    >>> round(largest_cosine(search(3, 8)), 8)  # the square antiprism: the root of 7 s^2 + 2 s - 1
    0.26120387
    """
    check_sizes(dimension, classes)
    for name, value in (("starts", starts), ("polished", polished), ("steps", steps)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, not {value}.")
    if dimension == 1:
        return simplex(classes, dimension)
    random = np.random.default_rng(child_seed(seed, f"code/{dimension}/{classes}"))
    candidates = anneal(_unit(random.standard_normal((starts, classes, dimension))), steps=steps)
    order = np.argsort(_largest(candidates), kind="stable")[:polished]
    codes = [polish(candidates[k]) for k in order]
    cosines = np.array([largest_cosine(code) for code in codes])
    return codes[int(np.argmax(cosines <= cosines.min() + 1e-9))]  # of equally good ones the first, whatever the last digits


def anneal(vectors: np.ndarray, *, steps: int = 300, last: float = 2e3) -> np.ndarray:
    """Starts (K, C, d) moved down log sum exp(beta cos) / beta by momentum steps while beta rises to `last`: codes right to about 1e-3.

    The starts begin at different beta, from 10 to 400: from a small one they all flow to one smooth optimum, which at (3, 10) is not the
    best.
    """
    vectors, velocity = vectors.copy(), np.zeros_like(vectors)
    first = np.geomspace(10, 400, len(vectors))[:, None, None]
    same = np.arange(vectors.shape[1])
    for k in range(steps):
        done = k / max(1, steps - 1)
        beta = first * (last / first) ** done
        cosines = vectors @ vectors.transpose(0, 2, 1)  # (K, C, C)
        cosines[:, same, same] = -9
        weights = np.exp(beta * (cosines - cosines.max((1, 2), keepdims=True)))
        force = weights @ vectors
        force -= (force * vectors).sum(2, keepdims=True) * vectors  # along the sphere
        force /= np.linalg.norm(force, axis=2).max(1)[:, None, None] + 1e-12
        velocity = 0.8 * velocity - force
        vectors = _unit(vectors + 0.15 * (1 - done) / np.sqrt(beta) * velocity)
    return vectors


def polish(vectors: np.ndarray, *, most: int = 60) -> np.ndarray:
    """A code (C, d) near `vectors` where no small move lowers the largest cosine: linear programmes in the tangent spaces.

    Each step minimises s subject to the linearised cosines of the pairs near contact, within a box that shrinks when the linearisation was
    not to be trusted. At a rigid code the optimum is a vertex, and the steps converge like Newton's.
    """
    (c, d), cosine, radius = vectors.shape, largest_cosine(vectors), 0.02
    first, second = np.triu_indices(c, 1)
    for _ in range(most):
        tangent = np.linalg.svd(vectors[:, None, :])[2][:, 1:, :]  # (C, d-1, d)
        cosines = (vectors[first] * vectors[second]).sum(1)
        near = cosines > cosine - 8 * radius  # the others cannot become the largest within the box
        i, j, pairs = first[near], second[near], int(near.sum())
        moves = [np.einsum("mkd,md->mk", tangent[i], vectors[j]), np.einsum("mkd,md->mk", tangent[j], vectors[i])]
        columns = [i[:, None] * (d - 1) + np.arange(d - 1), j[:, None] * (d - 1) + np.arange(d - 1), np.full((pairs, 1), c * (d - 1))]
        values = np.concatenate([*moves, -np.ones((pairs, 1))], axis=1)
        rows = np.repeat(np.arange(pairs), values.shape[1])
        matrix = sparse.csr_matrix((values.ravel(), (rows, np.concatenate(columns, axis=1).ravel())), shape=(pairs, c * (d - 1) + 1))
        cost = np.append(np.zeros(c * (d - 1)), 1.0)
        bounds = [*[(-radius, radius)] * (c * (d - 1)), (None, None)]
        step = linprog(cost, A_ub=matrix, b_ub=-cosines[near], bounds=bounds, method="highs")
        if step.x is None:
            break
        moved = _unit(vectors + np.einsum("ck,ckd->cd", step.x[:-1].reshape(c, d - 1), tangent))
        gain, promised = cosine - largest_cosine(moved), cosine - step.x[-1]
        if gain > 0:
            vectors, cosine = moved, cosine - gain
        if gain < 0.5 * promised:
            radius /= 4
        if max(gain, promised) < 1e-13 or radius < 1e-10:
            break
    return vectors


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _largest(batch: np.ndarray) -> np.ndarray:
    """Largest cosine (K,) of each code of a batch (K, C, d)."""
    cosines = batch @ batch.transpose(0, 2, 1)
    same = np.arange(batch.shape[1])
    cosines[:, same, same] = -9
    return cosines.max((1, 2))


def __getattr__(name: str):
    return moved_name(__name__, name)
