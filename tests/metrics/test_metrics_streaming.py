"""The torchmetrics classes: batches, merging, processes, state."""

import datetime
import itertools
import pickle

import pytest
import torch
from two_processes import by_two_processes

from ncbook.errors import InputError
from ncbook.metrics import ClassMeans, ClassMoments, Collapse, MeanSpan, collapse_table, measure
from ncbook.metrics.second import Second

FIRST = ["variance_ratio", "cdnv", "nc2_equinorm", "nc2_equiangularity", "nc2_max_angle", "nc3_self_duality"]
FIRST += ["nc2_equinorm_classifier", "nc2_equiangularity_classifier", "nc2_max_angle_classifier"]
SECOND = ["nc1", "he_su_separation", "rank", "nc4_ncc_mismatch", "ncc_error", "error", "weak_nearest_mean"]
CLASSES, D = 5, 8


def data(seed=0, n=150, spread=0.8):
    generator = torch.Generator().manual_seed(seed)
    means = 3 + torch.randn(CLASSES, D, generator=torch.Generator().manual_seed(7))
    labels = torch.randperm(n, generator=generator) % CLASSES
    return means[labels] + spread * torch.randn(n, D, generator=generator), labels


def head():
    generator = torch.Generator().manual_seed(3)
    return {"weight": torch.randn(CLASSES, D, generator=generator), "bias": torch.randn(CLASSES, generator=generator)}


def stream(metric, features, labels, size):
    for part in zip(features.split(size), labels.split(size), strict=True):
        metric.update(*part)
    return metric


def close(found, wanted, names):
    assert set(found) == set(names)
    for name in names:
        assert found[name].dtype == torch.float64 and found[name].ndim == 0
        assert found[name].item() == pytest.approx(wanted[name], rel=1e-6, abs=1e-12), name


@pytest.mark.parametrize("size", [1, 7, 64, 150])
@pytest.mark.parametrize("weighting", ["class", "sample"])
def test_streaming_equals_the_table(size, weighting):
    (H, y), (H2, y2), last = data(), data(1, n=83), head()
    wanted = collapse_table((H, y), (H2, y2), **last, weighting=weighting)
    train = stream(ClassMeans(CLASSES, D, weight=last["weight"], weighting=weighting), H, y, size)
    test = stream(ClassMeans(CLASSES, D, weight=last["weight"], weighting=weighting), H2, y2, size)
    close(train.compute(), wanted.iloc[0], FIRST)
    close(test.compute(), wanted.iloc[1], FIRST)
    close(stream(Collapse(train.moments(), **last, weighting=weighting), H, y, size).compute(), wanted.iloc[0], SECOND)
    second = Collapse(test.moments(), centres=train.moments(), **last, weighting=weighting)
    close(stream(second, H2, y2, size).compute(), wanted.iloc[1], SECOND)


def test_streaming_is_as_precise():
    H, y = data(spread=1e-5)  # so that the values are 1e-10, below what `approx` takes for 0
    H = H + 10
    means = stream(ClassMeans(CLASSES, D), H, y, 16)
    exact = collapse_table((H.double(), y))
    assert (
        means.compute()["variance_ratio"].item() == pytest.approx(exact["variance_ratio"][0], rel=1e-5, abs=0)
        and exact["variance_ratio"][0] < 1e-9
    )
    collapse = stream(Collapse(means.moments()), H, y, 16)
    assert collapse.compute()["nc1"].item() == pytest.approx(exact["nc1"][0], rel=1e-5, abs=0)
    assert collapse.compute()["weak_nearest_mean"].item() == pytest.approx(exact["weak_nearest_mean"][0], rel=1e-5, abs=0)


def test_merge_state_in_any_order():
    H, y = data()
    whole = stream(ClassMeans(CLASSES, D), H, y, 150)
    parts = [stream(ClassMeans(CLASSES, D), a, b, 10) for a, b in zip(H.split(60), y.split(60), strict=True)]
    second = [stream(Collapse(whole.moments(), **head()), a, b, 10) for a, b in zip(H.split(60), y.split(60), strict=True)]
    for group, alone in ((parts, whole), (second, stream(Collapse(whole.moments(), **head()), H, y, 150))):
        group[2].merge_state(group[0])
        group[2].merge_state(group[1])
        wanted = {name: value.item() for name, value in alone.compute().items()}
        close(group[2].compute(), wanted, wanted)


@pytest.mark.parametrize("predicts", [True, False])
def test_second_passes_over_parts_merge_to_that_over_all(predicts):
    H, y = data()
    moments, given = ClassMoments.from_features(H, y), (y + (torch.arange(len(y)) % 7 == 0)) % CLASSES
    span = MeanSpan.from_moments(moments)
    passes = [Second.empty(moments, span, predictions=predicts) for _ in range(3)]
    for second, rows in zip(passes, (slice(None), slice(0, 40), slice(40, None)), strict=True):
        second.update(H[rows], y[rows], given[rows] if predicts else None, moments, span, span)
    whole, *parts = passes
    for merged in (parts[0].merge(parts[1]), parts[1].merge(parts[0])):
        for name in ("count", "whitened", "far", "confusion", "disagree"):
            assert (getattr(whole, name) is None) == (not predicts and name in ("confusion", "disagree"))
            torch.testing.assert_close(getattr(merged, name), getattr(whole, name), rtol=1e-6, atol=1e-9)
        for groups in ("nearest", *["predicted"] * predicts):
            for name in ("count", "mean", "scatter"):
                torch.testing.assert_close(*(getattr(getattr(one, groups), name) for one in (merged, whole)), rtol=1e-6, atol=1e-9)
        merged.check(moments)
    with pytest.raises(InputError, match="the second pass saw"):
        parts[0].check(moments)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_a_second_pass_over_other_features_is_found_out_in_any_unit(unit):
    H, y = data()
    moments = ClassMoments.from_features(unit * H, y)
    same, other = Collapse(moments), Collapse(moments)
    stream(same, unit * H, y, 16).compute()
    stream(other, unit * (H + 0.1 * (y == 3)[:, None]), y, 16)
    with pytest.raises(InputError, match="the features of class 3 have another mean in the second pass"):
        other.compute()


def test_forward_updates_and_gives_the_values_of_the_batch():
    H, y = data()
    means = ClassMeans(CLASSES, D)
    assert all(value.isnan() for value in means(H[:3], y[:3]).values())  # three samples cannot have five classes
    alone = collapse_table((H[3:], y[3:])).iloc[0]
    close(means(H[3:], y[3:]), alone, FIRST[:5])
    assert means.moments().count.sum() == 150
    wanted = collapse_table((H, y)).iloc[0]
    close(means.compute(), wanted, FIRST[:5])


def test_reset_state_dict_and_pickle():
    H, y = data()
    means = stream(ClassMeans(CLASSES, D), H, y, 50)
    before = means.compute()
    means.persistent(True)
    copy = ClassMeans(CLASSES, D)
    copy.persistent(True)
    copy.load_state_dict(means.state_dict())
    copy._update_count = 1  # torchmetrics does not save it, and warns without
    assert copy.compute() == before
    assert pickle.loads(pickle.dumps(means)).compute() == before
    means.reset()
    assert means.packed.abs().sum() == 0
    assert stream(means, H, y, 50).compute() == before


def test_empty_batches_and_missing_classes():
    H, y = data()
    means = ClassMeans(CLASSES, D, strict=True)
    means.update(H[:0], y[:0])
    for c in range(CLASSES):
        if c:
            with pytest.raises(InputError, match=f"no samples of class {c}"):
                means.compute()
        means.update(H[y == c], y[y == c])
    moments = means.moments()
    torch.testing.assert_close(moments.mean, ClassMoments.from_features(H, y).mean)
    collapse = Collapse(moments)
    collapse.update(H[:0], y[:0])
    collapse.update(H[y == 0], y[y == 0])
    with pytest.raises(InputError, match="the second pass saw 0 samples of class 1, the first 30"):
        collapse.compute()


def test_a_class_without_samples_makes_all_of_the_second_pass_nan_and_warns():
    H, y = data()
    H, y = H[y != 2], y[y != 2]
    lacking = ClassMoments.from_features(H, y, num_classes=CLASSES, allow_missing=True)
    with pytest.warns(UserWarning, match="no samples of class 2; what needs them is NaN"):
        collapse = Collapse(lacking, **head())
    assert all(value.isnan() for value in stream(collapse, H, y, 50).compute().values())
    assert set(collapse.compute()) == set(SECOND)
    whole = ClassMoments.from_features(*data())
    assert all(value.isnan() for value in stream(Collapse(whole, centres=lacking), *data(), 50).compute().values())
    with pytest.warns(UserWarning, match="no samples of class 2"):
        collapse = Collapse(lacking, centres=whole)
    assert all(value.isnan() for value in stream(collapse, H, y, 50).compute().values())


@pytest.mark.parametrize("metric", [lambda: ClassMeans(2, 1), lambda: Collapse(ClassMoments.from_features(*small()))])
def test_compute_before_update(metric):
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(InputError, match="no samples"):
        metric().compute()


def small():
    return torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])


def test_hostile_batches():
    means = ClassMeans(2, 1)
    with pytest.raises(InputError, match=r"shape \(3, 1\), not \(classes, features\) = \(2, 1\)"):
        stream(ClassMeans(2, 1), *small(), 4).compute(weight=torch.ones(3, 1))
    for features, labels, message in [
        (torch.zeros(2, 3), torch.tensor([0, 1]), "3 dimensions, not 1"),
        (torch.zeros(2, 1), torch.tensor([0, 2]), "must be in 0..1"),
        (torch.zeros(2, 1), torch.tensor([0.0, 1.0]), "integers"),
        (torch.zeros(2, 1, 1), torch.tensor([0, 1]), "flatten"),
    ]:
        with pytest.raises(InputError, match=message):
            means.update(features, labels)
    means.update(torch.tensor([[torch.nan], [1.0]]), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="NaN"):
        means.compute()
    with pytest.raises(InputError, match="2 samples a class"):
        Collapse(ClassMoments.from_features(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])), strict=True)
    with pytest.raises(InputError, match="at least 2 classes"):
        ClassMeans(1, 4)


def test_nc4_is_nan_without_predictions_and_takes_outputs():
    H, y = small()
    moments = ClassMoments.from_features(H, y)
    silent, told = Collapse(moments), Collapse(moments)
    silent.update(H, y)
    told.update(H, y, torch.tensor([0, 1, 1, 1]))
    assert silent.compute()["error"].isnan() and silent.compute()["nc4_ncc_mismatch"].isnan()
    assert told.compute()["error"] == 0.25 and told.compute()["nc4_ncc_mismatch"] == 0.25 and told.compute()["ncc_error"] == 0


def test_the_weight_is_read_at_compute_time():
    H, y = data()
    layer = torch.nn.Linear(D, CLASSES)
    means = stream(ClassMeans(CLASSES, D, weight=layer.weight), H, y, 150)
    with torch.no_grad():
        layer.weight.copy_(means.moments().centred())
    assert means.compute()["nc3_self_duality"].item() < 1e-12
    assert not list(means.parameters())


def _worker(rank, path, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    H, y = data()
    half = slice(0, 40) if rank == 0 else slice(40, 150)  # of unequal size
    means = stream(ClassMeans(CLASSES, D, weight=head()["weight"]), H[half], y[half], 16)
    first, moments = means.compute(), means.moments()
    second = stream(Collapse(moments, **head()), H[half], y[half], 16).compute()
    results[rank] = {name: value.item() for name, value in (first | second).items()} | {"alone": means.packed[:, 0].sum().item()}
    torch.distributed.destroy_process_group()


@pytest.mark.slow  # two new processes import torchvision
def test_two_processes(tmp_path):
    found = by_two_processes(_worker, tmp_path)
    wanted = collapse_table(data(), **head()).iloc[0]
    for rank, alone in ((0, 40), (1, 110)):
        assert found[rank].pop("alone") == alone  # each has its own part back after the sync
        for name, value in found[rank].items():
            assert value == pytest.approx(wanted[name], rel=1e-6, abs=1e-12), name


def _half_bad(rank, path, results):
    """One process has labels, then features in a second pass, then a network, that cannot be used; the other waits for none of it."""
    timeout = datetime.timedelta(seconds=60)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2, timeout=timeout)
    H, y = data()
    read_twice = itertools.cycle([H, H * torch.nan if rank else H])

    class Batches:
        def __iter__(self):
            yield next(read_twice), y

    good = torch.nn.Linear(D, CLASSES)
    calls = {
        "labels": lambda: measure(good, [(H, y + 9 * rank)], distributed=True),
        "second": lambda: measure(good, Batches(), distributed=True),
        "raw": lambda: measure(torch.nn.Linear(D - rank, CLASSES), [(H, y)], distributed=True),
        "loader": lambda: measure(good, None if rank else [(H, y)], distributed=True),
        "device": lambda: measure(good, [(H, y)], distributed=True, device="cuda:99" if rank else "cpu"),
        "test": lambda: measure(good, [(H, y)], None if rank else [(H, y)], distributed=True),
        "head": lambda: measure(good, [(H, y)], layer="", head=(torch.zeros(CLASSES, CLASSES + rank), None), distributed=True),
    }
    for name, call in calls.items():
        try:
            results[rank, name] = str(call())
        except Exception as error:  # noqa: BLE001  of any kind, and to be looked at
            results[rank, name] = f"{type(error).__name__}: {error}"
    torch.distributed.destroy_process_group()


@pytest.mark.slow  # two new processes import torchvision
def test_what_one_of_two_processes_cannot_measure_is_refused_in_both(tmp_path):
    found = by_two_processes(_half_bad, tmp_path)
    assert "some processes have a test set" in found[0, "test"] == found[1, "test"]
    refused = {"labels": "labels must be in", "second": "NaN", "raw": "mat1 and mat2", "loader": "must be a loader", "head": "shape"}
    for name, says in (refused | {"device": "CUDA"}).items():
        assert says in found[1, name] and found[0, name].startswith("InputError: ") and says in found[0, name], (name, found)
        assert "process 1 failed with" in found[0, name] and "\n" not in found[0, name]
