"""`fetch`: get a set through torchvision's downloader, aside first, checked, and only then into place.

Nothing else in the package uses the network. A killed download leaves a folder ``.fetch-…``, which nothing reads and the next removes.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

from filelock import FileLock

from ncbook.data.files import check, data_root, locate, read
from ncbook.data.presets import DatasetSpec, spec
from ncbook.errors import InputError


def fetch(name: str | DatasetSpec, root: str | os.PathLike | None = None) -> list[Path]:
    """Download a set into the data root (see `data_root`) unless it is there and whole; the files that were put in place, maybe none.

    A damaged file is replaced. An `InputError` says what to do where the network, the folder or the download is not usable.
    """
    dataset = spec(name)
    if dataset.path:
        raise InputError(f"{dataset.name} cannot be fetched: {dataset.how_to_get}")
    if not dataset.torchvision:
        check(dataset, root)
        return []
    if _is_whole(dataset, root):
        return []
    folder = data_root(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".fetch.lock"):
            if _is_whole(dataset, root):  # another process fetched it while this one waited
                return []
            for left in folder.glob(".fetch-*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as aside:
                _download(dataset, aside, folder)
                return _into_place(dataset, Path(aside), folder)
    except OSError as error:
        raise InputError(
            f"cannot write {dataset.name} to {folder} ({error.strerror or error}); make it writable, or set NCBOOK_DATA to a folder that is"
        ) from error


def _is_whole(dataset: DatasetSpec, root) -> bool:
    try:
        return bool(check(dataset, root))
    except InputError:
        return False


def _download(dataset: DatasetSpec, aside: str, folder: Path) -> None:
    from ncbook.torchvision_compat import torchvision

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60)  # torchvision sets none: a network that swallows packets would hang for ever
    try:
        getattr(torchvision.datasets, dataset.torchvision)(aside, train=True, download=True)
    except Exception as error:  # RuntimeError, URLError, TarError, EOFError, ...: by version, mirror and kind of file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"cannot download {dataset.name}: {reason.rstrip('.')}. "
            f"Connect to the internet, or copy {Path(dataset.files[0].path).parts[0]}/ from a machine that has it into {folder}"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


def _into_place(dataset: DatasetSpec, aside: Path, folder: Path) -> list[Path]:
    """Check all the files, then rename each: a reader sees a whole file or none."""
    for file in dataset.files:
        try:
            read(dataset, file, aside)
        except InputError as error:
            raise InputError(f"what was downloaded for {dataset.name} is not what was published, and was discarded: {error}") from error
    for file in dataset.files:
        target = locate(dataset, file, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside / file.path, target)
    return [locate(dataset, file, folder) for file in dataset.files]
