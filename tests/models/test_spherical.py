"""Networks on the sphere: lengths, gradients along it, and what the classifier's weight is."""

import copy

import pytest
import torch
from torch import nn

from ncbook.errors import InputError
from ncbook.models.spherical import spherical
from ncbook.seeds import child_generator

SHAPE = (1, 16, 16)


def net(backbone="mlp", *, scale=7.0, dimension=5, seed=0):
    return spherical(backbone, SHAPE, 20, dimension=dimension, scale=scale, generator=child_generator(seed, "test"))


@pytest.mark.parametrize("backbone", ["mlp", "cnn"])
def test_logits_are_cosines_times_the_scale(backbone):
    network, x = net(backbone).eval(), torch.randn(6, *SHAPE)
    h, rows = network.features(x), nn.functional.normalize(network.classifier.parametrizations.weight.original, dim=1)
    assert torch.allclose(h.norm(dim=1), torch.ones(6))
    assert torch.allclose(network(x), 7 * h @ rows.T, atol=1e-5)
    assert torch.allclose(network.classifier.weight.norm(dim=1), torch.full((20,), 7.0))
    assert network.layers[-1] == "embedding" and network.classifier.bias is None


def test_gradients_run_along_the_sphere():
    network = net()
    nn.functional.cross_entropy(network(torch.randn(40, *SHAPE)), torch.arange(20).repeat(2)).backward()
    rows = network.classifier.parametrizations.weight.original
    assert (rows * rows.grad).sum(1).abs().max() < 1e-6 < rows.grad.norm()


def test_the_length_of_what_is_normalised_says_nothing():
    network, x = net().eval(), torch.randn(4, *SHAPE)
    before = network(x)
    with torch.no_grad():
        network.classifier.parametrizations.weight.original.mul_(3)
        network.blocks["embedding"].map.weight.mul_(5)
    assert torch.allclose(network(x), before, atol=1e-5)


def test_first_weights_are_the_seeds_own_and_the_scale_changes_none():
    a, b, hot, other = net(), net(), net(scale=1.0), net(seed=1)
    states = [n.state_dict() for n in (a, b, hot, other)]
    assert all(torch.equal(states[0][k], states[1][k]) and torch.equal(states[0][k], states[2][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], states[3][k]) for k in states[0])
    copied = copy.deepcopy(a)
    copied.load_state_dict(states[3])
    assert torch.equal(copied.classifier.weight, other.classifier.weight)


@pytest.mark.parametrize(
    ("given", "message"), [({"dimension": 1}, "at least 2"), ({"scale": 0.0}, "scale above 0"), ({"backbone": "mpl"}, "mlp")]
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        net(**given)
