"""The unconstrained features model against its closed forms, and against a minimiser and a descent written anew."""

import numpy as np
import pytest
import torch

from ncbook.errors import InputError
from ncbook.metrics.collapse import variance_ratio
from ncbook.seeds import child_generator
from ncbook.theory.free_features import (
    descent,
    frame_distances,
    leftover_ratio,
    minimum,
    peeled_minimum,
    shrunk_singular_value,
)

SIZE = {"classes": 6, "per_class": 5, "dimension": 12}


def generator(seed=0):
    return child_generator(seed, "start")


def least(loss, bias, penalty, seed=0, **size):
    return minimum(loss=loss, bias=bias, penalty=penalty, generator=generator(seed), **SIZE | size)


@pytest.mark.parametrize("penalty", [1e-3, 1e-2, 0.05])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_squared_loss_shrinks_singular_values_and_a_bias_takes_one_away(penalty, bias, seed):
    end = least("squared", bias, penalty, seed)
    values = np.linalg.svd(end.weight @ end.features, compute_uv=False)
    law = shrunk_singular_value(5, 6, penalty)
    assert values[:5] == pytest.approx(law, abs=1e-5)
    assert values[5] == pytest.approx(0.0 if bias else law, abs=1e-5)
    assert frame_distances(end.weight)["to_simplex" if bias else "to_orthogonal"] < 1e-4
    assert float(variance_ratio(end.features.T.copy(), end.labels)) < 1e-8
    if bias:
        assert end.bias == pytest.approx(1 / 6, abs=1e-5)


def test_a_large_penalty_leaves_nothing():
    assert shrunk_singular_value(5, 6, 0.08) == 0
    assert abs(least("squared", False, 0.08).weight).max() < 1e-3


@pytest.mark.parametrize("bias", [False, True])
def test_cross_entropy_gives_a_simplex_either_way(bias):
    end = least("cross_entropy", bias, 1e-2)
    assert frame_distances(end.weight)["to_simplex"] < 1e-5
    assert np.linalg.svd(end.weight @ end.features, compute_uv=False)[:5] == pytest.approx(8.2330, abs=1e-3)  # another minimiser's


@pytest.mark.parametrize(("loss", "bias"), [("squared", True), ("cross_entropy", False)])
def test_a_minimum_is_one_to_torch_as_well(loss, bias):
    """The gradient by automatic differentiation vanishes there, and does not at another point."""
    end = least(loss, bias, 1e-2)
    labels = torch.from_numpy(end.labels)

    def slope(scale: float) -> float:
        w, h, b = (torch.tensor(part * scale, requires_grad=True) for part in (end.weight, end.features, end.bias))
        scores = (w @ h + b[:, None]).T
        if loss == "squared":
            value = ((scores - torch.nn.functional.one_hot(labels)) ** 2).sum() / 2 / len(labels)
        else:
            value = torch.nn.functional.cross_entropy(scores, labels)
        assert scale != 1 or float(value.detach()) == pytest.approx(end.loss, rel=1e-12)
        (value + 0.01 / 2 * (w.square().sum() + h.square().sum())).backward()
        return max(float(t.grad.abs().max()) for t in (w, h))

    assert slope(1.0) < 1e-6 < 1e-3 < slope(1.1)


@pytest.mark.parametrize("start", [1e-3, 1e-2])
def test_descent_from_a_small_start_ends_as_the_theorem_says(start):
    """W W' = sqrt(n) (I - 1 1'/C), features proportional to the classifier, b = 1/C; and V as derived."""
    *_, (_, end) = descent(classes=10, per_class=20, dimension=20, start=start, step=0.006, measure_at=[4000], generator=generator())
    frame = 20**0.5 * (np.eye(10) - 0.1)
    assert np.linalg.norm(end.weight @ end.weight.T - frame) < 0.5 * start * np.linalg.norm(frame)
    means = end.features.reshape(20, 10, 20).mean(2)
    assert np.linalg.norm(means - end.weight.T / 20**0.5) < 3 * start * np.linalg.norm(means)
    assert abs(end.bias - 0.1).max() < start
    v = float(variance_ratio(end.features.T.copy(), end.labels))
    assert v == pytest.approx(leftover_ratio(start, classes=10, per_class=20, dimension=20), rel=0.2)


def test_descent_does_not_move_the_balance_but_by_its_steps():
    def drift(step, steps):
        states = list(descent(**SIZE, start=0.1, step=step, measure_at=[0, steps], generator=generator()))
        first, last = (s.weight.T @ s.weight - s.features @ s.features.T for _, s in states)
        return np.linalg.norm(last - first)

    assert drift(0.01, 200) < 0.05
    assert drift(0.001, 2000) == pytest.approx(drift(0.01, 200) / 10, rel=0.3)


def test_a_step_that_is_too_long_says_so():
    with pytest.raises(FloatingPointError, match="smaller step than 0.5"), np.errstate(all="ignore"):
        list(descent(**SIZE, start=0.1, step=0.5, measure_at=[2000], generator=generator()))


@pytest.mark.parametrize(
    ("ratio", "penalty", "few", "many"), [(1, 5e-3, -1 / 9, -1 / 9), (100, 1e-2, 0.0353, -0.1526), (1000, 5e-3, 1.0, -0.1897)]
)
def test_minority_rows_come_together_with_the_ratio(ratio, penalty, few, many):
    """The numbers of a prototype written apart from this code."""
    end = peeled_minimum(ratio=ratio, penalty=penalty, classes=10, dimension=10, generator=generator())
    units = end.weight / np.linalg.norm(end.weight, axis=1, keepdims=True)
    cosines, off = units @ units.T, ~np.eye(5, dtype=bool)
    assert cosines[5:, 5:][off].mean() == pytest.approx(few, abs=2e-4)
    assert cosines[:5, :5][off].mean() == pytest.approx(many, abs=2e-4)


def test_wrong_sizes_and_names_are_refused():
    with pytest.raises(InputError, match="as many dimensions as classes"):
        least("squared", True, 0.01, dimension=5)
    with pytest.raises(InputError, match="unknown loss 'hinge'"):
        least("hinge", True, 0.01)
