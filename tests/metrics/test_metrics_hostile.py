"""Input that has no answer gets one clear sentence, never a silent zero."""

import math
import warnings

import pytest
import torch

from ncbook.errors import InputError
from ncbook.metrics import (
    ClassMoments,
    at_common_size,
    collapse_table,
    nc1,
    nc2_equiangularity,
    nc2_max_angle,
    nc3_self_duality,
    v_even_weak,
    vci,
    weak_kmeans,
)


def good(n=12, d=4, classes=3):
    labels = torch.arange(n) % classes
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0)) + 3 * labels[:, None], labels


def spoil(position, value):
    features, labels = good()
    features[position] = value
    return features, labels


H, y = good()
HOSTILE = {
    "nan": (spoil((5, 2), math.nan), "NaN, infinite or overflowing"),
    "infinity": (spoil((5, 2), math.inf), "NaN, infinite or overflowing"),
    "minus infinity": (spoil((0, 0), -math.inf), "NaN, infinite or overflowing"),
    "overflow": (spoil((5, 2), 3e38), "NaN, infinite or overflowing"),
    "no such class": ((H, torch.where(y == 1, 2, y)), "no samples of class 1;"),
    "one class": ((H, torch.zeros_like(y)), "only one"),
    "coinciding means": ((H[y == 0].repeat(3, 1), torch.arange(3).repeat_interleave(4)), "class means coincide"),
    "all the same": ((torch.full((12, 4), 0.1), y), "class means coincide"),
    "all zero": ((torch.zeros(12, 4), y), "class means coincide"),
    "one sample a class": ((H[:3], y[:3]), "at least 2 samples a class; too few in class 0, 1, 2"),
    "one sample in one class": ((H[:11], torch.tensor([0, 1] * 5 + [2])), "too few in class 2"),
    "negative label": ((H, y - 1), "0..1; found -1..1"),
    "float labels": ((H, y.float()), "must be integers"),
    "bool labels": ((H, y > 0), "must be integers"),
    "one-hot labels": ((H, torch.nn.functional.one_hot(y)), "argmax"),
    "too few labels": ((H, y[:-1]), "12 samples but 11 labels"),
    "images": ((H[:, :, None, None], y), "flatten"),
    "vector": ((H[:, 0], y), "(samples, dimensions)"),
    "no dimensions": ((H[:, :0], y), "(samples, dimensions)"),
    "complex": ((H.to(torch.complex64), y), "real"),
    "no samples": ((H[:0], y[:0]), "no samples"),
    "a triple of nothing": ((H,), "(features, labels)"),
    "outputs out of range": ((H, y, y + 1), "outputs must be in 0..2"),
    "outputs of another length": ((H, y, y[:-1]), "12 samples but 11 outputs"),
    "scores with a nan label": ((H, y, y.float()), "outputs must be integers"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("where", ["train", "test"])
def test_features_and_labels(name, where):
    split, message = HOSTILE[name]
    if where == "test" and name == "one class":
        message = "no samples of class 1, 2"
    if where == "test" and name == "negative label":
        message = "found -1..1"
    if where == "test" and name == "no samples":
        message = "no samples of class 0, 1, 2"
    with pytest.raises(InputError) as caught:
        collapse_table(*((split,) if where == "train" else ((H, y), split)), strict=True)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_largest_float32_is_a_number_in_float64():
    features, labels = HOSTILE["overflow"][0]
    assert math.isfinite(collapse_table((features.double(), labels))["variance_ratio"][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": torch.zeros(3)}, "weight must have the shape"),
        ({"weight": torch.zeros(3, 5)}, "5 columns but the features 4 dimensions"),
        ({"weight": torch.zeros(3, 4), "bias": torch.zeros(4)}, "bias must have the shape (3,)"),
        ({"weight": torch.zeros(4, 4)}, "no samples of class 3"),
        ({"weight": torch.zeros(2, 4)}, "labels must be in 0..1; found 0..2"),
        ({"weighting": "classes"}, "did you mean 'class'"),
        ({"common_n": 1}, "at least 2"),
        ({"common_n": 5}, "more than the smallest class has, 4"),
    ],
)
def test_options(options, message):
    with pytest.raises(InputError) as caught:
        collapse_table((H, y), **options)
    assert message in str(caught.value)


def test_test_features_of_another_width():
    with pytest.raises(InputError, match="4 dimensions but test features 3"):
        collapse_table((H, y), (H[:, :3], y))


def test_vci_needs_samples():
    features, labels = good(n=12, d=11)
    with pytest.raises(InputError, match="dimension is below the number of samples - 1; here 11 and 12"):
        vci(features, labels)
    assert 0 < vci(*good(n=13, d=11, classes=3)).item() < 1


def test_two_classes_have_no_mean_geometry():
    features, labels = good(classes=2)
    row = collapse_table((features, labels), weight=torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0]])).iloc[0]
    assert row[["nc2_equinorm", "nc2_equiangularity", "nc2_max_angle", "nc2_equiangularity_classifier"]].isna().all()
    assert row["nc2_equinorm_classifier"] == pytest.approx(2**0.5 / 3) and row["nc2_max_angle_classifier"] == 1


def test_zero_vectors_have_no_angle():
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert nc2_max_angle(vectors).isnan() and nc2_equiangularity(vectors).isnan()
    assert nc3_self_duality(torch.zeros(3, 2), vectors).isnan()
    with pytest.raises(InputError, match="same shape"):
        nc3_self_duality(torch.zeros(3, 3), vectors)


def test_one_pair_of_coinciding_means_is_infinite_in_cdnv_only():
    features = torch.tensor([[0.0], [2.0], [0.0], [2.0], [9.0], [11.0]])
    row = collapse_table((features, torch.tensor([0, 0, 1, 1, 2, 2]))).iloc[0]
    assert row["cdnv"] == math.inf and row["rank"] == 1 and row["variance_ratio"] == pytest.approx(1 / 18)


def test_untrained_predictions_are_nan_not_zero():
    row = collapse_table((H, y, torch.zeros_like(y))).iloc[0]
    assert row[["variance_ratio_predicted", "v_confused"]].isna().all() and row["error"] == pytest.approx(2 / 3)


def test_a_class_never_predicted_is_left_out():
    row = collapse_table((H, y, torch.where(y == 2, 1, y))).iloc[0]
    assert row["variance_ratio_predicted"] > row["variance_ratio"] > 0


def test_v_even_weak_range():
    assert v_even_weak(0.0, 10) == 0 and v_even_weak(0.9, 10) > 1e9 and v_even_weak(0.5, 2) == math.inf
    for error, classes in ((-0.1, 10), (1.1, 10), (0.1, 1)):
        with pytest.raises(InputError):
            v_even_weak(error, classes)


def test_moments_of_other_shapes_do_not_merge():
    with pytest.raises(InputError, match=r"\(3, 4\) and \(2, 4\)"):
        ClassMoments.from_features(H, y).merge(ClassMoments.empty(2, 4))
    with pytest.raises(InputError, match="at least 2 classes"):
        ClassMoments.from_features(H, torch.zeros_like(y)).between()


def test_numpy_arrays_and_lists_are_taken():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nc1(H.numpy(), y.numpy()).item() == nc1(H, y).item()
        assert at_common_size(H.tolist(), y.tolist(), 2)["nc1_common"].isfinite()


def test_inputs_are_left_alone():
    features, labels = H.clone(), y.clone()
    collapse_table((features, labels), (features, labels), common_n=2)
    assert torch.equal(features, H) and torch.equal(labels, y)


def test_means_that_coincide_but_for_rounding():
    """The same 1000 samples in each class, in another order: float32 sums differ in the last digits, and that is no direction."""
    generator = torch.Generator().manual_seed(0)
    same = 10 + torch.randn(1000, 6, generator=generator)
    features = torch.cat([same[torch.randperm(1000, generator=generator)] for _ in range(3)])
    with pytest.raises(InputError, match="class means coincide"):
        collapse_table((features, torch.arange(3).repeat_interleave(1000)))


def test_a_cluster_that_loses_its_samples_stays_where_it_was():
    train = ClassMoments.from_features(torch.tensor([[-5.0], [10.0], [50.0]]), torch.tensor([0, 1, 2]))
    features = torch.tensor([[0.0], [2.0], [9.0], [11.0]])
    found = weak_kmeans(features, torch.tensor([0, 0, 1, 1]), train).item()
    assert found == pytest.approx(1 / 4.5**2)  # two clusters used; a third moved to the origin would have taken a sample
