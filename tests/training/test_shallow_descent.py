"""Descent of two-layer networks: against autograd, and the linearised one against its closed form."""

from functools import partial

import pytest
import torch

from ncbook.errors import InputError
from ncbook.seeds import child_generator
from ncbook.training.shallow_descent import EVERY, LABELS, descend, first_networks, gaussian_inputs, kernels, labels_for

COUNT, SAMPLES, DIMENSION, WIDTH = 3, 12, 6, 9


@pytest.fixture
def drawn():
    networks = first_networks(COUNT, WIDTH, DIMENSION, child_generator(0, "weights"))
    inputs = gaussian_inputs(COUNT, SAMPLES, DIMENSION, child_generator(0, "inputs"))
    return networks, inputs, labels_for("random", networks, inputs, child_generator(0, "labels"))


def output(weight, head, x):
    return torch.relu(x @ weight.T) @ head / len(head) ** 0.5


def test_kernels_are_those_of_autograd(drawn):
    networks, inputs, _ = drawn
    for b in range(COUNT):
        slopes = torch.autograd.functional.jacobian(partial(output, x=inputs[b]), (networks.weight[b], networks.head[b]))
        for kernel, slope in zip(kernels(networks, inputs), slopes, strict=True):
            rows = slope.flatten(1)
            torch.testing.assert_close(kernel[b], rows @ rows.T)


@pytest.mark.parametrize(("first_rate", "second_rate"), [(0.3, 0.0), (0.3, 0.1), (0.0, 0.4)])
def test_descent_is_that_of_autograd(drawn, first_rate, second_rate):
    networks, inputs, labels = drawn
    end = descend(networks, inputs, labels, first_rate=first_rate, second_rate=second_rate, steps=37, until=0.0)
    first, second = kernels(networks, inputs)
    for b in range(COUNT):
        weight, head = networks.weight[b].clone().requires_grad_(), networks.head[b].clone().requires_grad_()
        rates = [share * 2 / torch.linalg.eigvalsh(kernel[b])[-1] for share, kernel in ((first_rate, first), (second_rate, second))]
        for _ in range(37):
            loss = 0.5 * (output(weight, head, inputs[b]) - labels[b]).square().sum()
            slopes = torch.autograd.grad(loss, (weight, head))
            with torch.no_grad():
                for parameter, rate, slope in zip((weight, head), rates, slopes, strict=True):
                    parameter -= rate * slope
        torch.testing.assert_close(end.networks.weight[b], weight.detach())
        torch.testing.assert_close(end.networks.head[b], head.detach())
        loss = 0.5 * (output(weight, head, inputs[b]) - labels[b]).square().mean()
        assert end.loss[b].item() == pytest.approx(loss.item()) and end.steps[b] == 37


def test_linearised_descent_is_a_power_of_its_kernel(drawn):
    networks, inputs, labels = drawn
    end = descend(networks, inputs, labels, first_rate=0.3, second_rate=0.0, steps=50, until=0.0, linearised=True)
    kernel = kernels(networks, inputs)[0]
    for b in range(COUNT):
        values, vectors = torch.linalg.eigh(kernel[b])
        away = vectors.T @ (networks.outputs(inputs)[b] - labels[b])
        expected = vectors @ ((1 - 0.3 * 2 / values[-1] * values) ** 50 * away)
        assert end.loss[b].item() == pytest.approx(0.5 * expected.square().mean().item())
        held = end.networks.outputs(inputs, networks.gates(inputs))[b]
        torch.testing.assert_close(held - labels[b], expected)


def test_networks_end_one_by_one_where_each_fits(drawn):
    _, inputs, labels = drawn
    networks = first_networks(COUNT, 30, DIMENSION, child_generator(0, "weights"))
    together = descend(networks, inputs, labels, first_rate=0.3, second_rate=0.1, steps=3000, until=0.02)
    assert (together.loss < 0.02).all() and len(set(together.steps.tolist())) > 1 and (together.steps % EVERY == 0).all()
    for b in range(COUNT):
        one = [type(networks)(networks.weight[b : b + 1], networks.head[b : b + 1]), inputs[b : b + 1], labels[b : b + 1]]
        alone = descend(*one, first_rate=0.3, second_rate=0.1, steps=3000, until=0.02)
        assert alone.steps[0] == together.steps[b] and alone.loss[0].item() == pytest.approx(together.loss[b].item())
        torch.testing.assert_close(alone.networks.weight[0], together.networks.weight[b])
    before = descend(networks, inputs, labels, first_rate=0.3, second_rate=0.1, steps=int(together.steps[0]) - EVERY, until=0.02)
    assert before.loss[0] >= 0.02


def test_a_network_that_diverges_ends(drawn):
    networks, inputs, labels = drawn
    end = descend(networks, inputs, labels, first_rate=40.0, second_rate=40.0, steps=3000, until=1e-3)
    assert (end.steps < 3000).all() and not torch.isfinite(end.loss).any()


def test_labels(drawn):
    networks, inputs, random = drawn
    for name in LABELS:
        labels = labels_for(name, networks, inputs, child_generator(0, "labels"))
        assert labels.shape == (COUNT, SAMPLES) and torch.allclose(labels.square().mean(1), torch.ones(COUNT).double())
    assert random.unique().tolist() == [-1, 1]
    worst = labels_for("worst", networks, inputs, child_generator(0, "labels"))
    vectors = torch.linalg.eigh(kernels(networks, inputs)[0]).eigenvectors
    along = (vectors.mT @ worst[:, :, None])[:, :, 0]
    assert along[:, SAMPLES // 10 :].abs().max() < 1e-9 and (worst * random).sum(1).min() > 0
    taught, shuffled = (labels_for(name, networks, inputs, child_generator(0, "labels")) for name in ("teacher", "shuffled"))
    assert (taught.sum(1) == shuffled.sum(1)).all() and (taught != shuffled).any() and (taught.sum(1).abs() <= 1).all()


def test_mistakes_are_named(drawn):
    networks, inputs, labels = drawn
    with pytest.raises(InputError, match="labels"):
        labels_for("hardest", networks, inputs, child_generator(0, "labels"))
    with pytest.raises(InputError, match="second_rate"):
        descend(networks, inputs, labels, first_rate=0.3, second_rate=0.1, steps=1, until=0.0, linearised=True)
    with pytest.raises(InputError, match="0 units"):
        first_networks(1, 0, 3, child_generator(0, "weights"))
