"""Every column of the table against the slow NumPy reference."""

import numpy as np
import pytest
import torch
from metrics_reference import reference

from ncbook.metrics import METRICS, at_common_size, collapse_table, he_su_separation, nc1


def data(seed, counts, d, spread=0.5, offset=0.0):
    """A balanced or unbalanced train and test set with errors, and a classifier."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(len(counts), d)) + offset
    splits = []
    for factor in (2, 1):
        y = random.permutation(np.repeat(np.arange(len(counts)), np.array(counts) * factor))
        splits.append((means[y] + spread * random.normal(size=(len(y), d)), y))
    return *splits, means - means.mean(0) + 0.1 * random.normal(size=means.shape), random.normal(size=len(counts))


@pytest.mark.parametrize("weighting", ["class", "sample"])
@pytest.mark.parametrize(
    ("counts", "d", "spread"),
    [([6, 6, 6], 5, 0.3), ([4, 9, 15, 7], 12, 1.0), ([8, 5], 3, 0.5), ([7] * 9, 4, 0.6), ([40, 3, 17, 5, 8, 12], 20, 1.5)],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_table_equals_reference(counts, d, spread, dtype, weighting):
    train, test, weight, bias = data(len(counts) + d, counts, d, spread)
    # The reference sees the stored, rounded values.
    train, test = ((torch.tensor(H, dtype=dtype), torch.tensor(y)) for H, y in (train, test))
    table = collapse_table(train, test, weight=torch.tensor(weight), bias=torch.tensor(bias), weighting=weighting, vci=True)
    wanted = reference(*((H.double().numpy(), y.numpy()) for H, y in (train, test)), weight=weight, bias=bias, weighting=weighting)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    for (_, row), slow in zip(table.iterrows(), wanted, strict=True):
        assert set(slow) | {"common_n", "variance_ratio_common", "nc1_common", "cdnv_common"} == set(row.index)
        for name, value in slow.items():
            assert row[name] == (value if isinstance(value, str) else pytest.approx(value, rel=tolerance, abs=1e-12, nan_ok=True)), name


def test_columns_do_not_depend_on_what_is_known():
    (H, y), *_ = data(0, [5, 5, 5], 4)
    table = collapse_table((torch.tensor(H), torch.tensor(y)))
    assert list(table.columns) == ["split", "n", *METRICS]
    missing = {"error", "vci", "nc3_self_duality", "nc4_ncc_mismatch", "variance_ratio_predicted", "v_even_weak", "v_confused", "common_n"}
    missing |= {"variance_ratio_common", "nc1_common", "cdnv_common"} | {name for name in METRICS if name.endswith("_classifier")}
    assert set(table.columns[table.isna().any()]) == missing


def test_outputs_replace_the_head():
    (H, y), (H2, y2), weight, bias = data(3, [6, 8, 7], 5, 1.0)
    logits, logits2 = H @ weight.T + bias, H2 @ weight.T + bias
    H, y, H2, y2, weight, bias, logits, logits2 = map(torch.tensor, (H, y, H2, y2, weight, bias, logits, logits2))
    wanted = collapse_table((H, y), (H2, y2), weight=weight, bias=bias)
    by_scores = collapse_table((H, y, logits), (H2, y2, logits2), weight=weight)
    by_labels = collapse_table((H, y, logits.argmax(1)), (H2, y2, logits2.argmax(1)), weight=weight)
    assert by_scores.equals(by_labels)
    for name in METRICS:  # a product with more columns rounds differently
        assert by_scores[name].to_numpy() == pytest.approx(wanted[name].to_numpy(), rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int16])
def test_short_types_are_taken_as_float32(dtype):
    (H, y), *_ = data(1, [6, 6, 6], 5)
    H, y = (100 + 20 * torch.tensor(H)).to(dtype), torch.tensor(y, dtype=torch.uint8)
    assert collapse_table((H, y)).equals(collapse_table((H.float(), y.long())))


def test_common_size_is_the_mean_over_disjoint_subsets():
    (H, y), *_ = data(2, [4, 7, 5], 6)  # 8, 14, 10 samples: two subsets of 4 a class
    H, y = torch.tensor(H), torch.tensor(y)
    rows = [torch.cat([(y == c).nonzero().flatten()[4 * s : 4 * s + 4] for c in range(3)]) for s in range(2)]
    parts = [collapse_table((H[r], y[r]), common_n=4).iloc[0] for r in rows]
    found = collapse_table((H, y), common_n=4).iloc[0]
    for name in ("variance_ratio", "nc1", "cdnv"):
        assert found[f"{name}_common"] == pytest.approx(np.mean([p[name] for p in parts]), rel=1e-12)
    shuffled = at_common_size(H, y, 4, generator=torch.Generator().manual_seed(1))
    assert shuffled["nc1_common"] != found["nc1_common"]
    assert shuffled == at_common_size(H, y, 4, generator=torch.Generator().manual_seed(1))


def test_common_size_removes_the_bias_of_the_sample_size():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(4000) % 4
    means = torch.randn(4, 50, generator=generator)
    H = means[y] + torch.randn(4000, 50, generator=generator)
    small, large = collapse_table((H[:40], y[:40]), (H, y), common_n=10).itertuples()
    assert small.variance_ratio < 0.93 * large.variance_ratio  # 10 against 1000 a class
    assert small.variance_ratio_common == pytest.approx(large.variance_ratio_common, rel=0.05)


def test_single_functions_agree_with_the_table():
    (H, y), *_ = data(4, [6, 9, 7], 5)
    H, y = torch.tensor(H), torch.tensor(y)
    row = collapse_table((H, y)).iloc[0]
    assert nc1(H, y).item() == row["nc1"] and he_su_separation(H, y).item() == row["he_su_separation"]
