"""What must not change the metrics: translation, rotation, uniform scale, the order of samples and classes, how the data are cut up."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.metrics import ClassMoments, collapse_table

invariance = settings(max_examples=25)
GEOMETRY = [
    "variance_ratio",
    "nc1",
    "cdnv",
    "he_su_separation",
    "vci",
    "nc2_equinorm",
    "nc2_equiangularity",
    "nc2_max_angle",
    "rank",
    "ncc_error",
]
TEST_SET = ["variance_ratio_train_means", "weak_nearest_mean", "weak_kmeans"]


@st.composite
def splits(draw):
    """Random float64 train and test sets: unbalanced, overlapping classes."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    classes, d = draw(st.integers(2, 6)), draw(st.integers(1, 7))
    extra = draw(st.integers(0, 30))
    means = torch.randn(classes, d, dtype=torch.float64, generator=generator)

    def split():
        labels = torch.cat([torch.arange(classes).repeat(6), torch.randint(classes, (extra,), generator=generator)])
        return means[labels] + 0.5 * torch.randn(len(labels), d, dtype=torch.float64, generator=generator), labels

    return split(), split()


def table(train, test):
    return collapse_table(train, test, vci=True)[GEOMETRY + TEST_SET].astype(float)


def same(found, wanted, columns=GEOMETRY + TEST_SET):
    for name in columns:
        assert found[name].to_numpy() == pytest.approx(wanted[name].to_numpy(), rel=1e-6, abs=1e-9, nan_ok=True), name


@invariance
@given(splits(), st.floats(-100, 100), st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_translation_rotation_scale(data, shift, scale, seed):
    d = data[0][0].shape[1]
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator))[0]
    towards = torch.randn(d, dtype=torch.float64, generator=generator) * shift * scale
    same(table(*((scale * H @ rotation + towards, y) for H, y in data)), table(*data))


@invariance
@given(splits(), st.integers(0, 2**31))
def test_order_of_samples_and_names_of_classes(data, seed):
    generator = torch.Generator().manual_seed(seed)
    names = torch.randperm(int(data[0][1].max()) + 1, generator=generator)
    moved = []
    for H, y in data:
        order = torch.randperm(len(y), generator=generator)
        moved.append((H[order], names[y[order]]))
    same(table(*moved), table(*data))


@invariance
@given(splits(), st.data())
def test_any_batches_merged_in_any_order(data, choose):
    (H, y), _ = data
    whole = ClassMoments.from_features(H, y)
    order = torch.tensor(choose.draw(st.permutations(range(len(y)))))
    cuts = sorted(choose.draw(st.lists(st.integers(0, len(y)), max_size=5)))
    parts = [
        ClassMoments.from_features(H[rows], y[rows], num_classes=len(whole.count), allow_missing=True)
        for rows in torch.tensor_split(order, cuts)
    ]
    while len(parts) > 1:  # a random tree of merges
        i = choose.draw(st.integers(0, len(parts) - 2))
        parts[i : i + 2] = [parts[i + 1].merge(parts[i])]
    assert torch.equal(parts[0].count, whole.count)
    torch.testing.assert_close(parts[0].mean, whole.mean, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(parts[0].scatter, whole.scatter, rtol=1e-12, atol=1e-13)


def test_nc1_is_not_blind_to_the_span_but_to_the_rest():
    """Spread added outside the span of the means changes V and not NC1."""
    labels = torch.arange(3).repeat(40)
    generator = torch.Generator().manual_seed(0)
    H = torch.zeros(120, 6, dtype=torch.float64)
    H[:, :2] = torch.randn(3, 2, dtype=torch.float64, generator=generator)[labels] + 0.1 * torch.randn(
        120, 2, dtype=torch.float64, generator=generator
    )
    wide = H.clone()
    for c in range(3):  # centred in each class, so that the means stay
        noise = torch.randn(40, 4, dtype=torch.float64, generator=generator)
        wide[labels == c, 2:] = noise - noise.mean(0)
    narrow, wide = (collapse_table((values, labels)).iloc[0] for values in (H, wide))
    assert wide["nc1"] == pytest.approx(narrow["nc1"], rel=1e-9)
    assert wide["variance_ratio"] > 10 * narrow["variance_ratio"]
