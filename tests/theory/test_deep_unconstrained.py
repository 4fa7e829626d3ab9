"""Closed forms of the deep unconstrained features model against the factors themselves, a general minimiser, and identities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from ncbook.errors import InputError
from ncbook.theory import deep_unconstrained as deep


def loss_of(factors, per_class, weight_decay, relu=True):
    """The loss, written out: factors H, W_1 … W_L."""
    z = factors[0]
    for i, weight in enumerate(factors[1:], start=1):
        z = weight @ (np.maximum(z, 0) if relu and i > 1 else z)
    target = np.repeat(np.eye(len(z)), per_class, axis=1)
    return ((z - target) ** 2).sum() / 2 / z.shape[1] + weight_decay / 2 * sum((f**2).sum() for f in factors)


@pytest.mark.parametrize(("classes", "layers", "per_class"), [(3, 4, 1), (10, 4, 1), (10, 4, 5), (4, 2, 3)])
def test_collapse_has_the_loss_that_its_closed_form_says(classes, layers, per_class):
    def at(x):
        # each factor a multiple of the identity, the features repeated: singular value s, times the root of n for the features
        s = (x * per_class**0.5) ** (1 / (layers + 1))
        features = np.repeat(np.eye(classes), per_class, axis=1) * s / per_class**0.5
        return loss_of([features, *[s * np.eye(classes)] * layers], per_class, 0.004)

    best = min(at(x) for x in np.linspace(0.5, 1, 5001))
    closed = deep.squared_loss(classes, classes=classes, layers=layers, weight_decay=0.004, per_class=per_class)
    assert closed == pytest.approx(best, rel=1e-7) and closed <= best + 1e-12


@pytest.mark.parametrize(("vertices", "layers"), [(4, 3), (5, 4), (5, 5), (6, 4)])
def test_the_graph_has_the_loss_that_its_closed_form_says(vertices, layers):
    """A minimiser over the scales of its factors, each built from the incidence matrix; W_1 H by its singular value decomposition."""
    a, k = deep.incidence(vertices), deep.graph_classes(vertices)
    u, s, vt = np.linalg.svd(a, full_matrices=False)

    def factors(log):
        scales = np.exp(log)
        root = scales[0] * np.sqrt(s)
        middle = [scales[i] * np.eye(vertices) for i in range(1, layers - 2)]
        return [root[:, None] * vt, u * root, *middle, scales[-2] * (a.T - 0.5), scales[-1] * np.eye(k)]

    found = minimize(lambda log: loss_of(factors(log), 1, 0.004), np.full(layers, -0.2), tol=1e-12)
    assert found.fun == pytest.approx(
        deep.squared_loss(deep.graph_cost(vertices, layers), classes=k, layers=layers, weight_decay=0.004), rel=1e-6
    )


def test_before_the_last_relu_the_graph_is_the_last_hidden_layer():
    for r in (4, 5, 6, 7):
        a, k = deep.incidence(r), deep.graph_classes(r)
        m = deep.graph_before_relu(r)
        np.testing.assert_allclose((a.T - 0.5) @ a, m)  # A has two ones a column
        assert (np.maximum(m, 0) == np.eye(k)).all()
        values = np.sort(np.linalg.eigvalsh(m))[::-1]
        known = np.sort([*[r - 2] * (r - 1), (r - 1) * (4 - r) / 2, *[0] * (k - r)])[::-1]
        np.testing.assert_allclose(values, known, atol=1e-9)
        np.testing.assert_allclose(np.linalg.svd(a)[1], [math.sqrt(2 * (r - 1)), *[math.sqrt(r - 2)] * (r - 1)])


# losses of the graph over those of collapse at a weight decay of 0.04 / K, computed independently of this module
TABLE = {
    4: (1.056, 0.964, 0.907, 0.840),
    5: (1.044, 0.902, 0.818, 0.724),
    6: (1.036, 0.858, 0.756, 0.645),
    10: (1.021, 0.755, 0.616, 0.478),
}


@pytest.mark.parametrize("vertices", TABLE)
def test_graph_over_collapse_is_as_computed_elsewhere(vertices):
    k = deep.graph_classes(vertices)
    for layers, expected in zip((3, 4, 5, 7), TABLE[vertices], strict=True):
        given = {"classes": k, "layers": layers, "weight_decay": 0.04 / k}
        ratio = deep.squared_loss(deep.graph_cost(vertices, layers), **given) / deep.squared_loss(k, **given)
        assert ratio == pytest.approx(expected, abs=0.0011)


@given(st.integers(2, 30), st.integers(1, 8), st.floats(1e-5, 0.3), st.integers(1, 6))
def test_the_least_squared_loss_is_that_of_a_grid(classes, layers, weight_decay, per_class):
    cost, p = deep.collapse_cost(classes), deep.power(layers)
    x = np.linspace(0, 1, 20001)
    grid = ((1 - x) ** 2 / 2 + weight_decay / p * cost * per_class ** (p / 2) * x**p).min()
    closed = deep.squared_loss(cost, classes=classes, layers=layers, weight_decay=weight_decay, per_class=per_class)
    assert closed <= grid + 1e-12 and closed == pytest.approx(grid, abs=1e-7)


def test_too_much_weight_decay_leaves_nothing():
    given = {"classes": 10, "layers": 4}
    assert deep.squared_loss(10, **given, weight_decay=0.03) == 0.5 and deep.squared_loss(10, **given, weight_decay=0.02) < 0.5


def pairs(classes):
    """Logits of margin 1: opposite pairs, and the class left over in a direction of its own."""
    z = np.zeros((classes, classes))
    for i in range(0, classes - 1, 2):
        z[i : i + 2, i : i + 2] = [[1, -1], [-1, 1]]
    if classes % 2:
        z[:, -1] = -1 / classes
        z[-1, -1] += 1
    return z


@pytest.mark.parametrize("classes", [4, 5, 8, 9])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_costs_without_relu_are_schatten_norms_of_logits_of_margin_one(classes, layers):
    simplex = np.eye(classes) - 1 / classes
    for z, cost in ((simplex, deep.linear_collapse_cost(classes)), (pairs(classes), deep.pairs_cost(classes, layers))):
        others = z + np.where(np.eye(classes), -np.inf, 0)
        assert (np.diag(z) - others.max(0)).min() == pytest.approx(1)
        assert (np.linalg.svd(z)[1].clip(1e-15) ** deep.power(layers)).sum() == pytest.approx(cost, abs=1e-3 * layers)


def test_thresholds_are_those_of_the_theorem():
    for classes in range(3, 40):
        for layers in range(1, 12):
            theorem = (classes >= 4 and layers >= 3) or (classes >= 6 and layers == 2)
            assert deep.pairs_beat_collapse(classes, layers) == theorem


def cross_entropy(z):
    return float(np.mean(np.log(np.exp(z - np.diag(z)).sum(0))))


@pytest.mark.parametrize(("classes", "layers"), [(4, 2), (6, 2), (4, 3), (10, 3)])
def test_cross_entropy_losses_are_those_of_the_logits(classes, layers):
    p, decay = deep.power(layers), 2**-8
    for z, closed in ((np.eye(classes) - 1 / classes, deep.linear_collapse_loss), (pairs(classes), deep.pairs_loss)):
        s = np.linalg.svd(z)[1]
        s = s[s > 1e-9]
        best = min(cross_entropy(m * z) + decay / p * ((m * s) ** p).sum() for m in np.geomspace(0.1, 100, 4001))
        assert closed(classes, layers, weight_decay=decay) == pytest.approx(best, rel=1e-6)


def test_pairs_over_collapse_tends_to_their_costs():
    ratios = [deep.pairs_loss(6, 2, weight_decay=w) / deep.linear_collapse_loss(6, 2, weight_decay=w) for w in (1e-3, 1e-6, 1e-9, 1e-12)]
    limit = deep.pairs_cost(6, 2) / deep.linear_collapse_cost(6)
    gaps = [abs(ratio - limit) for ratio in ratios]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 0.01


@pytest.mark.parametrize(
    "call",
    [
        lambda: deep.power(0),
        lambda: deep.graph_classes(3),
        lambda: deep.graph_cost(5, 2),
        lambda: deep.collapse_cost(1),
        lambda: deep.squared_loss(10, classes=10, layers=4, weight_decay=0.0),
        lambda: deep.pairs_loss(5, 2, weight_decay=0.1),
    ],
)
def test_what_cannot_be(call):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        call()
