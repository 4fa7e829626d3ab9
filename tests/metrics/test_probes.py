"""The probes: against scikit-learn, closed forms and invariances, and what they refuse."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from ncbook.errors import InputError
from ncbook.metrics.probes import fit_logistic, probe_accuracies

PROBES = ["logistic", "standardised", "whitened", "neighbours", "centre"]


def sample(seed=0, n=200, d=6, classes=4, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(classes, d, generator=generator)
    labels = torch.arange(2 * n) % classes
    features = means[labels] + spread * torch.randn(2 * n, d, generator=generator)
    return features[:n], labels[:n], features[n:], labels[n:]


def test_neighbours_and_centre_are_scikit_learns():
    train, y, test, z = sample()
    found = probe_accuracies(train, y, test, z, neighbours=7)
    assert found["centre"] == NearestCentroid().fit(train, y).score(test, z)
    single = probe_accuracies(train, y, test, z, neighbours=1)["neighbours"]
    assert single == KNeighborsClassifier(1).fit(train, y).score(test, z)
    # with several neighbours scikit-learn gives ties to the smaller label: compare where the first place is not shared
    shares = KNeighborsClassifier(7).fit(train, y).predict_proba(test)
    clear = (shares == shares.max(1, keepdims=True)).sum(1) == 1
    assert clear.mean() > 0.9
    kept = torch.from_numpy(clear)
    assert probe_accuracies(train, y, test[kept], z[kept], neighbours=7)["neighbours"] == KNeighborsClassifier(7).fit(train, y).score(
        test[kept], z[kept]
    )


def test_a_tie_goes_to_the_nearest():
    train, labels = torch.tensor([[0.0], [1.0], [3.0], [10.0]]), torch.tensor([1, 0, 2, 2])
    assert probe_accuracies(train, labels, torch.tensor([[0.4], [0.6]]), torch.tensor([1, 0]), neighbours=2)["neighbours"] == 1


def test_many_steps_reach_scikit_learns_optimum():
    train, y, _, _ = sample(spread=4.0)  # not separable, so that an optimum without penalty exists
    train = train - train.mean(0)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(train.double(), y)
    weight, bias = fit_logistic(train, y, 4, steps=5000)
    logits = (train @ weight.T + bias).log_softmax(1)
    assert torch.allclose(logits, torch.from_numpy(reference.predict_log_proba(train.double())).float(), atol=2e-3)


def test_steps_are_plain_accelerated_gradient_descent():
    """The same updates through autograd, in float64."""
    train, y, _, _ = sample(n=60)
    train = (train - train.mean(0)).double()
    largest = torch.linalg.svdvals(train)[0] / len(train) ** 0.5
    here = ahead = torch.zeros(4, 7, dtype=torch.float64)
    for k in range(20):
        at = ahead.clone().requires_grad_()
        torch.nn.functional.cross_entropy(train / largest @ at[:, :-1].T + at[:, -1], y).backward()
        before, here = here, ahead - 2 * at.grad
        ahead = here + k / (k + 3) * (here - before)
    weight, bias = fit_logistic(train, y, 4, steps=20)
    assert torch.allclose(weight.double(), here[:, :-1] / largest, atol=1e-4)
    assert torch.allclose(bias.double(), here[:, -1], atol=1e-4)


def test_a_fixed_budget_reads_what_is_large_and_only_whitening_what_is_small():
    """Four classes: two on a large direction, two within each on a direction a thousand times smaller."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    large, small = labels // 2, labels % 2
    noise = torch.randn(400, 2, generator=generator)
    features = torch.stack([2.0 * large, 1e-3 * small], 1) + noise * torch.tensor([0.3, 1e-4])
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])  # so that no coordinate is the small direction by itself
    train, test = (features @ turn).split(200)
    found = probe_accuracies(train, labels[:200], test, labels[200:])
    assert found["whitened"] > 0.95
    assert max(found["logistic"], found["standardised"]) < 0.65


@pytest.mark.parametrize(("scale", "shift"), [(1e-4, 0.0), (1e3, 5.0)])
def test_scale_and_shift_change_nothing(scale, shift):
    train, y, test, z = sample()
    before = probe_accuracies(train.double(), y, test.double(), z)
    assert probe_accuracies(train.double() * scale + shift, y, test.double() * scale + shift, z) == before


def test_whitened_is_unchanged_by_any_invertible_map():
    train, y, test, z = (t.double() if t.is_floating_point() else t for t in sample())
    turn = torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert probe_accuracies(train @ turn, y, test @ turn, z)["whitened"] == probe_accuracies(train, y, test, z)["whitened"]


def test_collapsed_features_reach_the_ceiling_and_no_more():
    """Features that take two values, ten classes: 20% at most, whatever the probe."""
    fine = torch.arange(500) % 10
    points = torch.eye(3)[fine // 5]
    for name, accuracy in probe_accuracies(points, fine, points, fine).items():
        assert accuracy == pytest.approx(0.2), name


@pytest.mark.parametrize(("size", "accuracy"), [(1e-7, 0.2), (1e-4, 1.0)])
def test_a_code_of_the_size_of_rounding_errors_is_none(size, accuracy):
    """Whitening leaves such directions out; a code that is larger counts in full. It lies across the coarse classes, which stay exact."""
    fine = torch.arange(1000) % 10
    code = torch.cat([torch.zeros(10, 2), torch.eye(5).repeat(2, 1)], dim=1)
    points = (torch.eye(7)[fine // 5] + 3).double() + size * code[fine]
    assert probe_accuracies(points[:500], fine[:500], points[500:], fine[500:])["whitened"] == pytest.approx(accuracy)


def test_dead_units_are_harmless():
    train, y, test, z = sample()
    dead = torch.full((len(train), 2), 7.0)
    assert probe_accuracies(torch.cat([train, dead], 1), y, torch.cat([test, dead], 1), z) == probe_accuracies(train, y, test, z)


def test_features_that_say_nothing():
    labels = torch.arange(40) % 4
    same = torch.ones(40, 3)
    for accuracy in probe_accuracies(same, labels, same, labels).values():
        assert accuracy == 0.25


def test_it_is_deterministic_and_leaves_its_input_alone():
    train, y, test, z = sample()
    kept = train.clone()
    assert probe_accuracies(train, y, test, z) == probe_accuracies(train, y, test, z)
    assert torch.equal(train, kept)
    assert list(probe_accuracies(train, y, test, z)) == PROBES


def test_shuffled_labels_give_chance():
    train, y, test, z = sample(n=2000)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    for name, accuracy in probe_accuracies(train, y, test, z[order]).items():
        assert abs(accuracy - 0.25) < 0.04, name


TRAIN, LABELS = torch.arange(8.0).reshape(4, 2), torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": TRAIN * float("nan")}, "train: features hold NaN"),
        ({"test": TRAIN / 0}, "test: features hold NaN or infinite"),
        ({"train_labels": torch.tensor([0, 2, 0, 2])}, "each class needs at least one sample"),
        ({"test_labels": torch.tensor([0, 1, 2, 1])}, r"test: labels must be in 0..1; found 0..2"),
        ({"test": torch.zeros(4, 3)}, "2 dimensions but test features 3"),
        ({"train": torch.zeros(4)}, "train: features must have the shape"),
        ({"train_labels": LABELS[:2]}, "4 samples but 2 labels"),
        ({"neighbours": 5}, "from 1 to the 4 train samples, not 5"),
        ({"neighbours": 0}, "from 1 to the 4"),
        ({"steps": 0}, "at least 1 step, not 0"),
    ],
)
def test_hostile_inputs(changes, message):
    given = {"train": TRAIN, "train_labels": LABELS, "test": TRAIN, "test_labels": LABELS, "neighbours": 2, **changes}
    with pytest.raises(InputError, match=message):
        probe_accuracies(**given)
