"""Files and folders that a kill or a power cut leaves whole: the old content or the new one, never a part and never nothing.

No system call exchanges two folders everywhere, so `replace` needs two renames: the old folder steps aside as ``.NAME.old`` and the new
one, written as ``.NAME.new``, takes its place. Whoever is killed in between leaves no ``NAME``; `recover` then puts the old one back. It is
called before a folder is read or written (see ``_alone`` in `ncbook.cli`), and under the same lock, since it takes what it finds for the
remains of a command that has ended.
"""

import os
import shutil
from pathlib import Path

from ncbook.errors import InputError


def write(path: Path, content: bytes) -> None:
    """Write a new file and wait until the disk has it: a rename that outlives the content would be half a file."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(target: Path, files: dict[str, bytes]) -> None:
    """Put a folder of these files in the place of `target`, or make it where there is none."""
    new, old = _aside(target)
    recover(target.parent)
    try:
        new.mkdir()
        for name, content in files.items():
            write(new / name, content)
        _sync(new)
        if target.exists():
            target.rename(old)
        new.rename(target)
        _sync(target.parent)  # before the old one goes
        _sync(target.parent.parent)
    finally:  # also of an error, such as a full disk
        recover(target.parent)


def recover(folder: Path) -> None:
    """Put back what a killed `replace` below `folder` had moved aside, and remove what it left."""
    for new in folder.glob(".*.new"):
        shutil.rmtree(new)
    for old in folder.glob(".*.old"):
        target = folder / old.name[1 : -len(".old")]
        try:
            if not target.exists():
                old.rename(target)
                _sync(folder)
                continue
        except OSError as error:
            raise InputError(
                f"{target} was being replaced when a command was killed, and cannot be put back: rename {old} by hand ({error.strerror})."
            ) from error
        new, _ = _aside(target)
        old.rename(new)  # so that an ``.old`` is always whole
        shutil.rmtree(new)


def _aside(target: Path) -> tuple[Path, Path]:
    return target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")


def _sync(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
