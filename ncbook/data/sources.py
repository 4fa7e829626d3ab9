"""Read each set as it is: all its images as uint8 tensors, before anything is selected, relabelled or normalised.

Why not torchvision's readers, when its downloaders are used: they open the files again after any check, do not check MNIST's unpacked files
at all, and hand CIFAR's to `pickle`, which runs whatever code a file asks for. Here the bytes that were checked are those that are parsed.
"""

from __future__ import annotations

import functools
import io
import math
import os
import pickle
import warnings
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from ncbook import settings
from ncbook.data.files import IMAGE_FORMATS, data_root, fingerprint, folder, locate, read
from ncbook.data.presets import DatasetSpec, spec
from ncbook.errors import InputError

LARGE = 2**30  # bytes of the images of a folder that are kept in memory, by each process for itself
GREY = ("1", "L", "LA")  # modes of Pillow


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
    """``folder:PATH``: every image is decoded once; grey if all are grey, else RGB; all must have one size. More than `LARGE` bytes of
    them stay on disk."""
    found = folder(dataset, root)
    # a command has said it once already, before its workers and kernels, which read the folder as well, had started
    if (said := found.said()) and parent_process() is None and not settings.current().session:
        warnings.warn(f"{dataset.name}: {said}", stacklevel=4)
    names = tuple(found.images["train"])
    files = [file for split in ("train", "test") for of_class in found.images[split].values() for file in of_class]
    labels = {
        split: torch.tensor([i for i, of_class in enumerate(found.images[split].values()) for _ in of_class]) for split in found.images
    }
    width, height = _decode(files[0]).size
    shape = len(files), 1 if all(_is_grey(file) for file in files) else 3, height, width
    if math.prod(shape) <= LARGE:
        pixels = _decoded(files, np.empty(shape, np.uint8))
    else:
        pixels = _on_disk(files, shape, data_root(root) / ".decoded" / f"{fingerprint(dataset.name, root)}.npy")
    with warnings.catch_warnings(action="ignore"):  # that nobody may write to a file; nobody does
        images = torch.from_numpy(pixels)
    train = len(labels["train"])
    return Source(Pool(images[:train], labels["train"]), Pool(images[train:], labels["test"]), names, ())


def _on_disk(files: list[Path], shape: tuple, kept: Path) -> np.ndarray:
    """The pixels as a file that all processes read, of which the system keeps in memory what there is room for."""
    if (pixels := _kept(kept, shape)) is not None:
        return pixels
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):  # one process decodes, the others wait
            if (pixels := _kept(kept, shape)) is None:
                aside = kept.with_suffix(".new")
                _decoded(files, np.lib.format.open_memmap(aside, "w+", np.uint8, shape)).flush()
                aside.replace(kept)
                pixels = np.load(kept, mmap_mode="r")
            return pixels
    except OSError as error:
        raise InputError(
            f"the images take {math.prod(shape) / 2**30:.1f} GiB, and cannot be kept in {kept.parent} ({error.strerror or error}); "
            "make room there, or set NCBOOK_DATA to a folder that has it"
        ) from error


def _kept(place: Path, shape: tuple) -> np.ndarray | None:
    """The pixels in a file; None where there is none, or it is cut short."""
    try:
        pixels = np.load(place, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def _decoded(files: list[Path], into: Any) -> Any:
    """Decode the files into (N, channels, H, W)."""
    channels, height, width = into.shape[1:]
    for number, file in enumerate(files):
        image = _decode(file)
        if image.size != (width, height):
            sizes = [f"{w} x {h}" for w, h in (image.size, (width, height))]
            raise InputError(f"{file} is {sizes[0]} pixels, {files[0]} {sizes[1]}: all images must have one size; resize them first")
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        into[number] = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return into


def _is_grey(file: Path) -> bool:
    """Whether `_decode` gives an image of mode L: it is written at the head of the file."""
    from PIL import Image

    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return image.mode in GREY
    except Exception:  # noqa: BLE001 - `_decode` says what is wrong
        return True


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
                return image.convert("L" if mode in GREY else "RGB")
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error and others, by format
        raise InputError(f"{file} is not an image that can be read ({error})") from error
    raise InputError(f"{file} has pixels of type {mode}; save it with 8 bits a channel")
