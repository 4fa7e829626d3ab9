"""Read each set as it is: all its images as uint8 tensors, before anything is selected, relabelled or normalised.

Why not torchvision's readers, when its downloaders are used: they open the files again after any check, do not check MNIST's unpacked files
at all, and hand CIFAR's to `pickle`, which runs whatever code a file asks for. Here the bytes that were checked are those that are parsed.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import warnings
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncbook import settings
from ncbook.data.files import IMAGE_FORMATS, folder, locate, read
from ncbook.data.presets import DatasetSpec, spec
from ncbook.errors import InputError


@dataclass(frozen=True)
class Pool:
    """All the images of a split: (N, channels, H, W) uint8, and their fine labels (N,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Source:
    """A whole set: its two pools, the names of its classes, and its coarse classes as (name, fine classes)."""

    train: Pool
    test: Pool
    class_names: tuple[str, ...]
    coarse: tuple[tuple[str, tuple[int, ...]], ...]


def source(dataset: DatasetSpec, *, root: str | os.PathLike | None = None) -> Source:
    """Read a set; an `InputError` names a file that is missing, truncated, altered or not an image."""
    if dataset.path:
        return _folder(dataset, root)
    if dataset.package:
        return _embedded(dataset.name, str(locate(dataset, dataset.files[0])))
    if dataset.name in ("cifar10", "cifar100"):
        return _cifar(dataset, root)
    images, labels, test_images, test_labels = (read(dataset, file, root) for file in dataset.files)
    return Source(_idx(dataset, images, labels), _idx(dataset, test_images, test_labels), dataset.class_names, dataset.coarse)


def split_positions(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Which images are set aside as a test set: `per_class` of each class, evenly spaced in the order of the file; sorted positions.

    Of a class's n images the k-th of K is number floor((2k + 1) n / 2K). No generator is involved, so the split is the same for every seed
    and version; spacing spreads it over the writers of `digits`, which the file holds one after another.

    >>> split_positions(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2)
    array([1, 3, 5, 7])
    """
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(members[(2 * np.arange(per_class) + 1) * len(members) // (2 * per_class)])
    return np.sort(np.concatenate(chosen))


@functools.lru_cache(maxsize=2)
def _embedded(name: str, path: str) -> Source:
    """`digits` and `mnist5k`: CSV, one image a line, the label last. Kept in memory: a worker reads them for many short runs."""
    dataset = spec(name)
    channels, height, width = dataset.image_shape
    text = read(dataset, dataset.files[0]).decode().replace("\n", ",").rstrip(",")
    table = np.fromstring(text, dtype=np.int64, sep=",").reshape(-1, height * width + 1)
    # digits counts 0 ... 16: times 15 uses the range of a uint8 (0 ... 240) and loses nothing
    pixels = (table[:, :-1] * (15 if name == "digits" else 1)).astype(np.uint8).reshape(-1, channels, height, width)
    labels = table[:, -1]
    test = np.zeros(len(labels), dtype=bool)
    test[split_positions(labels, dataset.test_per_class)] = True
    train_pool, test_pool = (Pool(torch.from_numpy(pixels[part]), torch.from_numpy(labels[part])) for part in (~test, test))
    return Source(train_pool, test_pool, dataset.class_names, dataset.coarse)


def _idx(dataset: DatasetSpec, images: bytes, labels: bytes) -> Pool:
    """MNIST's format: 16 and 8 bytes of header, known once the checksum has matched, then one byte a value."""
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, *dataset.image_shape)
    return Pool(torch.from_numpy(pixels.copy()), torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)))


def _cifar(dataset: DatasetSpec, root: str | os.PathLike | None) -> Source:
    parts = {Path(file.path).name: _unpickle(read(dataset, file, root)) for file in dataset.files}
    meta = parts.pop("batches.meta" if dataset.name == "cifar10" else "meta")
    test = parts.pop("test_batch" if dataset.name == "cifar10" else "test")
    train = list(parts.values())

    def pool(batches: list[dict], key: str) -> Pool:
        pixels = np.concatenate([b[b"data"] for b in batches]).reshape(-1, *dataset.image_shape)
        return Pool(torch.from_numpy(pixels), torch.tensor([label for b in batches for label in b[key.encode()]]))

    def names(key: str) -> tuple[str, ...]:
        return tuple(name.decode() for name in meta[key.encode()])

    if dataset.name == "cifar10":
        return Source(pool(train, "labels"), pool([test], "labels"), names("label_names"), dataset.coarse)
    pairs = sorted(set(zip(train[0][b"coarse_labels"], train[0][b"fine_labels"], strict=True)))
    coarse = tuple((name, tuple(f for c, f in pairs if c == i)) for i, name in enumerate(names("coarse_label_names")))
    return Source(pool(train, "fine_labels"), pool([test], "fine_labels"), names("fine_label_names"), coarse)


def _unpickle(content: bytes) -> dict:
    # Python 2 wrote these files: its texts stay bytes, since one of them holds all the pixels
    return _Arrays(io.BytesIO(content), encoding="bytes").load()


class _Arrays(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, texts and NumPy arrays, and calls nothing else, whatever a file asks for."""

    def find_class(self, module: str, name: str):
        allowed = {
            # names as NumPy 1 wrote them; looked up in `numpy.core` they would warn of its new place
            ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): lambda code, align=0, copy=1: np.dtype(code, align=bool(align), copy=bool(copy)),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")
        return allowed[module, name]


def _folder(dataset: DatasetSpec, root: str | os.PathLike | None) -> Source:
    """``folder:PATH``: every image is decoded into memory; grey if all are grey, else RGB; all must have one size."""
    found = folder(dataset, root)
    # a command has said it once already, before its workers and kernels, which read the folder as well, had started
    if (said := found.said()) and parent_process() is None and not settings.current().session:
        warnings.warn(f"{dataset.name}: {said}", stacklevel=4)
    images_of = found.images
    names = tuple(images_of["train"])
    listed = {split: [(file, i) for i, files in enumerate(classes.values()) for file in files] for split, classes in images_of.items()}
    images = {split: [_decode(file) for file, _ in files] for split, files in listed.items()}
    everything = [*zip(images["train"], listed["train"], strict=True), *zip(images["test"], listed["test"], strict=True)]
    first, (first_file, _) = everything[0]
    for image, (file, _) in everything:
        if image.size != first.size:
            sizes = [f"{w} x {h}" for w, h in (image.size, first.size)]
            raise InputError(f"{file} is {sizes[0]} pixels, {first_file} {sizes[1]}: all images must have one size; resize them first")
    mode = "L" if all(image.mode == "L" for image, _ in everything) else "RGB"

    def pool(split: str) -> Pool:
        pixels = np.stack([np.asarray(image.convert(mode)) for image in images[split]])  # (N, H, W) or (N, H, W, 3)
        pixels = pixels[:, None] if mode == "L" else pixels.transpose(0, 3, 1, 2)
        return Pool(torch.from_numpy(np.ascontiguousarray(pixels)), torch.tensor([label for _, label in listed[split]]))

    return Source(pool("train"), pool("test"), names, ())


def _decode(file: Path):
    """A Pillow image of mode L or RGB, as a viewer shows it: turned as its camera says, what is transparent on white.

    An `InputError` names a file that cannot be decoded or has more than 8 bits a channel. Of all that Pillow knows, only formats of pixels
    are read: others are programs (PostScript) or start one.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            image.load()
            mode = image.mode
            if mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
                image = ImageOps.exif_transpose(image)
                if mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
                    above = image.convert("RGBA")
                    image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
                return image.convert("L" if mode in ("1", "L", "LA") else "RGB")
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error and others, by format
        raise InputError(f"{file} is not an image that can be read ({error})") from error
    raise InputError(f"{file} has pixels of type {mode}; save it with 8 bits a channel")
