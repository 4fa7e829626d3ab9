"""Free features, and networks with fixed classifiers."""

import numpy as np
import pytest
import torch

from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.seeds import child_generator
from ncbook.theory import rotation, simplex, spherical_code
from ncbook.theory.unconstrained import log_loss, minimise
from ncbook.training.together import measured, train_together


def generator(seed=0):
    return child_generator(seed, "test")


# --- free features --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.5, 5.0, 40.0])
def test_log_loss_is_the_logarithm_of_cross_entropy_and_its_gradient_is_right(scale):
    w, h = torch.tensor(np.random.default_rng(0).standard_normal((2, 5, 3)) / 2, requires_grad=True).unbind()
    expected = torch.nn.functional.cross_entropy(scale * h @ w.T, torch.arange(5)).log()
    value, *gradients = log_loss(w.detach().numpy(), h.detach().numpy(), scale)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    for found, known in zip(gradients, torch.autograd.grad(expected, [w, h]), strict=True):
        np.testing.assert_allclose(found, known, rtol=1e-10, atol=1e-10)


def test_log_loss_does_not_vanish_where_the_loss_does():
    value, gradient, _ = log_loss(simplex(3), simplex(3), 1000.0)
    assert value == pytest.approx(np.log(2) - 1500)  # log of 2 exp(-1000 (1 + 1/2))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 100


def test_the_loss_lies_between_its_bounds_by_the_least_margin():
    random = np.random.default_rng(2)
    for scale in (0.3, 3.0, 20.0):
        w, h = random.standard_normal((2, 6, 4))
        logits = scale * h @ w.T
        margin = (np.diag(logits)[:, None] - logits + np.where(np.eye(6), np.inf, 0)).min()
        loss = np.exp(log_loss(w, h, scale)[0])
        assert np.logaddexp(0, -margin) / 6 <= loss <= np.logaddexp(0, np.log(5) - margin)


@pytest.mark.parametrize("seed", [0, 1])
def test_four_free_classes_in_the_plane_become_a_square(seed):
    *_, (scale, loss, w, h) = minimise(2, 4, [1.0, 10.0, 100.0], generator=generator(seed))
    assert scale == 100
    assert np.allclose(np.sort(w @ w.T, axis=1), [-1, 0, 0, 1], atol=1e-3)
    assert np.allclose((w * h).sum(1), 1, atol=1e-4)
    assert loss < 1e-40


def test_scales_that_do_not_rise_are_refused():
    for scales in ([], [1.0, 0.5], [0.0, 1.0]):
        with pytest.raises(InputError, match="positive and rising"):
            list(minimise(2, 4, scales, generator=generator()))


# --- many networks at once ------------------------------------------------------------------------------------------------------------


def networks(frames, **options):
    return FixedClassifiers("mlp:16", (1, 8, 8), torch.tensor(frames), generator=generator(), **options)


def trained(frames, **options):
    data = load("digits", train_size=100, seed=0)
    stack = networks(frames, **options)
    train_together(stack, [data.train], epochs=4, learning_rate=0.1, weight_decay=1e-3, batch_size=50, generators=[generator()])
    return stack, data


def test_networks_of_a_stack_do_not_feel_each_other():
    two = np.stack([spherical_code(5, 10), spherical_code(5, 10)[::-1].copy()])
    stack, data = trained(two)
    alone = networks(two)
    with torch.no_grad():  # the second network by itself, from the same weights
        single = FixedClassifiers("mlp:16", (1, 8, 8), torch.tensor(two[1:]), generator=generator())
        single.backbone[0].weight.copy_(alone.backbone[0].weight[1:])
        single.last.copy_(alone.last[1:])
    train_together(single, [data.train], epochs=4, learning_rate=0.1, weight_decay=1e-3, batch_size=50, generators=[generator()])
    assert torch.allclose(single.last[0], stack.last[1], atol=1e-5)
    assert measured(single, [data.test])["error"][0] == pytest.approx(measured(stack, [data.test])["error"][1], abs=0.005)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_rotated_frame_below_linear_features_is_the_same_network_with_a_rotated_last_layer(normalised):
    m, r = simplex(10), rotation(9, np.random.default_rng(0))
    plain, turned = networks(np.stack([m]), normalised=normalised), networks(np.stack([m @ r]), normalised=normalised)
    data = load("digits", train_size=100, seed=0)
    with torch.no_grad():
        turned.last.copy_(plain.last @ torch.tensor(r, dtype=torch.float32))
    for stack in (plain, turned):
        train_together(stack, [data.train], epochs=2, learning_rate=0.1, weight_decay=1e-3, batch_size=50, generators=[generator()])
    x = next(data.test.batches(50))[0][None]
    assert torch.allclose(plain.eval()(x), turned.eval()(x), atol=1e-3)


@pytest.mark.parametrize("body", ["mlp:16-12", "cnn"])
def test_networks_that_share_a_batch_see_what_they_would_see_alone(body):
    stack = FixedClassifiers(body, (1, 8, 8), torch.tensor(np.stack([spherical_code(5, 10)] * 6)), generator=generator())
    x = torch.rand(3, 7, 1, 8, 8, generator=generator())
    assert torch.allclose(stack(x), stack(x.repeat_interleave(2, 0)), atol=1e-6)


def test_features_keep_their_promises():
    x = torch.rand(2, 7, 1, 8, 8, generator=generator())
    both = np.stack([spherical_code(5, 10)] * 2)
    assert (networks(both, features="relu").features(x) >= 0).all()
    assert torch.allclose(networks(both, normalised=True).features(x).norm(dim=2), torch.ones(2, 7))
    assert networks(both, scale=3.0)(x).shape == (2, 7, 10)
    preset = FixedClassifiers("cnn", (1, 8, 8), torch.tensor(both), generator=generator())
    assert preset(x).shape == (2, 7, 10)


def test_measured_by_hand():
    stack, data = trained(np.stack([spherical_code(5, 10)] * 2))
    x, y = next(data.test.batches(500))
    logits = stack.eval()(torch.stack([x, x]))
    found = measured(stack, [data.test])
    assert found["error"] == pytest.approx((logits.argmax(2) != y).double().mean(1).tolist())
    assert found["loss"] == pytest.approx([torch.nn.functional.cross_entropy(one, y).item() for one in logits], rel=1e-5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: networks(np.stack([spherical_code(5, 10)]), features="tanh"), "unknown features 'tanh'"),
        (lambda: networks(spherical_code(5, 10)), r"shape \(K, C, d\)"),
        (lambda: FixedClassifiers("mlp:a", (1, 8, 8), torch.zeros(1, 10, 5), generator=generator()), "widths of the hidden layers"),
        (lambda: FixedClassifiers("vgg", (1, 8, 8), torch.zeros(1, 10, 5), generator=generator()), "unknown model 'vgg'"),
    ],
)
def test_what_cannot_be_built_says_why(call, says):
    with pytest.raises(InputError, match=says):
        call()
