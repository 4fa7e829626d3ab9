"""What can be done to a spherical code: permute its classes, rotate it; and which permutations are rotations in disguise.

A code M (C, d) with its rows permuted, P M, has the Gram matrix P M M^T P^T: the same classes are neighbours as before exactly when P is an
automorphism of the Gram matrix, and then P M = M R for an orthogonal R. A rotation M R never changes the Gram matrix.
"""

import math

import numpy as np

from ncbook.errors import InputError
from ncbook.theory.geometry import check_frame

TOLERANCE = 1e-6  # two cosines of a polished code are equal up to this


def automorphisms(vectors) -> int:
    """How many permutations of the vectors (C, d) leave all cosines between them as they are (to 1e-6): the size of the symmetry group.

    By orbits and stabilisers: the size is the product, over k, of the number of vectors that k can be sent to while 0 … k-1 stay in place.

    >>> automorphisms([[1, 0], [0, 1], [-1, 0], [0, -1]])  # the square
    8
    """
    vectors = check_frame(vectors)
    gram = vectors @ vectors.T
    count = 1
    for k in range(len(gram)):
        fixed = list(range(k))
        count *= sum(_extends(gram, [*fixed, target]) for target in range(k, len(gram)) if _fits(gram, fixed, target))
    return count


def _fits(gram: np.ndarray, images: list[int], target: int) -> bool:
    """Whether vector k = len(images) can go to `target` when 0 … k-1 go to `images`."""
    k = len(images)
    return target not in images and bool(np.all(np.abs(gram[k, :k] - gram[target, images]) < TOLERANCE))


def _extends(gram: np.ndarray, images: list[int]) -> bool:
    """Whether a partial automorphism, the first vectors' images, can be completed."""
    if len(images) == len(gram):
        return True
    return any(_extends(gram, [*images, target]) for target in range(len(gram)) if _fits(gram, images, target))


def permutations(vectors, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` random permutations (count, C) of the classes, no two of which give the same neighbours: row i of ``vectors[p]`` is class
    i's.

    Two permutations count as one when their Gram matrices agree; of a code there are C! / `automorphisms` different ones, and `InputError`
    says so where that is less than `count`. The simplex has one: each permutation of it is a rotation.

    >>> square = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    >>> len(permutations(square, 3, np.random.default_rng(0)))
    3
    """
    vectors = check_frame(vectors)
    different = math.factorial(len(vectors)) // automorphisms(vectors)
    if not 1 <= count <= different:
        raise InputError(f"this code has {different} different assignments of its {len(vectors)} classes; {count} were asked for.")
    gram = np.round(vectors @ vectors.T, 4) + 0.0  # -0.0 is not 0.0 in bytes
    by_gram = {}
    while len(by_gram) < count:
        p = random.permutation(len(vectors))
        by_gram.setdefault(gram[np.ix_(p, p)].tobytes(), p)
    return np.array(list(by_gram.values()))


def rotation(dimension: int, random: np.random.Generator) -> np.ndarray:
    """An orthogonal matrix (d, d), uniform (Haar): QR of a Gaussian matrix, with the signs of R's diagonal put into Q (Mezzadri 2007).

    >>> q = rotation(4, np.random.default_rng(0))
    >>> bool(np.allclose(q @ q.T, np.eye(4)))
    True
    """
    if dimension < 1:
        raise InputError(f"a rotation needs at least one dimension, not {dimension}.")
    q, r = np.linalg.qr(random.standard_normal((dimension, dimension)))
    return q * np.sign(np.diag(r))
