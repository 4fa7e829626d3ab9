"""The loss on and off the central path against least squares by another solver, against torch's own training loss, and on input without an
answer."""

import math

import numpy as np
import pytest
import torch

from ncbook.errors import InputError
from ncbook.metrics.central_path import central_path
from ncbook.training.loop import squared_loss


def data(samples=40, dimension=6, classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, samples - classes)])
    features = random.normal(size=(samples, dimension)) + 2 * random.normal(size=(classes, dimension))[labels] + 1
    return features, labels, random.normal(size=(classes, dimension)), random.normal(size=classes)


def reference(features, labels, weight, bias, penalty):
    """The definitions, with W_LS from an ordinary least-squares problem whose last rows are the penalty."""
    h, w, targets = features, weight, np.eye(len(weight))[labels]
    if bias is not None:
        h, w = np.hstack([h, np.ones((len(h), 1))]), np.hstack([w, bias[:, None]])
    n, d = h.shape
    rows = np.vstack([h / np.sqrt(n), np.sqrt(penalty) * np.eye(d)])
    least = np.linalg.lstsq(rows, np.vstack([targets / np.sqrt(n), np.zeros((d, len(w)))]), rcond=None)[0].T
    of_class = np.stack([h[labels == y].mean(0) for y in labels])

    def loss(matrix):
        return ((h @ matrix.T - targets) ** 2).sum() / 2 / n + penalty / 2 * (matrix**2).sum()

    return {
        "squared_loss": loss(w),
        "off_path": loss(w) - loss(least),
        "within": (((h - of_class) @ least.T) ** 2).sum() / 2 / n,
        "means": ((of_class @ least.T - targets) ** 2).sum() / 2 / n,
        "of_penalty": penalty / 2 * (least**2).sum(),
    }


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("samples", "dimension", "classes"), [(40, 6, 3), (12, 30, 4), (200, 5, 10)])
def test_parts_are_those_of_another_solver(samples, dimension, classes, with_bias, penalty):
    features, labels, weight, bias = data(samples, dimension, classes)
    bias = bias if with_bias else None
    found = central_path(features, labels, weight, bias, penalty=penalty)
    assert found == pytest.approx(reference(features, labels, weight, bias, penalty), rel=1e-8, abs=1e-10)
    parts = found["off_path"] + found["within"] + found["means"] + found["of_penalty"]
    assert found["squared_loss"] == pytest.approx(parts, rel=1e-10)


@pytest.mark.parametrize("with_bias", [False, True])
def test_on_the_path_a_step_of_training_with_weight_decay_does_not_move_the_classifier(with_bias):
    """torch's loss averages over classes too, so that a weight decay there is C/2 times as large a penalty here."""
    features, labels, *_ = data(dimension=5)
    decay, classes = 0.02, 3
    layer = torch.nn.Linear(5, classes, bias=with_bias).double()
    x, y = torch.tensor(features), torch.tensor(labels)

    def objective():
        return squared_loss(layer(x), y) + decay / 2 * sum(p.square().sum() for p in layer.parameters())

    def off_path() -> float:
        return central_path(x, y, layer.weight, layer.bias, penalty=classes * decay / 2)["off_path"]

    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        objective().backward()
        return objective()

    before = (objective().item(), off_path())
    optimiser.step(closure)
    assert before[1] > 1e-3 and off_path() < 1e-15
    assert before[0] - objective().item() == pytest.approx(2 / classes * before[1], rel=1e-9)  # all that training can take from the loss


def test_features_that_have_collapsed_leave_nothing_within():
    features = np.eye(3).repeat(4, axis=0)
    labels = np.arange(3).repeat(4)
    found = central_path(features, labels, np.eye(3))
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-28)
    off = central_path(features, labels, 2 * np.eye(3))
    assert off["squared_loss"] == off["off_path"] == pytest.approx(0.5)


def test_a_rotation_of_features_and_classifier_changes_nothing():
    features, labels, weight, bias = data()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    turned = central_path(features @ rotation, labels, weight @ rotation, bias, penalty=0.1)
    assert turned == pytest.approx(central_path(features, labels, weight, bias, penalty=0.1), rel=1e-10)


def test_single_precision_and_another_form_give_the_same():
    features, labels, weight, bias = data()
    wanted = central_path(features.astype(np.float32), labels, weight, bias, penalty=0.01)
    assert central_path(torch.tensor(features).float(), labels.tolist(), torch.tensor(weight), torch.tensor(bias), penalty=0.01) == wanted
    assert wanted == pytest.approx(reference(features.astype(np.float32).astype(float), labels, weight, bias, 0.01), rel=1e-9)


H, Y, W, B = data()
SPOILT = H.copy()
SPOILT[5, 2] = math.nan
HOSTILE = {
    "nan": ((SPOILT, Y, W, B), {}, "NaN, infinite or overflowing"),
    "infinite weight": ((H, Y, W * math.inf, B), {}, "weight or bias contains NaN or infinite"),
    "too narrow": ((H, Y, W[:, 1:], B), {}, "need as many columns"),
    "too few rows": ((H, Y, W[:2], B[:2]), {}, "must be in 0..1; found 0..2"),
    "bias of another length": ((H, Y, W, B[:2]), {}, r"bias must have the shape \(3,\)"),
    "labels of another length": ((H, Y[1:], W, B), {}, "40 samples but 39 labels"),
    "no samples": ((H[:0], Y[:0], W, B), {}, "no samples"),
    "negative penalty": ((H, Y, W, B), {"penalty": -1e-9}, "from 0 on, not -1e-09"),
    "no penalty": ((H, Y, W, B), {"penalty": math.nan}, "from 0 on, not nan"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_input_without_an_answer_is_refused(name):
    given, options, message = HOSTILE[name]
    with pytest.raises(InputError, match=message):
        central_path(*given, **options)
