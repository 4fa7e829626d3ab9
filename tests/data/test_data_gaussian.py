"""The generated set: its geometry, its nested draws, and its Bayes error against the Bayes rule itself."""

import math

import pytest
import torch
from scipy.integrate import dblquad
from scipy.stats import norm

from ncbook.data.datasets import load
from ncbook.data.gaussian import bayes_error, simplex
from ncbook.errors import InputError


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
def test_means_are_centred_and_equidistant(classes):
    means = simplex(classes, 3.0, classes + 5)
    distances = torch.cdist(means, means)[~torch.eye(classes, dtype=torch.bool)]
    assert torch.allclose(distances, torch.full_like(distances, 3.0), rtol=1e-6)
    assert means.sum(0).abs().max() < 1e-12


@pytest.mark.parametrize("separation", [0.5, 2.0, 6.0, 12.0])
def test_two_classes_have_the_closed_form(separation):
    assert bayes_error(2, separation) == pytest.approx(norm.sf(separation / 2), rel=1e-10)


def test_three_classes_against_a_two_dimensional_integral():
    # right iff both u = (z_2 - z_1)/sqrt 2 and v = (z_3 - z_1)/sqrt 2, correlated by 1/2, stay below separation/2
    s, r = 2.5, 0.5
    density = lambda v, u: math.exp(-(u * u - 2 * r * u * v + v * v) / (2 * (1 - r * r))) / (2 * math.pi * math.sqrt(1 - r * r))
    right, _ = dblquad(density, -9, s / 2, -9, s / 2, epsabs=1e-10)
    assert bayes_error(3, s) == pytest.approx(1 - right, abs=1e-8)


@pytest.mark.parametrize("name", ["gaussian", "gaussian:classes=3,dim=2,separation=1.5", "gaussian:classes=20,dim=19,separation=3"])
def test_the_bayes_rule_makes_that_error_on_the_drawn_test_set(name):
    data = load(name, train_size=60, test_size=120_000)
    error, n = data.bayes_error, 120_000
    classes, dim = data.num_classes, data.image_shape[2]
    separation = {"gaussian": 4.0}.get(name) or float(name.rpartition("=")[2])
    x = data.test.images.reshape(n, dim).double()
    nearest = torch.cdist(x, simplex(classes, separation, dim)).argmin(1)
    found = (nearest != data.test.labels).double().mean().item()
    assert abs(found - error) < 4 * math.sqrt(error * (1 - error) / n)


def test_draws_are_nested_fresh_by_seed_and_shaped_as_images():
    small, large = (load("gaussian", train_size=n, test_size=50, seed=2) for n in (100, 3000))
    assert small.image_shape == (1, 1, 64) and small.train.images.dtype == torch.float32
    assert torch.equal(small.train.images, large.train.images[:100]) and torch.equal(small.train.labels, large.train.labels[:100])
    assert torch.equal(small.test.images, large.test.images)
    assert not torch.equal(small.train.images, load("gaussian", train_size=100, seed=3).train.images)
    seen = {image.numpy().tobytes() for image in large.train.images}
    assert not any(image.numpy().tobytes() in seen for image in large.test.images)
    assert small.train.labels.bincount().tolist() == [10] * 10
    x = torch.cat([x for x, _ in large.train.batches(512)])
    assert abs(x.mean()) < 1e-5 and abs(x.std() - 1) < 1e-3
    assert torch.equal(small.train.images, large.train.images[:100])  # normalising changed nothing in place


def test_bayes_error_refuses_nonsense():
    for classes, separation in ((1, 2.0), (3, -1.0), (3, float("nan"))):
        with pytest.raises(InputError):
            bayes_error(classes, separation)
