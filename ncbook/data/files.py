"""Where the files of a set lie, whether they are what was published, and a fingerprint of their content. Imports no torch.

Nothing is parsed before its checksum has matched, and what is parsed is the very bytes that were checked: `read` returns them.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import time
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ncbook import paths, settings
from ncbook.data.presets import DataFile, DatasetSpec, spec
from ncbook.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # those of torchvision's ImageFolder
IMAGE_FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP", "GIF")  # whatever a file is called, what Pillow may take it for
DEEPEST = 50  # folders in folders


def data_root(root: str | os.PathLike | None = None) -> Path:
    """The folder that holds the sets: `root`, else ``NCBOOK_DATA``, else ``data/datasets`` of the repository. It need not exist."""
    given = root or settings.current().data
    return Path(given).expanduser().resolve() if given else paths.root() / "data" / "datasets"


def locate(dataset: DatasetSpec, file: DataFile, root: str | os.PathLike | None = None) -> Path:
    """Full path of one file of a set, in its Python package or below the data root. The package is found but not imported."""
    if not dataset.package:
        return data_root(root) / file.path
    module = find_spec(dataset.package)
    if module is None or module.origin is None:
        raise InputError(f"{dataset.name} {dataset.how_to_get}, which is not installed: pip install {_distribution(dataset)}")
    return Path(module.origin).parent / file.path


def read(dataset: DatasetSpec, file: DataFile, root: str | os.PathLike | None = None) -> bytes:
    """The content of one file of a set, unpacked if it is a ``.gz``, after its size and md5 matched; else an `InputError` that names it."""
    path = locate(dataset, file, root)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except FileNotFoundError:
        if dataset.package:
            raise InputError(f"{path} is missing: {_repair(dataset)}") from None
        raise InputError(
            f"{dataset.name} is not in {data_root(root)}: {file.path} is missing; run `ncbook data fetch {dataset.name}`, "
            "or set NCBOOK_DATA to the folder that holds it"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): {_repair(dataset)}") from error
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error})") from error
    if len(content) != file.size:
        raise InputError(f"{path} is damaged: {len(content):,} bytes instead of {file.size:,}; {_repair(dataset)}")
    # like torchvision: md5 names the published file, it defends against accidents only
    if (md5 := hashlib.md5(content, usedforsecurity=False).hexdigest()) != file.md5:
        raise InputError(f"{path} has been altered: md5 {md5} instead of {file.md5}; {_repair(dataset)}")
    return content


def _distribution(dataset: DatasetSpec) -> str:
    return {"sklearn": "scikit-learn"}.get(dataset.package, dataset.package)


def _repair(dataset: DatasetSpec) -> str:
    if dataset.package:
        return f"reinstall {_distribution(dataset)} (pip install --force-reinstall --no-deps {_distribution(dataset)})"
    return f"`ncbook data fetch {dataset.name}` replaces it"


def check(name: str | DatasetSpec, root: str | os.PathLike | None = None) -> list[Path]:
    """Read every file of a set and compare size and md5 with the published ones; the files, or an `InputError` that names the first bad.

    For ``folder:PATH`` the layout is checked here and each image when it is decoded.
    """
    dataset = spec(name)
    if dataset.path:
        return [file for split in folder(dataset, root).images.values() for files in split.values() for file in files]
    for file in dataset.files:
        read(dataset, file, root)
    return [locate(dataset, file, root) for file in dataset.files]


def fingerprint(name: str, root: str | os.PathLike | None = None) -> str:
    """16 hex digits for the content of a set, as part of the key of a cached run.

    Sets with published checksums: the digest of those. No file is read or needed, since `load` accepts no other content; so a recorded run
    can be recognised on a machine without the data. ``gaussian``: its definition. ``folder:PATH``: names and contents of its images, hashed
    again only when a size or a time has changed.

    >>> fingerprint("digits")
    'b248f77eaf697bfc'
    """
    dataset = spec(name)
    if dataset.path:
        return _folder_fingerprint(dataset, root)
    definition = [dataset.name.partition(":")[0], dict(dataset.options), [[f.path, f.md5] for f in dataset.files]]
    return hashlib.sha256(json.dumps(definition).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Folder:
    """What lies below ``folder:PATH``: the images by split and class, and each file that is left out, with the reason."""

    images: dict[str, dict[str, list[Path]]]  # {"train": {class: [files]}, "test": ...}, all sorted
    left_out: dict[str, list[Path]]  # by reason

    def said(self) -> str:
        """How many files are left out and why, in one sentence; empty where there is none.

        >>> Folder({}, {"hidden": [Path("a/.DS_Store"), Path("b/.DS_Store")], "a link to nothing": [Path("a/1.png")]}).said()
        '3 files are left out: 2 hidden (a/.DS_Store, ...), 1 a link to nothing (a/1.png)'
        """
        reasons = [f"{len(files)} {why} ({files[0]}{', ...' * (len(files) > 1)})" for why, files in self.left_out.items()]
        count = sum(map(len, self.left_out.values()))
        return f"{count} file{'s are' if count > 1 else ' is'} left out: {', '.join(reasons)}" if count else ""


def folder(dataset: DatasetSpec, root: str | os.PathLike | None = None) -> Folder:
    """What lies below ``folder:PATH``; an `InputError` where it is not laid out as PATH/train/<class>/ and PATH/test/<class>/.

    The images of a class are those of its folder and of all folders in it, also behind links. A relative PATH starts from the data root,
    not from the current folder, which is not the same in a notebook and in a terminal.
    """
    top = data_root(root) / Path(dataset.path).expanduser()
    left_out: dict[str, list[Path]] = {}
    try:
        images = {split: _classes(top / split, left_out) for split in ("train", "test")}
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename} ({error.strerror}); folder:PATH needs PATH/train/<class>/ and PATH/test/<class>/"
            + ("" if Path(dataset.path).is_absolute() else f", and a relative PATH starts from {data_root(root)}")
        ) from error
    if alone := sorted(set(images["train"]) ^ set(images["test"])):
        raise InputError(f"{top}: train and test must hold the same classes; only one of them holds {', '.join(map(repr, alone))}")
    if len(images["train"]) < 2:
        raise InputError(f"{top}: at least two classes are needed, one folder each in train and in test")
    found = Folder(images, {why: [file.relative_to(top) for file in files] for why, files in left_out.items()})
    for split, classes in images.items():
        for label, files in classes.items():
            if not files:
                why = f"; {said}" if (said := found.said()) else ""
                raise InputError(f"{top / split / label} holds no image ({', '.join(IMAGE_SUFFIXES)}){why}")
    return found


def _classes(split: Path, left_out: dict[str, list[Path]]) -> dict[str, list[Path]]:
    classes = {}
    for place in sorted(split.iterdir()):
        if place.name.startswith(".") or not place.is_dir():
            why = "hidden" if place.name.startswith(".") else "in no class's folder"
            left_out.setdefault(why, []).append(place)
        else:
            classes[place.name] = _below(place, left_out, (split.parent.resolve(), split.resolve()))
    return classes


def _below(place: Path, left_out: dict[str, list[Path]], above: tuple[Path, ...]) -> list[Path]:
    """The images in a folder and in those in it, sorted by their paths; `above` are the folders around it, as they really are."""
    images, here = [], place.resolve()
    if len(above) > DEEPEST:
        raise InputError(f"{place}: folders lie more than {DEEPEST} deep in one another")
    for path in sorted(place.iterdir()):
        if path.name.startswith("."):
            why = "hidden"
        elif path.is_dir():
            if path.resolve() not in (*above, here):
                images += _below(path, left_out, (*above, here))
                continue
            why = "a link to a folder around it"
        elif path.is_symlink() and not path.exists():
            why = "a link to nothing"
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            why = f"not called {IMAGE_SUFFIXES[0]}, {IMAGE_SUFFIXES[1]} or another of {len(IMAGE_SUFFIXES)} known endings"
        elif not path.is_file():
            why = "no ordinary file"
        else:
            images.append(path)
            continue
        left_out.setdefault(why, []).append(path)
    return images


def _folder_fingerprint(dataset: DatasetSpec, root: str | os.PathLike | None) -> str:
    top = data_root(root) / Path(dataset.path).expanduser()
    files = {str(p.relative_to(top)): p for p in check(dataset, root)}
    stats = {name: p.stat() for name, p in files.items()}
    # the change time also moves when a file is altered and its modification time set back
    stamp = _sha256(json.dumps([[name, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()]).encode())
    cache = data_root(root) / ".fingerprints.json"
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
        if known[str(top)][0] == stamp:
            return str(known[str(top)][1])
    except (OSError, ValueError, LookupError, TypeError):
        known = {}
    now = time.time()
    try:
        digest = _sha256(json.dumps([[name, _sha256(p.read_bytes())] for name, p in files.items()]).encode())[:16]
    except OSError as error:
        raise InputError(f"cannot read {error.filename} ({error.strerror})") from error
    # a file younger than the clock's grain could change again without changing its times, so nothing is remembered about it
    if all(now - max(s.st_mtime, s.st_ctime) > 2 for s in stats.values()):
        _remember(cache, {**(known if isinstance(known, dict) else {}), str(top): [stamp, digest]})
    return digest


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _remember(cache: Path, content: dict) -> None:
    """Write beside and rename, so that a reader never sees half a file. A cache that cannot be written costs time only."""
    aside = cache.with_name(f"{cache.name}.{os.getpid()}")
    try:
        aside.write_text(json.dumps(content), encoding="utf-8")
        os.replace(aside, cache)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
