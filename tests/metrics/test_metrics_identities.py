"""Closed forms and exact relations between the metrics."""

import math

import numpy as np
import pytest
import torch

from ncbook.metrics import (
    ClassMoments,
    MeanSpan,
    cdnv,
    collapse_table,
    nc1,
    nc2_equiangularity,
    nc2_equinorm,
    nc2_max_angle,
    nc3_self_duality,
    nearest_centre,
    predictions,
    v_confused,
    v_even_weak,
    variance_ratio,
    vci,
)


def simplex(classes, d, scale=1.0):
    """Vertices of a simplex ETF in d dimensions, (C, d), norm `scale`."""
    basis = torch.linalg.qr(torch.randn(d, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))[0].T  # (C, d)
    centred = basis - basis.mean(0)
    return scale * centred / centred.norm(dim=1, keepdim=True)


def around(means, deviations):
    """Features with exactly these class means and, in each class, the deviations (n, d) and their negatives."""
    both = torch.cat([deviations, -deviations])
    return (means[:, None] + both).flatten(0, 1), torch.arange(len(means)).repeat_interleave(len(both))


def noise(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def isotropic(d, sigma):
    """Deviations whose covariance, with their negatives, is exactly sigma^2 times the identity."""
    return sigma * math.sqrt(d) * torch.eye(d, dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_cdnv_of_equidistant_means(classes):
    moments = ClassMoments.from_features(*around(simplex(classes, 16), 0.3 * noise(7, 16)))
    assert cdnv(moments).item() == pytest.approx((classes - 1) / (2 * classes) * variance_ratio(moments).item(), rel=1e-12)


def test_pairwise_distances_and_between_class_trace():
    means = noise(7, 12)
    between = ClassMoments.from_features(means, torch.arange(7)).between().item()
    squares = [(a - b).square().sum().item() for i, a in enumerate(means) for j, b in enumerate(means) if i != j]
    assert np.mean(squares) == pytest.approx(2 * 7 / 6 * between, rel=1e-12)


def test_nc1_with_simplex_means_is_the_projected_trace_ratio():
    means, deviations = simplex(6, 20), 0.4 * noise(9, 20)
    features, labels = around(means, deviations)
    within = deviations.T @ deviations / 9
    projector = torch.linalg.pinv(means) @ means
    wanted = 5 / 6 * (projector @ within).trace() / means.square().sum(1).mean()
    assert nc1(features, labels).item() == pytest.approx(wanted.item(), rel=1e-12)
    assert nc1(features, labels).item() < 0.5 * variance_ratio(ClassMoments.from_features(features, labels)).item()


def test_he_su_is_c_times_nc1():
    row = collapse_table(around(noise(5, 8), noise(4, 8, seed=1))).iloc[0]
    assert row["he_su_separation"] == pytest.approx(5 * row["nc1"], rel=1e-14)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0])
def test_vci_with_simplex_means_and_isotropic_spread(sigma):
    features, labels = around(simplex(5, 12, scale=2.0), isotropic(12, sigma))
    assert vci(features, labels).item() == pytest.approx(sigma**2 / (sigma**2 + 4 / 4), rel=1e-10)


def test_vci_is_unchanged_by_invertible_maps_and_nc1_is_not():
    features, labels = around(noise(4, 6), 0.5 * noise(10, 6, seed=1))
    mapped = features @ noise(6, 6, seed=2)
    assert vci(mapped, labels).item() == pytest.approx(vci(features, labels).item(), rel=1e-9)
    assert nc1(mapped, labels).item() != pytest.approx(nc1(features, labels).item(), rel=1e-2)


def test_vci_of_collapsed_features_with_means_of_low_rank():
    means = noise(10, 3) @ noise(3, 8, seed=1)  # rank 3 for 10 classes
    labels = torch.arange(10).repeat_interleave(4)
    assert vci(means[labels], labels).item() == pytest.approx(0, abs=1e-12)


def test_square():
    square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert nc2_max_angle(square).item() == pytest.approx(4 / 9, abs=1e-15)  # a signed average would be 0
    assert nc2_equiangularity(square).item() == pytest.approx(math.sqrt(2) / 3, abs=1e-15)
    assert nc2_equinorm(square).item() == 0


@pytest.mark.parametrize("classes", [2, 3, 10, 50])
def test_simplex_is_perfect(classes):
    vertices = simplex(classes, 64)
    assert nc2_equinorm(vertices).item() < 1e-14 and nc2_max_angle(vertices).item() < 1e-14
    if classes > 2:
        assert nc2_equiangularity(vertices).item() < 1e-14


def test_class_order_does_not_matter():
    vectors = noise(6, 9)
    for metric in (nc2_equinorm, nc2_equiangularity, nc2_max_angle):
        assert metric(vectors).item() == pytest.approx(metric(vectors.flip(0)).item(), rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_classes_are_perfectly_collapsed(dtype):
    means = (10 + noise(6, 9)).to(dtype)
    labels = torch.arange(6).repeat(5)
    weight = means - means.mean(0)
    row = collapse_table(
        (means[labels], labels), (means[labels], labels), weight=weight, bias=-(means @ weight.T).mean(0), vci=True, common_n=2
    ).iloc[1]
    zero = ["variance_ratio", "cdnv", "ncc_error", "variance_ratio_train_means", "weak_nearest_mean", "weak_kmeans"]
    assert (row[[*zero, "variance_ratio_common", "cdnv_common"]] == 0).all()
    # the shift's rounding is put back after the projection, to the last digits of float32
    assert row["nc1"] <= (1e-12 if dtype == torch.float32 else 1e-28)
    assert row["vci"] == pytest.approx(0, abs=1e-12) and row["rank"] == 5
    assert row["nc3_self_duality"] == pytest.approx(0, abs=1e-10)


def test_self_duality():
    means = noise(4, 7)
    assert nc3_self_duality(3 * means, means).item() < 1e-28
    assert nc3_self_duality(-means, means).item() == pytest.approx(4, abs=1e-14)
    quarter_turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    assert nc3_self_duality(torch.eye(2), quarter_turn).item() == pytest.approx(2, abs=1e-14)  # orthogonal: squared, not its root


def test_the_bias_belongs_to_the_prediction():
    features = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    head = {"weight": torch.zeros(2, 2), "bias": torch.tensor([1.0, 0.0])}
    assert predictions(features, **head).tolist() == [0, 0, 0, 0]
    row = collapse_table((features, labels), **head).iloc[0]
    assert row["nc4_ncc_mismatch"] == 0.5 and row["error"] == 0.5 and row["ncc_error"] == 0
    assert math.isnan(row["variance_ratio_predicted"]) and math.isnan(row["v_confused"])  # one predicted class


@pytest.mark.parametrize(
    ("error", "classes", "value"),
    [(0.005, 10, 0.011), (0.01, 10, 0.023), (0.05, 10, 0.121), (0.07, 10, 0.176), (0.1, 10, 0.266), (0.05, 2, 0.235), (0.3, 100, 1.06)],
)
def test_v_even_weak_table(error, classes, value):
    assert v_even_weak(error, classes) == pytest.approx(value, abs=5e-3 if value > 1 else 5e-4)


@pytest.fixture
def weakly_collapsed():
    """Train features on the vertices of a simplex; test features on them too, 1 in 10 of each class on each wrong one: error 0.4, C = 5."""
    means = simplex(5, 12)
    labels = torch.arange(5).repeat_interleave(10)
    predicted = torch.cat([torch.tensor([c] * 6 + [k for k in range(5) if k != c]) for c in range(5)])
    return means, labels, predicted


def test_weak_collapse(weakly_collapsed):
    means, labels, predicted = weakly_collapsed
    row = collapse_table((means[labels], labels, labels), (means[predicted], labels, predicted)).iloc[1]
    assert row["weak_nearest_mean"] < 1e-28 and row["weak_kmeans"] < 1e-28 and row["variance_ratio_predicted"] < 1e-28
    a = 1 - 0.4 * 5 / 4
    for name in ("variance_ratio", "v_confused", "v_even_weak"):
        assert row[name] == pytest.approx((1 - a**2) / a**2, rel=1e-12), name
    assert row["variance_ratio_train_means"] == pytest.approx(2 * (1 - a), rel=1e-12)
    assert row["ncc_error"] == row["error"] == pytest.approx(0.4) and row["nc4_ncc_mismatch"] == 0


def test_nothing_confused_is_zero_in_double_precision():
    """As every metric is: in single precision it would round what it is compared with."""
    labels = torch.arange(4).repeat(3)
    train = ClassMoments.from_features(noise(12, 3), labels)
    for predicted in (labels, labels.roll(1)):
        found = v_confused(labels, predicted, train)
        assert (found.dtype, found.ndim) == (torch.float64, 0)
    assert v_confused(labels, labels, train) == 0


def test_train_row_repeats_itself_as_test_row():
    features, labels = around(noise(4, 6), 0.1 * noise(5, 6, seed=3))
    train, test = (row for _, row in collapse_table((features, labels), (features, labels), weight=noise(4, 6)).iterrows())
    assert train.drop("split").equals(test.drop("split"))
    assert train["variance_ratio_train_means"] == train["variance_ratio"]


def test_nearest_centre_needs_no_good_guess():
    centres = noise(6, 4)
    features = noise(50, 4, seed=1)
    wanted = torch.cdist(features, centres).argmin(1)
    for near in (torch.zeros(50, dtype=torch.int64), wanted):
        assert torch.equal(nearest_centre(features, near, centres), wanted)


def test_rank_of_the_class_means():
    low = ClassMoments.from_features(noise(9, 2) @ noise(2, 30, seed=1), torch.arange(9))
    assert MeanSpan.from_moments(low).rank == 2
    assert MeanSpan.from_moments(ClassMoments.from_features(noise(9, 4), torch.arange(9))).rank == 4  # d < C - 1
    assert MeanSpan.from_moments(ClassMoments.from_features(noise(9, 30), torch.arange(9))).rank == 8


def test_no_simplex_in_too_few_dimensions():
    row = collapse_table(around(noise(6, 3), 0.01 * noise(4, 3))).iloc[0]
    assert row["rank"] == 3 and row["nc2_max_angle"] > 0.1 and row["nc1"] > 0


def test_unbalanced_weightings_differ():
    labels = torch.tensor([0] * 6 + [1] * 4)
    features = torch.where(labels[:, None] == 0, 0.0, 10.0) + torch.tensor([1.0, -1] * 3 + [2.0, -2] * 2)[:, None]
    moments = ClassMoments.from_features(features, labels)
    assert variance_ratio(moments).item() == pytest.approx(2.5 / 25)
    assert variance_ratio(moments, weighting="sample").item() == pytest.approx(2.2 / 24)
