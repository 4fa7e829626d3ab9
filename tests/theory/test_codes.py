"""Codes against published and computed tables, closed forms, and bounds that nothing may pass."""

import math
import time

import numpy as np
import pytest

from ncbook.errors import InputError
from ncbook.theory import best_known, largest_cosine, lower_bound, one_vs_rest, orthoplex, polygon, search, simplex, spherical_code
from ncbook.theory import codes as module

# d = 3: Sloane's table of spherical codes, C = 4 … 16, 20, 24. The others: proven, or met by Levenshtein's bound.
TAMMES = {4: -1 / 3, 5: 0, 6: 0, 7: 0.2101383127, 8: 0.2612038750, 9: 1 / 3, 10: 0.4043943252, 11: 5**-0.5, 12: 5**-0.5}
TAMMES |= {13: 0.5426364869, 14: 0.5639503005, 15: 0.5926059, 16: 0.6122946, 20: 0.6764771, 24: 0.7230784687}
OTHERS = {(4, 10): 1 / 6, (5, 16): 1 / 5, (6, 27): 1 / 4, (4, 24): 1 / 2}


@pytest.mark.parametrize("classes", [7, 8, 10, 13])
def test_hard_sizes_in_three_dimensions(classes):
    assert largest_cosine(search(3, classes)) == pytest.approx(TAMMES[classes], abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "least"), [*(((3, c), s) for c, s in TAMMES.items()), *OTHERS.items()])
def test_search_reaches_every_reference_value(size, least):
    code = search(*size)
    assert largest_cosine(code) == pytest.approx(least, abs=1e-6)
    assert one_vs_rest(code).min() == pytest.approx(1 - least, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("classes", range(4, 25))
def test_search_finds_the_polygon(classes):
    assert largest_cosine(search(2, classes)) == pytest.approx(math.cos(2 * math.pi / classes), abs=1e-6)


# the best that anyone found: a smaller value would be a discovery, not a failure
BEST_FOUND = {(4, 9): 0.162017, (4, 11): 0.230407, (4, 12): 0.25, (4, 13): 0.307296, (4, 14): 0.319519, (4, 16): 0.387629}
BEST_FOUND |= {(5, 11): 0.132854, (5, 12): 0.1539316, (5, 13): 0.187261, (5, 14): 0.2, (8, 20): 0.119497}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "least"), BEST_FOUND.items())
def test_search_is_no_worse_than_the_best_found(size, least):
    assert largest_cosine(search(*size)) <= least + 1e-5


@pytest.mark.parametrize("d", [2, 3, 4, 6])
@pytest.mark.parametrize("c", [2, 3, 4, 5, 6, 7, 8])
def test_closed_forms(d, c):
    if c > 2 * d and d > 2:
        return  # no closed form
    m = spherical_code(d, c)
    assert m.shape == (c, d)
    assert np.allclose(np.linalg.norm(m, axis=1), 1)
    assert largest_cosine(m) == pytest.approx(lower_bound(d, c), abs=1e-12) == pytest.approx(best_known(d, c), abs=1e-12)
    if c <= d + 1:
        cosines = (m @ m.T)[~np.eye(c, dtype=bool)]
        assert np.abs(cosines + 1 / (c - 1)).max() < 1e-12
    if c == 2 * d and d > 1 and c > d + 1:
        assert (m @ m.T < -1 + 1e-9).sum() == c  # C / 2 antipodal pairs, each seen twice


def test_search_finds_the_simplex_and_the_orthoplex():
    m = search(4, 5)
    assert np.abs(m @ m.T - np.where(np.eye(5), 1, -0.25)).max() < 1e-6
    m = search(3, 6)
    assert largest_cosine(m) < 1e-6
    assert (m @ m.T < -1 + 1e-6).sum() == 6


def test_nothing_is_below_its_bound_and_the_margin_is_at_least_one_minus_s():
    random = np.random.default_rng(0)
    for d, c in [(2, 5), (3, 4), (3, 7), (3, 12), (3, 30), (4, 7), (4, 10), (4, 60), (5, 16), (6, 40)]:
        m = random.standard_normal((c, d))
        m = module.polish(module.anneal((m / np.linalg.norm(m, axis=1, keepdims=True))[None], steps=60)[0], most=3)
        assert largest_cosine(m) >= lower_bound(d, c) - 1e-9
        assert one_vs_rest(m).min() >= 1 - largest_cosine(m) - 1e-7


@pytest.mark.parametrize(("d", "c", "s"), [(5, 16, 1 / 5), (6, 27, 1 / 4), (21, 162, 1 / 7), (22, 100, 1 / 11), (22, 275, 1 / 6)])
def test_levenshteins_bound_where_it_is_met(d, c, s):
    assert lower_bound(d, c) == pytest.approx(s, abs=1e-10)


@pytest.mark.parametrize(("d", "c", "s"), [(4, 10, 0.1359), (5, 11, 0.0472), (6, 20, 0.1813), (16, 100, 0.1533), (48, 100, 0.0018)])
def test_levenshteins_bound_elsewhere(d, c, s):
    assert lower_bound(d, c) == pytest.approx(s, abs=6e-5)


@pytest.mark.parametrize(("d", "c", "s"), [(7, 56, 1 / 3), (8, 240, 1 / 2), (23, 552, 1 / 5), (4, 120, (1 + 5**0.5) / 4)])
def test_beyond_its_range_the_bound_is_still_below_the_known_codes(d, c, s):
    assert 0 < lower_bound(d, c) < s


def test_bounds_grow_with_the_number_of_vectors():
    for d in (2, 3, 4, 7):
        bounds = [lower_bound(d, c) for c in range(2, 80)]
        assert bounds == sorted(bounds)


def test_polish_keeps_to_the_sphere_and_never_makes_worse():
    start = polygon(7) @ np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0]])
    start += 0.1 * np.random.default_rng(1).standard_normal(start.shape)
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    end = module.polish(start)
    assert np.allclose(np.linalg.norm(end, axis=1), 1)
    assert largest_cosine(end) <= largest_cosine(start)


def test_a_searched_frame_is_kept_and_read_again(monkeypatch, tmp_path):
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    first, start = spherical_code(3, 8), time.perf_counter()
    assert np.array_equal(spherical_code(3, 8), first)
    assert time.perf_counter() - start < 0.2
    (kept,) = (tmp_path / "data" / "runs" / "codes").iterdir()
    assert kept.suffix == ".npy"
    kept.write_bytes(kept.read_bytes()[:50])  # cut off by a full disk: searched for anew
    assert np.allclose(spherical_code(3, 8), first)
    assert np.array_equal(search(3, 8), first)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: spherical_code(0, 3), "dimension must be a whole number of at least 1"),
        (lambda: spherical_code(3, 1), "classes must be a whole number of at least 2"),
        (lambda: spherical_code(3, 2.5), "classes must be a whole number"),
        (lambda: spherical_code(True, 3), "dimension must be a whole number"),
        (lambda: spherical_code(1, 3), "a line has two directions only"),
        (lambda: simplex(5, 3), "needs 4 dimensions, not 3"),
        (lambda: orthoplex(7, 3), "has 6 vectors, not 7"),
        (lambda: search(3, 7, starts=0), "starts must be at least 1"),
        (lambda: lower_bound(3, 0), "classes must be"),
        (lambda: largest_cosine([[1.0, 0.0]]), "at least two vectors"),
        (lambda: largest_cosine([[1.0, 0.0], [2.0, 0.0]]), "of length 1"),
        (lambda: one_vs_rest([[1.0, 0.0], [math.nan, 0.0]]), "finite"),
    ],
)
def test_what_makes_no_sense_says_why(call, says):
    with pytest.raises(InputError, match=says):
        call()
