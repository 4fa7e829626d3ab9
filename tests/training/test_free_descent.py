"""Descent on free features against autograd, step by step, and against what is known in closed form."""

import numpy as np
import pytest
import torch

from ncbook.errors import InputError
from ncbook.seeds import child_generator
from ncbook.theory.deep_unconstrained import collapse_cost, squared_loss
from ncbook.training.free_descent import descend, first_factors, outputs

OPTIONS = {"weight_decay": 0.01, "learning_rate": 0.3, "momentum": 0.8}


def start(classes=3, layers=3, width=5, per_class=2, starts=2, seed=0):
    scales = torch.linspace(0.6, 1.0, starts)
    return first_factors(classes, layers, width, per_class=per_class, scales=scales, generator=child_generator(seed, "factors"))


def by_autograd(factors, *, per_class, steps, weight_decay, learning_rate, momentum, relu, loss):
    """One start, by autograd and torch's own losses."""
    factors = [f.clone().requires_grad_() for f in factors]
    speed = [torch.zeros_like(f) for f in factors]
    classes = factors[-1].shape[0]
    labels = torch.arange(classes).repeat_interleave(per_class)
    for step in range(steps + 1):
        z = factors[0]
        for i, weight in enumerate(factors[1:], start=1):
            z = weight @ (z.relu() if relu and i > 1 else z)
        if loss == "squared":
            fit = 0.5 * (z.T - torch.nn.functional.one_hot(labels, classes)).square().sum(1).mean()
        else:
            fit = torch.nn.functional.cross_entropy(z.T, labels)
        value = fit + weight_decay / 2 * sum(f.square().sum() for f in factors)
        if step == steps:
            return [f.detach() for f in factors], value.item()
        rate = learning_rate * min(1, 4 * (1 - step / steps))
        for f, v, g in zip(factors, speed, torch.autograd.grad(value, factors), strict=True):
            v.mul_(momentum).sub_(rate * g)
            f.data += v
    raise AssertionError


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_steps_are_those_of_autograd(layers, relu, loss):
    first = start(layers=layers)
    ((step, after, value),) = descend(first, per_class=2, steps=12, measure_at=[12], relu=relu, loss=loss, **OPTIONS)
    assert step == 12
    for i in range(2):
        expected, of = by_autograd([f[i] for f in first], per_class=2, steps=12, relu=relu, loss=loss, **OPTIONS)
        assert value[i].item() == pytest.approx(of, rel=1e-10)
        for found, known in zip(after, expected, strict=True):
            torch.testing.assert_close(found[i], known, rtol=1e-9, atol=1e-11)


def test_starts_do_not_see_one_another_and_the_first_factors_stay():
    first = start(starts=3)
    kept = [f.clone() for f in first]
    options = {"per_class": 2, "steps": 30, "measure_at": [30], **OPTIONS}
    ((_, together, _),) = descend(first, **options)
    ((_, alone, _),) = descend([f[1:2] for f in first], **options)
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=1e-12, atol=1e-13)


def test_what_was_measured_stays_as_it_was():
    options = {"per_class": 2, "steps": 8, "measure_at": [0, 3, 8], **OPTIONS}
    at_once = [(value.clone(), [f.clone() for f in factors]) for _, factors, value in descend(start(), **options)]
    for (value, factors), (_, later, value_later) in zip(at_once, list(descend(start(), **options)), strict=True):
        assert torch.equal(value, value_later) and all(torch.equal(a, b) for a, b in zip(factors, later, strict=True))


def test_without_relu_descent_ends_at_the_loss_of_collapse():
    first = start(classes=4, layers=3, width=8, per_class=3, starts=3)
    ((_, factors, value),) = descend(
        first, per_class=3, weight_decay=0.01, steps=4000, learning_rate=0.2, momentum=0.9, measure_at=[4000], relu=False
    )
    expected = squared_loss(collapse_cost(4), classes=4, layers=3, weight_decay=0.01, per_class=3)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    s = torch.linalg.svdvals(outputs(factors, relu=False)[-1])
    assert (s[:, :4] / s[:, :1]).min() > 0.999


def test_what_cannot_be():
    with pytest.raises(InputError):
        start(layers=0)
    with pytest.raises(InputError):
        next(descend(start(), per_class=4, steps=1, measure_at=[1], **OPTIONS))
    with pytest.raises(InputError):
        next(descend(start(), per_class=2, steps=1, measure_at=[1], loss="hinge", **OPTIONS))
    with pytest.raises(FloatingPointError, match="smaller learning rate"), np.errstate(all="ignore"):
        list(descend(start(), per_class=2, steps=60, measure_at=[60], **OPTIONS | {"learning_rate": 1e4}))
