"""Collapse of 1e-10 on float32 features with mean 10, against float64 two-pass NumPy on the same stored values."""

import numpy as np
import pytest
import torch
from metrics_reference import reference

from ncbook.metrics import ClassMoments, MeanSpan, collapse_table
from ncbook.metrics.projection import _margin, _radius, project

SAME = ["variance_ratio", "nc1", "cdnv", "he_su_separation", "nc2_equinorm", "nc2_equiangularity", "nc2_max_angle", "nc3_self_duality"]
SAME += ["variance_ratio_train_means", "variance_ratio_predicted", "weak_nearest_mean", "weak_kmeans", "v_confused"]
SAME += ["error", "ncc_error", "nc4_ncc_mismatch"]


def collapsed(spread, *, offset=10.0, d=32, classes=4, n=60, wrong=0, seed=0):
    """Float32 train and test features around means 10 + N(0, 1); `wrong` test samples a class sit on the next class's mean."""
    generator = torch.Generator().manual_seed(seed)
    means = offset + torch.randn(classes, d, generator=generator)
    splits = []
    for errors in (0, wrong):
        labels = torch.arange(classes).repeat(n)
        at = torch.where(torch.arange(len(labels)) < errors * classes, (labels + 1) % classes, labels)
        splits.append((means[at] + spread * torch.randn(len(labels), d, generator=generator), labels))
    return *splits, means - means.mean(0)


@pytest.mark.parametrize(("spread", "wrong"), [(1e-5, 0), (1e-5, 6), (3e-6, 3), (1e-2, 6), (1.0, 0)])
def test_float32_features_far_from_zero(spread, wrong):
    train, test, weight = collapsed(spread, wrong=wrong)
    bias = -10 * weight.sum(1) - 0.5 * weight.square().sum(1)
    found = collapse_table(train, test, weight=weight, bias=bias)
    wanted = reference(
        *((H.double().numpy(), y.numpy()) for H, y in (train, test)), weight=weight.double().numpy(), bias=bias.double().numpy()
    )
    for (_, row), slow in zip(found.iterrows(), wanted, strict=True):
        for name in SAME:
            assert row[name] == pytest.approx(slow[name], rel=1e-5, abs=1e-15), name
    if spread == 1e-5:
        assert 1e-12 < found["nc1"][0] < 1e-9


def test_plain_float32_would_fail_here():
    """The test above is not idle: the same sums without a shift are wrong by far more than 1e-4."""
    (H, y), _, _ = collapsed(1e-5)
    moments = ClassMoments.from_features(H, y)
    plain = sum((H[y == c].square().sum(1).mean() - H[y == c].mean(0).square().sum()).item() for c in range(4)) / 4
    assert abs(plain / moments.within().item() - 1) > 0.5


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e15])
def test_units_of_the_features(scale):
    train, _, _ = collapsed(1e-3, offset=0.0)
    plain, scaled = (collapse_table((H, train[1])).iloc[0] for H in (train[0], train[0] * scale))
    for name in ("variance_ratio", "nc1", "cdnv", "nc2_max_angle"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-5), name


def test_an_outlier_first_in_its_class():
    """One wild sample costs no digits."""
    (H, y), _, _ = collapsed(1e-3, n=2000, d=4)
    H[:4] += 100
    exact = sum(np.square(h - h.mean(0)).sum(1).mean() for h in (H[y == c].double().numpy() for c in range(4))) / 4
    assert ClassMoments.from_features(H, y).within().item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("how", ["autocast", "float32_precision"])
def test_the_training_loops_precision_does_not_matter(how):
    train, test, weight = collapsed(1e-5)
    wanted = collapse_table(train, test, weight=weight)
    if how == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = collapse_table(train, test, weight=weight)
    else:
        before = torch.backends.mkldnn.matmul.fp32_precision
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        try:
            found = collapse_table(train, test, weight=weight)
            assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        finally:
            torch.backends.mkldnn.matmul.fp32_precision = before
    assert found.equals(wanted)


def test_gradients_are_not_followed():
    train, test, _ = collapsed(0.1)
    head = torch.nn.Linear(32, 4)
    features = train[0].requires_grad_()
    collapse_table((features, train[1]), test, weight=head.weight, bias=head.bias)
    assert features.grad is None and head.weight.grad is None


@pytest.mark.parametrize("spread", [1e-5, 0.02, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_classes_are_decided_as_in_float64(spread, dtype):
    """With many classes samples near their mean are not compared with all: the same decisions as one by one, inside and outside."""
    generator = torch.Generator().manual_seed(0)
    classes, d = 50, 40
    means = 10 + torch.randn(classes, d, generator=generator)
    means[1] = means[0] + 1e-3  # two that nearly coincide
    weight, bias = torch.randn(classes, d, generator=generator), 10 * torch.randn(classes, generator=generator)
    weight[3], bias[3] = weight[2], bias[2]  # and two rows that do: neither is ever surely ahead
    labels = torch.arange(20 * classes) % classes
    train = (means[labels] + spread * torch.randn(len(labels), d, generator=generator)).to(dtype)
    test = (means[labels] + 0.05 + 3 * spread * torch.randn(len(labels), d, generator=generator)).to(dtype)
    centres, head = ClassMoments.from_features(train, labels), {"weight": weight, "bias": bias}
    for features in (train, test):
        moments = ClassMoments.from_features(features, labels)
        seen = project(features, labels, moments, MeanSpan.from_moments(moments), MeanSpan.from_moments(centres), **head)
        far = torch.cdist(features.double(), centres.mean, compute_mode="donot_use_mm_for_euclid_dist")
        assert (far.gather(1, seen.nearest[:, None])[:, 0] <= far.amin(1) * (1 + 1e-6) + 1e-9).all()
        scores = features.double() @ weight.double().T + bias
        assert (scores.gather(1, seen.predicted[:, None])[:, 0] >= scores.amax(1) - 1e-4).all()
        if features is train:  # own means decide: the projection is shared
            alone = project(features, labels, centres, span := MeanSpan.from_moments(centres), span, **head)
            assert torch.equal(alone.nearest, seen.nearest) and torch.equal(alone.predicted, seen.predicted)


def test_no_boundary_is_nearer_than_stated():
    """A step of .999 of the stated distance, straight to each boundary, changes no decision, and one of 1.001 does."""
    generator = torch.Generator().manual_seed(0)
    weight, means = (torch.randn(12, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    scores = means @ weight.T
    margin, radius = _margin(scores, weight), _radius(torch.cdist(means, means).square())
    for c in range(12):
        best = int(scores[c].argmax())
        near = int(torch.cdist(means[c : c + 1], means)[0].topk(2, largest=False).indices[1])
        for step, stays in ((0.999, True), (1.001, False)):
            across = [(weight[k] - weight[best]) / (weight[k] - weight[best]).norm() for k in range(12) if k != best]
            assert all(int(((means[c] + step * margin[c] * a) @ weight.T).argmax()) == best for a in across) == stays
            moved = means[c] + step * radius[c] * (means[near] - means[c]) / (means[near] - means[c]).norm()
            assert (int(torch.cdist(moved[None], means).argmin()) == c) == stays
