"""Intrinsic dimension on manifolds of a known one, against a slow reference, and what it refuses."""

import numpy as np
import pytest
import torch

from ncbook.errors import InputError
from ncbook.metrics.intrinsic import two_nearest
from ncbook.seeds import child_generator


def uniform(n, d, name):
    return torch.rand(n, d, generator=child_generator(0, name), dtype=torch.float64)


def embedded(points, into):
    basis = torch.linalg.qr(torch.randn(into, points.shape[1], generator=child_generator(1, "basis"), dtype=torch.float64))[0]
    return points @ basis.T


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_flat_cubes_whatever_the_space(dimension):
    cube = uniform(2000, dimension, f"cube {dimension}")
    assert two_nearest(cube) == pytest.approx(dimension, rel=0.08)
    assert two_nearest(embedded(cube, 40)) == pytest.approx(two_nearest(cube), rel=1e-6)


def test_curved_manifolds():
    angle = 2 * torch.pi * uniform(2000, 1, "circle")
    assert two_nearest(torch.cat([angle.cos(), angle.sin()], dim=1)) == pytest.approx(1, rel=0.08)
    ball = torch.randn(2000, 4, generator=child_generator(0, "sphere"), dtype=torch.float64)
    assert two_nearest(ball / ball.norm(dim=1, keepdim=True)) == pytest.approx(3, rel=0.08)
    t, height = 4.5 * (1 + 2 * uniform(2000, 1, "roll")), 20 * uniform(2000, 1, "height")
    assert two_nearest(torch.cat([t * t.cos(), height, t * t.sin()], dim=1)) == pytest.approx(2, rel=0.08)


def test_noise_in_all_directions_counts_them():
    line = torch.cat([uniform(2000, 1, "line"), torch.zeros(2000, 5)], dim=1)
    noise = torch.randn(2000, 6, generator=child_generator(0, "noise"), dtype=torch.float64)
    assert two_nearest(line + 0.1 * noise) > 4 > 2 > two_nearest(line + 1e-6 * noise)


def test_slow_reference_and_repeated_points():
    points = uniform(30, 3, "few").numpy()
    logs = []
    for i, point in enumerate(points):
        far = sorted(float(np.linalg.norm(point - other)) for j, other in enumerate(points) if j != i)
        logs.append(np.log(far[1] / far[0]))
    assert two_nearest(torch.tensor(points)) == pytest.approx(30 / sum(logs), rel=1e-9)
    assert two_nearest(torch.tensor(points).repeat(3, 1)) == pytest.approx(30 / sum(logs), rel=1e-9)


@pytest.mark.parametrize(
    "wrong", [torch.ones(5), torch.ones(9, 2), torch.eye(2), torch.tensor([[0.0], [1.0], [float("nan")]]), torch.eye(4), torch.ones(0, 3)]
)
def test_refused(wrong):
    with pytest.raises(InputError):
        two_nearest(wrong)
