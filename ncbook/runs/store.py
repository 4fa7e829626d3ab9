"""The table store: one folder a finished run, ``data/runs/<experiment>/<key>/`` with ``table.csv`` and ``run.json``.

A run is there completely or not at all: it is written aside and renamed, and read only when its checksum, over both files, holds.
``run.json`` also holds the run's experiment, key, parameters and device, so that a run copied into the folder of another is not read.
"""

import hashlib
import io
import json
import os
import platform
import shutil
from pathlib import Path
from uuid import uuid4

import pandas as pd

from ncbook import durable
from ncbook.errors import InputError
from ncbook.paths import runs

# pandas reads back the digits that it wrote when asked to, and from 3.1 on without being asked
EXACT = {"float_precision": "round_trip"} if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1) else {}


def folder(experiment: str, key: str) -> Path:
    """The folder of a run, finished or not."""
    return runs() / experiment / key


def checkpoints(experiment: str, key: str) -> Path:
    """Where a run that is not finished keeps its checkpoints."""
    return runs() / ".checkpoints" / experiment / key


def to_csv(table: pd.DataFrame) -> str:
    """A table as text that reads back to the same digits."""
    return table.to_csv(index=False, lineterminator="\n")


def from_csv(text: str) -> pd.DataFrame:
    """The table of a text made by `to_csv`. Only the empty field is a missing value: the text "nan" or "None" stays a text.

    >>> from_csv(to_csv(pd.DataFrame({"a": [0.1, float("nan")]}))).a[0] == 0.1
    np.True_
    """
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], low_memory=False, **EXACT)


def read(experiment: str, key: str, **expected) -> tuple[pd.DataFrame, dict] | None:
    """A finished run's table and its ``run.json``; ``None`` when it is missing, damaged or of another run.

    `expected` are fields of ``run.json``, such as ``parameters``, that must be these.
    """
    if stored := read_text(experiment, key, **expected):
        text, info = stored
        try:
            return from_csv(text), info
        except ValueError:
            pass
    return None


def read_text(experiment: str, key: str, *, place: Path | None = None, **expected) -> tuple[str, dict] | None:
    """What `read` gives, the table as the text that was kept. `place`: the store's folder, for whoever reads many and asks for it once."""
    return _read(str(place or runs()), experiment, key, **expected)


def tables(texts: list[str]) -> tuple[pd.DataFrame, list[int]]:
    """The rows of several tables, one below another, and how many each has.

    Tables of one experiment have the same columns, and are then parsed at once: each by itself takes a millisecond, thousands take seconds.
    A quoted field may hold the end of a line, so that its rows are not counted by lines.
    """
    headers = {text.partition("\n")[0] for text in texts}
    if len(headers) == 1 and not any('"' in text for text in texts):
        bodies = [text.partition("\n")[2] for text in texts]
        return from_csv("\n".join([*headers, "".join(bodies)])), [body.count("\n") for body in bodies]
    parsed = [from_csv(text) for text in texts]
    return from_csv(to_csv(pd.concat(parsed, ignore_index=True))), [len(table) for table in parsed]


def _read(place: str, experiment: str, key: str, **expected) -> tuple[str, dict] | None:
    """The CSV and the ``run.json`` of a folder, if their checksum holds and they are of the experiment, key and fields `expected` there."""
    expected |= {"experiment": experiment, "key": key}
    here = f"{place}/{experiment}/{key}"  # paths, and files that are decoded as they are read, take twice as long
    try:
        with open(f"{here}/run.json", "rb") as about, open(f"{here}/table.csv", "rb") as table:
            info, text = json.loads(about.read()), table.read().decode()
        whole = info.pop("sha256") == _checksum(text, info)
        return (text, info) if whole and _same({name: info[name] for name in expected}, expected) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _is_table(text: str) -> bool:
    try:
        from_csv(text)
    except ValueError:
        return False
    return True


def _same(first, second) -> bool:
    """Whether two values are the same in JSON, where ``1``, ``1.0`` and ``true`` are three."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def write(experiment: str, key: str, text: str, info: dict) -> None:
    """Keep a finished run: its table as `to_csv` wrote it. Two processes that finish the same run keep one of the two, whole."""
    target, info = folder(experiment, key), {**info, "experiment": experiment, "key": key}
    aside = target.with_name(f".{key}-{_this_machine()}-{os.getpid()}-{uuid4().hex[:8]}")
    aside.mkdir(parents=True)
    try:
        durable.write(aside / "table.csv", text.encode())
        durable.write(aside / "run.json", (json.dumps({**info, "sha256": _checksum(text, info)}, indent=1) + "\n").encode())
        try:
            aside.rename(target)
        except OSError:  # there is one already: kept by another process a moment ago, or not whole, or of another run
            if read(experiment, key, **{name: info[name] for name in ("parameters", "device") if name in info}) is None:
                shutil.rmtree(target)
                aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def clear() -> None:
    """Remove what processes of this machine were writing when they were killed; that of others may be in the making."""
    for aside in runs().glob("*/.*-*-*-*"):
        *_, machine, process, _ = aside.name.split("-")
        if machine == _this_machine() and process.isdecimal() and not _lives(int(process)):
            shutil.rmtree(aside, ignore_errors=True)


def _this_machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _lives(process: int) -> bool:
    if os.name == "nt":
        return True  # there, to ask is to kill
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


def merge(source: Path) -> tuple[int, int, list[Path]]:
    """Take the finished runs below `source`, a store of another machine: how many are new, how many known, and those that are not whole.

    A run is known by its key, which holds parameters, data, code and kind of device; one that is there already is kept as it is.
    """
    if not source.is_dir():
        raise InputError(f"{source} is no folder; give the data/runs of the other machine, or a copy of it.")
    taken, known, broken = 0, 0, []
    for path in sorted(source.glob("*/*/run.json")):
        experiment, key = path.parts[-3:-1]
        if key.startswith("."):
            continue  # a run that was being written when the copy was made
        if read(experiment, key):
            known += 1
        elif (stored := _read(str(source), experiment, key)) and _is_table(stored[0]):
            write(experiment, key, *stored)
            taken += 1
        else:
            broken.append(path.parent)
    return taken, known, broken


def _checksum(text: str, info: dict) -> str:
    return hashlib.sha256((json.dumps(info, sort_keys=True) + text).encode()).hexdigest()
