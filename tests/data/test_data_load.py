"""`load`: content, splits, subsets, noise, coarse labels, normalisation, batches."""

import numpy as np
import pandas
import pytest
import torch
from sklearn.datasets import load_digits

from ncbook.data.datasets import _noisy, load
from ncbook.data.files import locate
from ncbook.data.presets import PRESETS, spec
from ncbook.data.sources import split_positions
from ncbook.errors import InputError
from ncbook.seeds import child_generator, child_seed


def test_digits_are_scikit_learns_pixel_for_pixel():
    ours, theirs = load("digits"), load_digits()
    test = split_positions(theirs.target, 50)
    train = np.setdiff1d(np.arange(1797), test)
    for split, at in ((ours.train, train), (ours.test, test)):
        assert np.array_equal(split.images[:, 0].numpy(), (theirs.images[at] * 15).astype(np.uint8))
        assert np.array_equal(split.labels.numpy(), theirs.target[at])
    assert ours.train.images.dtype == torch.uint8 and ours.train.labels.dtype == torch.int64
    assert ours.train.labels.bincount().tolist() == [128, 132, 127, 133, 131, 132, 131, 129, 124, 130]
    assert ours.image_shape == (1, 8, 8) and ours.train.images.max() == 240


def test_mnist5k_is_mlxtends_pixel_for_pixel():
    table = pandas.read_csv(locate(spec("mnist5k"), spec("mnist5k").files[0]), header=None).to_numpy()  # mnist_data() parses it for 3 s
    ours, pixels, labels = load("mnist5k"), table[:, :-1], table[:, -1]
    test = split_positions(labels, 100)
    train = np.setdiff1d(np.arange(5000), test)
    for split, at in ((ours.train, train), (ours.test, test)):
        assert np.array_equal(split.images.reshape(-1, 784).numpy(), pixels[at].astype(np.uint8))
        assert np.array_equal(split.labels.numpy(), labels[at])
    assert ours.train.labels.bincount().tolist() == [400] * 10 and ours.test.labels.bincount().tolist() == [100] * 10


@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_train_and_test_share_no_image_and_do_not_depend_on_the_seed(name):
    a, b = load(name), load(name, seed=7)
    assert torch.equal(a.train.images, b.train.images) and torch.equal(a.test.images, b.test.images)
    seen = {image.numpy().tobytes() for image in a.train.images}
    assert not any(image.numpy().tobytes() in seen for image in a.test.images)
    assert (len(a.train), len(a.test), a.image_shape) == (spec(name).train_size, spec(name).test_size, spec(name).image_shape)


def test_train_subsets_are_balanced_nested_and_drawn_by_the_seed():
    small, large = (load("mnist5k", train_size=n, seed=3) for n in (200, 1000))
    assert small.train.labels.bincount().tolist() == [20] * 10
    assert len(set(small.train.index.tolist())) == 200
    assert set(small.train.index.tolist()) < set(large.train.index.tolist())
    assert torch.equal(small.train.index, load("mnist5k", train_size=200, seed=3).train.index)
    assert not torch.equal(small.train.index, load("mnist5k", train_size=200, seed=4).train.index)
    everything = load("mnist5k").train
    assert torch.equal(small.train.images, everything.images[small.train.index])
    assert len(set(small.train.labels[:30].tolist())) > 5  # not sorted by class


def test_test_subsets_are_balanced_and_the_same_for_every_seed():
    a, b = (load("mnist5k", test_size=100, seed=s).test for s in (0, 1))
    assert torch.equal(a.images, b.images) and a.labels.bincount().tolist() == [10] * 10


@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_test_subsets_are_spread_evenly_over_each_class(name):
    """The k-th of K images of a class stands within one of the middle of the k-th of K equal parts."""
    everything, some = load(name).test.labels, load(name, test_size=70).test
    for label in range(10):
        members = torch.nonzero(everything == label).flatten().tolist()
        ranks = [members.index(i) for i in some.index[some.fine_labels == label].tolist()]
        assert [abs(rank - (k + 0.5) * len(members) / 7) <= 1 for k, rank in enumerate(ranks)] == [True] * 7


@pytest.mark.parametrize(("share", "of_ten"), [(0.04, 0), (0.05, 1), (0.24, 2), (0.25, 3), (0.26, 3), (0.29, 3), (0.89, 9), (0.96, 10)])
def test_a_share_of_the_labels_is_rounded_to_the_nearest_image(share, of_ten):
    train = load("digits", train_size=100, label_noise=share).train
    changed = train.clean_labels[train.labels != train.clean_labels]
    assert torch.bincount(changed, minlength=10).tolist() == [of_ten] * 10


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_noise_is_this_share_of_each_class_and_never_the_class_itself(share):
    data = load("mnist5k", train_size=1000, label_noise=share, seed=5)
    changed = data.train.labels != data.train.clean_labels
    per_class = torch.bincount(data.train.clean_labels[changed], minlength=10)
    assert per_class.tolist() == [round(share * 100)] * 10
    assert torch.equal(data.test.labels, data.test.clean_labels)
    assert torch.equal(data.train.clean_labels, data.train.fine_labels)
    same, other = (load("mnist5k", train_size=1000, label_noise=share, seed=s).train for s in (5, 6))
    assert torch.equal(same.labels, data.train.labels) and not torch.equal(other.labels, data.train.labels)
    less = load("mnist5k", train_size=1000, label_noise=share / 2, seed=5).train
    assert not ((less.labels != less.clean_labels) & ~changed).any()


def test_the_noise_is_uniform_over_the_other_classes():
    clean = torch.arange(4).repeat(30_000)
    noisy = _noisy(clean, 0.9, 4, seed=0)
    table = torch.bincount(4 * clean + noisy, minlength=16).reshape(4, 4).float()
    off = table[~torch.eye(4, dtype=torch.bool)]
    assert table.diagonal().tolist() == [3000] * 4
    assert (((off - 9000) ** 2 / 9000).sum() < 35).item()  # chi-squared, 8 degrees of freedom: exceeded with probability 3e-5


@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_coarse_labels_follow_the_table(name):
    data = load(name, coarse=True, label_noise=0.25, train_size=400)
    assert (data.num_classes, data.class_names) == (2, ("0 to 4", "5 to 9"))
    assert torch.equal(data.train.clean_labels, (data.train.fine_labels >= 5).long())
    assert data.coarse_of_fine.tolist() == [0] * 5 + [1] * 5
    assert len(data.fine_class_names) == 10
    changed = data.train.labels != data.train.clean_labels  # noise is on the labels in use
    assert torch.bincount(data.train.clean_labels[changed]).tolist() == [50, 50]


def test_every_coarse_table_names_each_class_once():
    for preset in PRESETS.values():
        if preset.coarse:
            assert sorted(f for _, fine in preset.coarse for f in fine) == list(range(preset.num_classes))


def test_normalisation_uses_the_train_images_in_use_only():
    data = load("digits", train_size=500, test_size=100)
    pixels = data.train.images.double() / 255
    assert torch.allclose(data.mean.double(), pixels.mean((0, 2, 3)), rtol=1e-7)
    assert torch.allclose(data.std.double(), pixels.std((0, 2, 3), correction=0), rtol=1e-7)
    assert not torch.equal(data.mean, load("digits", train_size=100).mean)
    assert torch.equal(data.mean, load("digits", train_size=500, test_size=10).mean)
    x = data.normalise(data.train.images)
    assert x.dtype == torch.float32 and abs(x.double().mean()) < 1e-6 and abs(x.double().std(correction=0) - 1) < 1e-6
    assert torch.allclose(data.test.normalise(data.test.images), (data.test.images / 255 - data.mean) / data.std, atol=1e-6)


@pytest.mark.parametrize("drop_last", [False, True])
def test_images_that_are_kept_ready_are_the_same_to_the_last_bit_and_stay_so(monkeypatch, drop_last):
    def batches():
        split = load("digits", train_size=50).train
        return [x for x, _ in split.batches(20, generator=child_generator(1, "batches"), drop_last=drop_last)], split

    ready, split = batches()
    assert split._ready is not None and torch.equal(split._ready, split.normalise(split.images))
    for x in ready:
        x.zero_()  # whoever gets a batch may change it
    assert torch.equal(split._ready, split.normalise(split.images))
    monkeypatch.setattr("ncbook.data.datasets.READY", 0)
    made, split = batches()
    again, _ = batches()
    assert split._ready is None and len(made) == len(ready) == (2 if drop_last else 3)
    monkeypatch.undo()
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(made, again, batches()[0], strict=True))


def test_batches_cover_the_split_in_order_or_shuffled_by_the_generator():
    data = load("digits", train_size=100)
    ordered = list(data.train.batches(32))
    assert [len(y) for _, y in ordered] == [32, 32, 32, 4]
    assert torch.equal(torch.cat([x for x, _ in ordered]), data.normalise(data.train.images))
    assert torch.equal(torch.cat([y for _, y in ordered]), data.train.labels)
    assert [len(y) for _, y in data.train.batches(32, drop_last=True)] == [32, 32, 32]
    assert [len(y) for _, y in data.train.batches(50, drop_last=True)] == [50, 50]
    assert list(data.train.batches(101, drop_last=True)) == []
    one, two, three = (torch.cat([x for x, _ in data.train.batches(32, generator=child_generator(s, "b"))]) for s in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, three)
    rows = sorted(r.numpy().tobytes() for r in one)
    assert rows == sorted(r.numpy().tobytes() for r in data.normalise(data.train.images))


def test_what_load_returns_is_the_callers_own():
    load("digits").train.images.zero_()
    assert load("digits").train.images.any()


BAD = [
    ("digits", {"train_size": 1005}, r"multiple of its 10 classes, at most 1240"),
    ("digits", {"train_size": 1250}, r"at most 1240 \(the largest balanced size\)"),
    ("digits", {"test_size": 501}, r"at most 500"),
    ("digits", {"train_size": 0}, "train_size must be a whole number of at least 1"),
    ("digits", {"train_size": -10}, "train_size"),
    ("digits", {"train_size": 100.0}, "train_size"),
    ("digits", {"train_size": True}, "train_size"),
    ("digits", {"train_size": "100"}, "train_size"),
    ("digits", {"test_size": 0}, "test_size"),
    ("digits", {"label_noise": 1.0}, "label_noise"),
    ("digits", {"label_noise": -0.1}, "label_noise"),
    ("digits", {"label_noise": float("nan")}, "label_noise"),
    ("digits", {"label_noise": "0.1"}, "label_noise"),
    ("digits", {"label_noise": True}, "label_noise"),
    ("digits", {"coarse": 1}, "coarse must be true or false"),
    ("digits", {"seed": 1.5}, "seed must be a whole number"),
    ("digits", {"seed": None}, "seed"),
    ("digit", {}, "did you mean 'digits'"),
    ("Digits ", {}, "unknown dataset"),
    ("", {}, "unknown dataset"),
    (None, {}, "by its name"),
    (5, {}, "by its name"),
    ("digits:", {}, "takes no options"),
    ("mnist:x=1", {}, "takes no options"),
    ("folder:", {}, "needs a path"),
    ("folder", {}, "needs a path"),
    ("gaussian", {"coarse": True}, "no coarse classes"),
    ("gaussian", {"train_size": 15}, "use 10 or 20"),
    ("gaussian:", {}, "unknown option of gaussian"),
    ("gaussian:classes=1", {}, "at least 2"),
    ("gaussian:classes=x", {}, "classes must be a whole number"),
    ("gaussian:clases=3", {}, "did you mean 'classes'"),
    ("gaussian:dim=8", {}, "dim of at least 9"),
    ("gaussian:separation=nan", {}, "separation must be a positive number"),
    ("gaussian:dim=64,dim=65", {}, "twice"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD)
def test_hostile_parameters_are_one_sentence(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        load(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 2.0}, {"batch_size": 8, "augment": "crop"}])
def test_hostile_batches_fail_at_the_call(options):
    with pytest.raises(InputError):
        load("digits", train_size=100).train.batches(**options)


def test_numpy_integers_are_whole_numbers():
    assert len(load("digits", train_size=np.int64(100), seed=np.int32(3)).train) == 100


def test_named_streams_are_reproducible_and_touch_no_global_state():
    before = torch.get_rng_state()
    a = torch.rand(4, generator=child_generator(3, "noise"))
    load("digits", train_size=100, label_noise=0.1)
    list(load("gaussian", train_size=100).train.batches(10, generator=child_generator(0, "b")))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a, torch.rand(4, generator=child_generator(3, "noise")))
    seeds = {child_seed(s, n) for s in range(50) for n in "abcdefgh"}
    assert len(seeds) == 400 and all(0 <= s < 2**63 for s in seeds)
