"""`load`: a set by its name, cut to size, relabelled and ready to be drawn from in batches, as uint8 on the device.

One epoch of it::

    dataset = load("mnist5k", train_size=2000, label_noise=0.1, seed=3)
    for x, y in dataset.train.batches(128, generator=child_generator(3, "batches")):
        ...  # x (B, channels, H, W) float32, normalised; y (B,) int64
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ncbook.data import gaussian, glyphs
from ncbook.data.augment import augmentation
from ncbook.data.presets import DatasetSpec, spec
from ncbook.data.sources import LARGE, Pool, Source, source
from ncbook.errors import InputError
from ncbook.seeds import child_generator, child_seed

READY = 2**27  # bytes of a split's normalised images that are kept beside its own


@dataclass(frozen=True)
class Split:
    """The images in use of one side of a set, on one device, with their labels (all (N,) int64)."""

    images: Tensor  # (N, channels, H, W) uint8; float32 for the generated set
    labels: Tensor  # what a network is trained on: coarse and noisy where asked for
    clean_labels: Tensor  # the same before label noise
    fine_labels: Tensor  # the set's own classes
    index: Tensor  # position of each image in its source (for `digits` and `mnist5k`: among the images of its side)
    mean: Tensor  # (channels,) float32, of the train images in use, on the scale of `normalise`
    std: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def normalise(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) to float32: uint8 ones divided by 255; minus the mean, over the deviation of each channel."""
        unit = 255 if images.dtype == torch.uint8 else 1
        return images.to(torch.float32, copy=True).sub_(unit * self.mean[:, None, None]).div_(unit * self.std[:, None, None])

    def batches(
        self, batch_size: int, *, generator: torch.Generator | None = None, augment: str | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the split as (x (B, channels, H, W) float32 normalised, y (B,) int64), both on the device.

        In the order of the split, or shuffled when a `generator` is given; `augment` is a name of `AUGMENTATIONS` and draws from it.
        A CPU generator gives the same batches on every device. `drop_last` leaves out a last batch that is not full.
        """
        batch_size = _whole("batch_size", batch_size)
        function = augmentation(augment) if augment is not None else None
        if function is not None and generator is None:
            raise InputError(f"augment={augment!r} draws at random: give a generator as well")
        if function is not None and self.images.dtype != torch.uint8:
            raise InputError(f"augment={augment!r} is for images; the generated set holds vectors")
        return self._pass(batch_size, generator, function, drop_last)

    @cached_property
    def _ready(self) -> Tensor | None:
        """All images as they are in batches, where they are few enough to be kept so: it saves three operations a step."""
        return self.normalise(self.images) if 4 * self.images.numel() <= READY else None

    def _pass(self, batch_size, generator, function, drop_last) -> Iterator[tuple[Tensor, Tensor]]:
        order = ready = None
        if generator is not None:
            order = torch.randperm(len(self), generator=generator, device=generator.device).to(self.images.device)
            ready = self._ready if function is None else None
        for start in range(0, len(self) - batch_size + 1 if drop_last else len(self), batch_size):
            here = slice(start, start + batch_size) if order is None else order[start : start + batch_size]
            if ready is not None:
                yield ready[here], self.labels[here]
            else:
                images = self.images[here] if function is None else function(self.images[here], generator)
                yield self.normalise(images), self.labels[here]


@dataclass(frozen=True)
class Dataset:
    """A set as `load` gives it."""

    name: str
    train: Split
    test: Split
    num_classes: int  # of the labels in use: the coarse ones with coarse=True
    class_names: tuple[str, ...]
    fine_class_names: tuple[str, ...]
    coarse_of_fine: Tensor | None  # (fine classes,) int64: the coarse class of each; None unless coarse=True
    bayes_error: float | None  # the least possible test error, where it is known: the generated set

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def mean(self) -> Tensor:
        """Mean of each channel of the train images in use (channels,), pixels on a scale of 0 to 1."""
        return self.train.mean

    @property
    def std(self) -> Tensor:
        """Standard deviation of each channel, as `mean`."""
        return self.train.std

    def normalise(self, images: Tensor) -> Tensor:
        """`Split.normalise`: the same for train and test, with statistics of the train images alone."""
        return self.train.normalise(images)


def load(
    name: str,
    *,
    train_size: int | None = None,
    test_size: int | None = None,
    label_noise: float = 0.0,
    coarse: bool = False,
    seed: int = 0,
    device: str | torch.device = "cpu",
    root: str | os.PathLike | None = None,
    download: bool = False,
) -> Dataset:
    """Load a set by the name that `spec` knows.

    `train_size`, `test_size`: so many images, the same number of each (fine) class; all of them, as the set has them, by default.
    The train subset is drawn with `seed`, and a smaller one is part of a larger one; the test subset does not depend on the seed.
    `label_noise`: this share of each class's train labels, rounded to whole images, becomes another class, all others equally likely;
    a smaller share of the same subset is part of a larger one. Test labels are never touched.
    `coarse`: labels are the groups of classes of `spec(name).coarse`, the 20 superclasses for ``cifar100``.
    `root`: see `data_root`. `download`: fetch what is missing; otherwise nothing is ever downloaded, and a missing file is an `InputError`.

    >>> digits = load("digits", train_size=1000)
    >>> tuple(digits.train.images.shape), len(digits.test), digits.num_classes
    ((1000, 1, 8, 8), 500, 10)
    """
    dataset = spec(name)
    child_seed(seed, "")  # a seed that is not a whole number is refused here, for every set
    if isinstance(label_noise, bool) or not isinstance(label_noise, (int, float)) or not 0 <= label_noise < 1:
        raise InputError(f"label_noise must be a share from 0 up to but not including 1, not {label_noise!r}")
    if not isinstance(coarse, bool):
        raise InputError(f"coarse must be true or false, not {coarse!r}")
    if coarse and (dataset.options or dataset.path):
        raise InputError(f"{dataset.name} has no coarse classes")
    for argument, size in (("train_size", train_size), ("test_size", test_size)):
        if size is not None:
            _whole(argument, size)
    if download and dataset.torchvision:
        from ncbook.data.download import fetch

        fetch(dataset, root)
    if dataset.options:
        read_in = _generated(dataset, train_size, test_size, seed)
    else:
        read_in = source(dataset, root=root)
    train = read_in.train, _train_subset(read_in.train, train_size, seed, dataset, len(read_in.class_names))
    test = read_in.test, _test_subset(read_in.test, test_size, dataset, len(read_in.class_names))
    coarse_of_fine = _coarse_of_fine(read_in) if coarse else None
    class_names = tuple(n for n, _ in read_in.coarse) if coarse else read_in.class_names
    mean, std = _statistics(read_in.train.images, train[1])

    def split(pool: Pool, index: Tensor, noise: float) -> Split:
        fine = pool.labels[index]
        clean = fine if coarse_of_fine is None else coarse_of_fine[fine]
        labels = _noisy(clean, noise, len(class_names), seed)
        # a folder that lies on disk stays there if all of it is in use, in its own order
        stays = pool.images.numel() > LARGE and torch.equal(index, torch.arange(len(pool.labels)))
        images = pool.images if stays else pool.images[index]
        return Split(*(t.to(device) for t in (images, labels, clean, fine, index, mean, std)))

    return Dataset(
        name=dataset.name,
        train=split(*train, float(label_noise)),
        test=split(*test, 0.0),
        num_classes=len(class_names),
        class_names=class_names,
        fine_class_names=read_in.class_names,
        coarse_of_fine=None if coarse_of_fine is None else coarse_of_fine.to(device),
        bayes_error=gaussian.bayes_error(dataset.options["classes"], dataset.options["separation"])
        if "separation" in dataset.options
        else None,
    )


def _whole(argument: str, value: int) -> int:
    try:
        if isinstance(value, bool) or operator.index(value) < 1:
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise InputError(f"{argument} must be a whole number of at least 1, not {value!r}") from None


def _generated(dataset: DatasetSpec, train_size: int | None, test_size: int | None, seed: int) -> Source:
    """A generated set has no end: exactly what is asked for is drawn, anew for each seed, train and test from streams of their own."""
    classes = dataset.num_classes
    sizes = {"train": train_size or dataset.train_size, "test": test_size or dataset.test_size}
    for split, size in sizes.items():
        if size % classes:
            near = f"{classes * max(1, size // classes)} or {classes * (size // classes + 1)}"
            raise InputError(f"{split}_size={size} of {dataset.name}: it must be a multiple of its {classes} classes; use {near}")
    made_by = glyphs if dataset.package else gaussian
    train, test = (
        Pool(*made_by.draw(**dataset.options, per_class=size // classes, seed=seed, split=split)) for split, size in sizes.items()
    )
    return Source(train, test, made_by.names(classes), ())


def _per_class(split: str, labels: Tensor, size: int, dataset: DatasetSpec, classes: int) -> int:
    """How many of each class make `size`; an `InputError` that says the largest balanced size where that cannot be."""
    size, most = operator.index(size), int(torch.bincount(labels, minlength=classes).min())
    if size % classes or size > classes * most:
        raise InputError(
            f"{split}_size={size} of {dataset.name}: it must be a multiple of its {classes} classes, "
            f"at most {classes * most} (the largest balanced size)"
        )
    return size // classes


def _members(labels: Tensor, classes: int) -> list[Tensor]:
    return [torch.nonzero(labels == c).flatten() for c in range(classes)]


def _train_subset(pool: Pool, size: int | None, seed: int, dataset: DatasetSpec, classes: int) -> Tensor:
    """Positions of a balanced subset, in the random order it was drawn in; nested over sizes: the order is drawn before the size counts."""
    if size is None or dataset.options:
        return torch.arange(len(pool.labels))
    count = _per_class("train", pool.labels, size, dataset, classes)
    order = torch.randperm(len(pool.labels), generator=child_generator(seed, "data/train subset"))  # (N,)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    keep = torch.cat([members[rank[members].argsort()[:count]] for members in _members(pool.labels, classes)])
    return keep[rank[keep].argsort()]


def _test_subset(pool: Pool, size: int | None, dataset: DatasetSpec, classes: int) -> Tensor:
    """Positions of a balanced subset, evenly spaced within each class: MNIST's second half was written by other people than its first."""
    if size is None or dataset.options:
        return torch.arange(len(pool.labels))
    count = _per_class("test", pool.labels, size, dataset, classes)
    chosen = [m[(2 * torch.arange(count) + 1) * len(m) // (2 * count)] for m in _members(pool.labels, classes)]
    return torch.cat(chosen).sort().values


def _coarse_of_fine(read_in: Source) -> Tensor:
    table = torch.full((len(read_in.class_names),), -1)
    for i, (_, members) in enumerate(read_in.coarse):
        table[list(members)] = i
    return table


def _noisy(clean: Tensor, share: float, classes: int, seed: int) -> Tensor:
    """Symmetric label noise: round(share * n) of the n labels of each class become one of the other classes, uniformly."""
    if not share:
        return clean
    generator = child_generator(seed, "data/label noise")
    order = torch.randperm(len(clean), generator=generator)
    step = torch.randint(1, classes, clean.shape, generator=generator)  # 1 ... C-1: never the class itself
    noisy = clean.clone()
    for c in range(classes):
        members = order[clean[order] == c]
        flipped = members[: math.floor(share * len(members) + 0.5)]
        noisy[flipped] = (clean[flipped] + step[flipped]) % classes
    return noisy


def _statistics(images: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel (channels,), float32, of the images at `index`, pixels on a scale of 0 to 1.

    From counts of the 256 values, in float64: exact to rounding, and the same whatever the order of the images.
    """
    if images.dtype != torch.uint8:
        std, mean = torch.std_mean(images[index].double(), dim=(0, 2, 3), correction=0)
    else:
        counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
        for some in index.split(4096):
            for channel, pixels in enumerate(images[some].unbind(1)):
                counts[channel] += torch.bincount(pixels.flatten(), minlength=256)
        values, counted = torch.arange(256, dtype=torch.float64) / 255, counts.double()
        mean = counted @ values / counted.sum(1)
        std = ((counted * (values - mean[:, None]) ** 2).sum(1) / counted.sum(1)).sqrt()
    # a channel without any variation would divide by zero: it is only centred
    return mean.float(), torch.where(std > 0, std, torch.ones_like(std)).float()
