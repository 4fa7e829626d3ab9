"""A decay of features: what it adds to gradients, and what it leaves alone."""

import pytest
import torch

from ncbook.errors import InputError
from ncbook.models.feature_decay import FeatureDecay
from ncbook.models.networks import mlp


def gradients(net, x, penalty=None):
    net.zero_grad()
    features = net.features(x)
    loss = net.classifier(features).square().mean()
    if penalty is not None:
        loss = loss + penalty / 2 * features.square().sum(1).mean()
    loss.backward()
    return [p.grad.clone() for p in net.parameters()]


def test_it_is_the_gradient_of_a_penalty_in_the_loss():
    torch.manual_seed(0)
    net, x = mlp((1, 2, 2), 3, depth=2, width=5).double(), torch.randn(7, 1, 2, 2, dtype=torch.float64)
    plain, wanted = gradients(net, x), gradients(net, x, 0.3)
    scores = net(x)
    net.blocks["decay"] = FeatureDecay(0.3)
    found = gradients(net, x)
    assert torch.equal(net(x), scores)
    assert all(torch.allclose(a, b, rtol=1e-12, atol=0) for a, b in zip(found, wanted, strict=True))
    assert not torch.allclose(found[0], plain[0])


@pytest.mark.parametrize("decay", [-0.1, float("nan"), float("inf")])
def test_a_decay_is_finite_and_not_negative(decay):
    with pytest.raises(InputError, match="from 0 on"):
        FeatureDecay(decay)
