"""Which permutations are rotations, how many assignments differ, and rotations that are uniform."""

import math
from itertools import permutations as all_permutations

import numpy as np
import pytest
from scipy import stats

from ncbook.errors import InputError
from ncbook.theory import automorphisms, largest_cosine, orthoplex, permutations, polygon, rotation, search, simplex


def by_counting(m) -> int:
    gram = m @ m.T
    return sum(np.allclose(gram[np.ix_(p, p)], gram, atol=1e-6) for p in map(list, all_permutations(range(len(m)))))


@pytest.mark.parametrize("m", [polygon(4), polygon(5), simplex(4), orthoplex(6, 3), orthoplex(5, 3), polygon(7)])
def test_automorphisms_by_trying_all(m):
    assert automorphisms(m) == by_counting(m)


@pytest.mark.parametrize(
    ("m", "different"), [(polygon(4), 3), (orthoplex(10, 5), 945), (polygon(10), 181_440), (simplex(10), 1), (search(3, 12), 3_991_680)]
)
def test_distinct_assignments(m, different):
    assert math.factorial(len(m)) // automorphisms(m) == different


def test_a_random_frame_has_no_symmetry():
    m = np.random.default_rng(0).standard_normal((8, 4))
    assert automorphisms(m / np.linalg.norm(m, axis=1, keepdims=True)) == 1


def test_permutations_are_distinct_and_all_of_them_can_be_drawn():
    m = orthoplex(6, 3)
    drawn = permutations(m, 15, np.random.default_rng(0))  # 6! / 48: the perfect matchings of six classes
    pairs = {frozenset(frozenset(np.flatnonzero(p // 2 == k).tolist()) for k in range(3)) for p in drawn}
    assert len(pairs) == 15
    with pytest.raises(InputError, match="15 different assignments of its 6 classes; 16 were asked for"):
        permutations(m, 16, np.random.default_rng(0))
    with pytest.raises(InputError, match="1 different"):
        permutations(simplex(5), 2, np.random.default_rng(0))


def test_a_permuted_simplex_is_a_rotated_one_and_a_permuted_square_need_not_be():
    for m, p, is_rotation in [(simplex(5), [1, 3, 0, 4, 2], True), (polygon(4), [1, 0, 2, 3], False), (polygon(4), [1, 2, 3, 0], True)]:
        gram = m @ m.T
        assert np.allclose(gram[np.ix_(p, p)], gram) == is_rotation
        r = np.linalg.lstsq(m, m[p], rcond=None)[0]
        assert (np.allclose(m @ r, m[p]) and np.allclose(r @ r.T, np.eye(len(r)))) == is_rotation


def test_s_is_the_same_after_permutation_and_rotation():
    random, m = np.random.default_rng(0), search(3, 9)
    assert largest_cosine(m[random.permutation(9)]) == pytest.approx(largest_cosine(m), abs=1e-12)
    assert largest_cosine(m @ rotation(3, random)) == pytest.approx(largest_cosine(m), abs=1e-12)


def test_rotations_are_uniform():
    random = np.random.default_rng(3)
    first = np.array(
        [rotation(3, random)[0, 0] for _ in range(2000)]
    )  # a coordinate of a uniform point of the sphere: uniform (Archimedes)
    assert stats.kstest(first, stats.uniform(-1, 2).cdf).pvalue > 0.01
    signs = [np.linalg.det(rotation(3, random)) > 0 for _ in range(200)]
    assert 60 < sum(signs) < 140
    with pytest.raises(InputError, match="at least one dimension"):
        rotation(0, random)
