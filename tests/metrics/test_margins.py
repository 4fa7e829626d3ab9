"""Margins and covering numbers: closed forms, slow references, exact inequalities, hostile inputs."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from ncbook.errors import InputError
from ncbook.metrics.margins import (
    loss_bounds,
    margin_bound,
    margin_bounds,
    margin_summary,
    margins,
    normalised_margins,
    pairwise_margins,
    svm_weight,
)
from ncbook.models.networks import mlp
from ncbook.seeds import child_generator
from ncbook.theory.codes import simplex, spherical_code
from ncbook.theory.covering_numbers import (
    cell_diameters,
    class_distances,
    covering_bound,
    covering_number,
    greedy_net,
    least_lipschitz,
    lipschitz_bound,
)
from ncbook.theory.symmetry import permutations


def draw(n=40, d=6, c=4, seed=0, scale=1.0):
    g = child_generator(seed, "margins")
    labels = torch.cat([torch.arange(c), torch.randint(c, (n - c,), generator=g)])
    return torch.randn(n, d, generator=g, dtype=torch.float64) * scale, labels, torch.randn(c, d, generator=g, dtype=torch.float64)


def separable(n=40, d=6, c=4, seed=0):
    """Features that their own weight classifies rightly."""
    h, _, w = draw(n, d, c, seed)
    labels = (h @ w.T).argmax(1)
    assert len(labels.unique()) == c
    return h, labels, w


def test_margins_against_loops():
    h, y, w = draw()
    s = (h @ w.T).numpy()
    slow = [min(s[i, y[i]] - s[i, k] for k in range(4) if k != y[i]) for i in range(len(s))]
    np.testing.assert_allclose(margins(h @ w.T, y), slow, rtol=1e-13)
    table = pairwise_margins(h @ w.T, y)
    for a, b in itertools.permutations(range(4), 2):
        assert float(table[a, b]) == pytest.approx(min(s[i, a] - s[i, b] for i in range(len(s)) if y[i] == a), rel=1e-13)
    assert table.min() == margins(h @ w.T, y).min()
    cosines = []
    for i, row in enumerate(s):
        k = max((k for k in range(4) if k != y[i]), key=lambda k: row[k])
        cosines.append((row[y[i]] - row[k]) / np.linalg.norm(w[y[i]] - w[k]) / np.linalg.norm(h[i]))
    np.testing.assert_allclose(normalised_margins(h, y, w), cosines, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_norms_move_raw_margins_only(seed):
    h, y, w = draw(seed=seed)
    before, after = margin_summary(h, y, w), margin_summary(7 * h, y, 3 * w)
    assert after["p_min"] == pytest.approx(21 * before["p_min"])
    assert after["normalised_min"] == pytest.approx(before["normalised_min"])
    assert after["negative_share"] == before["negative_share"]
    assert (after["weight_norm"], after["feature_norm"]) == pytest.approx((3 * before["weight_norm"], 7 * before["feature_norm"]))
    shifted = margin_summary(h, y, w + torch.randn(w.shape[1], generator=child_generator(seed, "shift"), dtype=torch.float64))
    for name in ("p_min", "normalised_min", "weight_norm", "loss"):  # no decision depends on the mean row
        assert shifted[name] == pytest.approx(before[name])
    assert normalised_margins(h, y, w).abs().max() <= 1


def test_a_bias_is_one_more_dimension():
    h, y, w = draw()
    b = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    assert margin_summary(h, y, w, b)["p_min"] == pytest.approx(float(margins(h @ w.T + b, y).min()))
    assert normalised_margins(h, y, w, b).abs().max() <= 1
    two = torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(2, 3)
    assert normalised_margins(*two, torch.tensor([1.0, 0.0])).tolist() == [1.0, -1.0]  # the bias alone decides
    assert normalised_margins(*two).tolist() == [0.0, 0.0]


def test_collapsed_simplex():
    classes, size = 10, 3.0
    m = torch.tensor(simplex(classes))
    found = margin_summary(size * m, torch.arange(classes), m)
    gap = size * classes / (classes - 1)  # a b (1 - s)
    assert found["p_min"] == pytest.approx(gap)
    assert found["normalised_min"] == pytest.approx(math.sqrt((1 + 1 / (classes - 1)) / 2))
    assert found["loss"] == pytest.approx(math.log1p((classes - 1) * math.exp(-gap)))  # the sandwich's upper end


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("seed", range(20))
def test_loss_and_margin_hold_each_other(scale, seed):
    h, y, w = draw(seed=seed) if seed % 2 else separable(seed=seed)
    found = margin_summary(scale * h, y, w)
    low, high = loss_bounds(found["p_min"], len(h), 4)
    assert low * (1 - 1e-12) <= found["loss"] <= high * (1 + 1e-12)
    if found["loss"] > 1e-300:
        low, high = margin_bounds(found["loss"], len(h), 4)
        assert low - 1e-9 <= found["p_min"] <= high + 1e-9


def test_sandwich_ends_and_inverses():
    for p in (-800.0, -3.0, 0.0, 5.0, 300.0):
        low, high = loss_bounds(p, 50, 10)
        assert margin_bounds(low, 50, 10)[0] == pytest.approx(p, abs=1e-9)
        assert margin_bounds(high, 50, 10)[1] == pytest.approx(p, abs=1e-9)
    assert margin_bounds(math.log(2) / 50 * 0.999, 50, 10)[0] > 0  # no training error
    assert margin_bounds(1e-200, 1, 2)[0] / -math.log(1e-200) == pytest.approx(1)


def test_margin_bound_is_free_of_norms_at_p_min_and_tight_in_its_parts():
    h, y, w = separable()
    assert margin_bound(5 * h, y, 2 * w) == pytest.approx(margin_bound(h, y, w))
    p = margins(h @ w.T, y)
    r, size = h.square().sum(1).mean().sqrt(), w.norm(dim=1).max()
    gamma = float(p.median())
    expected = (p < gamma).double().mean() + 16 * r * size / (gamma * math.sqrt(len(h)))
    assert margin_bound(h, y, w, gamma) == pytest.approx(float(expected))
    with pytest.raises(InputError, match="must be positive"):
        margin_bound(*draw())


@pytest.mark.parametrize(("d", "c"), [(3, 2), (5, 3), (6, 4)])
def test_svm_against_a_general_solver(d, c):
    h, y, _ = separable(n=30, d=d, c=c, seed=1)
    rows = []
    for i in range(len(h)):
        for k in range(c):
            if k != y[i]:
                gap = np.zeros((c, d))
                gap[y[i]], gap[k] = h[i], -h[i]
                rows.append(gap.ravel())
    rows = np.array(rows)
    start = svm_weight(h, y)
    best = minimize(
        lambda v: v @ v / 2,
        start.numpy().ravel() * 1.5,
        jac=lambda v: v,
        constraints={"type": "ineq", "fun": lambda v: rows @ v - 1, "jac": lambda v: rows},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert best.success
    assert float(start.norm()) == pytest.approx(np.linalg.norm(best.x), rel=2e-3)
    cosine = start.numpy().ravel() @ best.x / np.linalg.norm(best.x) / float(start.norm())
    assert cosine > 0.9999
    assert float(margins(h @ start.T, y).min()) == pytest.approx(1)
    assert start.sum(0).abs().max() < 1e-6 * start.abs().max()
    other = separable(n=30, d=d, c=c, seed=1)[2]
    other = other - other.mean(0)
    assert float(margins(h @ other.T, y).min() / other.norm()) <= 1 / float(start.norm()) * (1 + 1e-3)


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_svm_does_not_depend_on_the_unit_of_the_features(unit):
    h, y, _ = separable(n=20, d=4, c=3, seed=2)
    torch.testing.assert_close(unit * svm_weight(unit * h, y), svm_weight(h, y), rtol=1e-6, atol=1e-9)


def test_svm_of_a_simplex_is_the_simplex():
    m = torch.tensor(simplex(10))
    w = svm_weight(m.repeat(3, 1) * 4, torch.arange(10).repeat(3))
    assert float((w * m).sum() / w.norm() / m.norm()) == pytest.approx(1, abs=1e-5)


def test_greedy_nets_hold_the_least_cover():
    """On a line the least number of cells of a diameter is known: take intervals from the left."""
    for seed in range(30):
        x = torch.rand(25, generator=child_generator(seed, "line")).double().sort().values
        shuffled = x[torch.randperm(25, generator=child_generator(seed, "order"))][:, None]
        for diameter in (0.0, 0.03, 0.1, 0.4, 2.0):
            cells, end = 0, -1.0
            for value in x.tolist():
                if value > end:
                    cells, end = cells + 1, value + diameter
            low, high = covering_number(shuffled, diameter)
            assert low <= cells <= high
    assert greedy_net(torch.zeros(4, 4), 0.0) == 1


def test_bound_at_exact_collapse_is_blind_to_permutations_but_the_steepness_is_not():
    h, y, _ = draw(n=60, d=8, c=10)
    for dimension in (5, 2):
        code = spherical_code(dimension, 10)
        bounds, steep = set(), set()
        for order in permutations(code, 12, np.random.default_rng(0)):
            m = torch.tensor(code[order])
            eps = cell_diameters(pairwise_margins(m @ m.T, torch.arange(10)), m, lipschitz=0.2)
            nearest = (m @ m.T - 2 * torch.eye(10)).max()
            np.testing.assert_allclose(eps.amin(1), 5 * math.sqrt((1 - nearest) / 2), rtol=1e-9)
            bounds.add(covering_bound(h, y, eps, 60))
            steep.add(round(least_lipschitz(h, y, m), 6))
        assert len(bounds) == 1
        assert len(steep) > 1


def test_no_network_has_larger_cells_than_the_distance_of_its_classes():
    for seed in range(10):
        g = child_generator(seed, "images")
        x = torch.randn(30, 5, generator=g)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = mlp((1, 1, 5), 3, depth=2, width=16, bias=False)
        with torch.no_grad():
            network, x = network.double(), x.double()  # distances in single precision round
            h = network.features(x.view(30, 1, 1, 5))
            w = network.classifier.weight
            y = (h @ w.T).argmax(1)
            y, w = torch.unique(y, return_inverse=True)[1], w[y.unique()]
        if len(w) < 2:
            continue
        bound = lipschitz_bound(network.blocks)
        assert (torch.cdist(h, h) <= bound * torch.cdist(x, x) * (1 + 1e-5) + 1e-6).all()
        eps = cell_diameters(pairwise_margins(h @ w.T, y), w, bound)
        apart = class_distances(x, y)
        off = ~torch.eye(len(w), dtype=torch.bool)
        assert ((eps + eps.T)[off] <= apart[off] * (1 + 1e-6)).all()


def test_lipschitz_constants():
    assert math.isnan(lipschitz_bound(mlp((1, 2, 2), 3, batch_norm=True).blocks))
    assert math.isnan(lipschitz_bound(mlp((1, 2, 2), 3, activation="gelu").blocks))
    points, labels = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), torch.tensor([0, 1, 0])
    assert least_lipschitz(points, labels, torch.tensor([[1.0], [-1.0]])) == pytest.approx(2 / math.sqrt(18))


H, Y, W = torch.eye(3), torch.arange(3), torch.eye(3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: margins(torch.zeros(3), Y), "shape"),
        (lambda: margins(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)), "two or more classes"),
        (lambda: margins(torch.full((3, 3), torch.nan), Y), "NaN"),
        (lambda: margins(torch.zeros(3, 3), torch.tensor([0, 1, 3])), "0..2"),
        (lambda: margins(torch.zeros(3, 3), torch.tensor([0.0, 1.0, 2.0])), "integers"),
        (lambda: margins(torch.zeros(2, 3), Y), "2 samples but 3"),
        (lambda: pairwise_margins(H, torch.tensor([0, 0, 1])), "each class"),
        (lambda: normalised_margins(H, Y, torch.eye(4)), "do not fit"),
        (lambda: normalised_margins(H, Y, W, torch.zeros(2)), "bias"),
        (lambda: margin_summary(H * torch.inf, Y, W), "NaN or infinite"),
        (lambda: loss_bounds(math.nan, 3, 3), "not a number"),
        (lambda: loss_bounds(1.0, 0, 3), "at least"),
        (lambda: margin_bounds(0.0, 3, 3), "above 0"),
        (lambda: margin_bounds(1.0, 3, 1), "at least"),
        (lambda: margin_bound(H, Y, W, -1.0), "positive"),
        (lambda: svm_weight(torch.ones(4, 2), torch.tensor([0, 1, 0, 1])), "separate"),
        (lambda: svm_weight(H, torch.tensor([0, 0, 2])), "two or more classes"),
        (lambda: covering_number(torch.zeros(0, 2), 1.0), "at least 1"),
        (lambda: covering_number(H, -1.0), "0 or more"),
        (lambda: cell_diameters(torch.ones(3, 3), torch.eye(2)), "do not fit"),
        (lambda: cell_diameters(-torch.ones(3, 3), W), "negative margin"),
        (lambda: cell_diameters(torch.ones(3, 3), W, 0.0), "above 0"),
        (lambda: covering_bound(H, torch.tensor([0, 0, 1]), torch.ones(3, 3), 3), "each class"),
        (lambda: covering_bound(H, Y, torch.ones(3, 3), 0), "training sample"),
        (lambda: least_lipschitz(H, Y, torch.eye(2)), "each of the 3"),
        (lambda: least_lipschitz(torch.zeros(3, 3), Y, W), "share a point"),
    ],
)
def test_hostile_inputs(call, words):
    with pytest.raises(InputError, match=words) as error:
        call()
    assert len(str(error.value)) < 250
