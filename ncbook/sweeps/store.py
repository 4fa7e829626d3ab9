"""The table store: one folder a finished run, ``data/runs/<experiment>/<key>/`` with ``table.csv`` and ``run.json``.

A run is there completely or not at all: it is written aside and renamed, and read only when its checksum holds.
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd

from ncbook.errors import InputError
from ncbook.paths import runs, writable


def folder(experiment: str, key: str) -> Path:
    """Where a run lives, finished or not."""
    return runs() / experiment / key


def to_csv(table: pd.DataFrame) -> str:
    """A table as text that reads back to the same digits."""
    return table.to_csv(index=False, lineterminator="\n")


def from_csv(text: str) -> pd.DataFrame:
    """The table of a text made by `to_csv`. Only the empty field is a missing value: the text "nan" or "None" stays a text.

    >>> from_csv(to_csv(pd.DataFrame({"a": [0.1, float("nan")]}))).a[0] == 0.1
    np.True_
    """
    return pd.read_csv(io.StringIO(text), float_precision="round_trip", keep_default_na=False, na_values=[""])


def read(experiment: str, key: str) -> tuple[pd.DataFrame, dict] | None:
    """A finished run's table and its ``run.json``; ``None`` when it is not there or not whole, so that it is computed again."""
    here = folder(experiment, key)
    try:
        info = json.loads((here / "run.json").read_text(encoding="utf-8"))
        text = (here / "table.csv").read_bytes()
        if hashlib.sha256(text).hexdigest() == info["sha256"]:
            return from_csv(text.decode()), info
    except (OSError, ValueError, KeyError):
        pass
    return None


def info(experiment: str, key: str) -> dict | None:
    """The ``run.json`` of a finished run, without reading its table."""
    try:
        return json.loads((folder(experiment, key) / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write(experiment: str, key: str, table: pd.DataFrame, info: dict) -> None:
    """Keep a finished run. Two processes that finish the same run keep one of the two, whole."""
    if table.empty:
        raise InputError(f"{experiment} returned an empty table; an experiment returns at least one row.")
    text = to_csv(table).encode()
    info = {**info, "sha256": hashlib.sha256(text).hexdigest()}
    target = folder(experiment, key)
    aside = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=writable(target.parent)))
    try:
        durable_write(aside / "table.csv", text)
        durable_write(aside / "run.json", (json.dumps(info, indent=1, sort_keys=True) + "\n").encode())
        if target.exists():
            shutil.rmtree(target)  # what is there could not be read, or is this very run
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def durable_write(path: Path, content: bytes) -> None:
    """Write a new file and wait until the disk has it: a rename that outlives the content would be half a run."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
