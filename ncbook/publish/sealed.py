"""What a build or a command leaves for another one, with a digest of what it holds: what was edited, or lacks a file, is not believed.

This guards against edited and stale files in between. It is no signature: whoever can write a file can write its digest as well.
"""

import hashlib
import json
from pathlib import Path


def checksum(content: dict) -> str:
    """The sha256 of a JSON-able dict, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def seal(content: dict) -> str:
    """A dict as the text of a JSON file that holds its own checksum."""
    return json.dumps({**content, "sha256": checksum(content)}, indent=1) + "\n"


def opened(text: str) -> tuple[dict, bool]:
    """The dict of a text that `seal` made, and whether it still is what was sealed.

    Raises ValueError, TypeError, LookupError or AttributeError where it is no such text.

    >>> opened(seal({"a": 1}))
    ({'a': 1}, True)
    >>> opened(seal({"a": 1}).replace("1", "2", 1))
    ({'a': 2}, False)
    """
    content = json.loads(text)
    return content, content.pop("sha256") == checksum(content)


def close(folder: Path, made_from: str) -> None:
    """Leave a ``stamp`` in a folder that is complete: what it was made from, and the digests of all files in it."""
    (folder / "stamp").write_text(seal({"made from": made_from, "files": _files(folder)}), encoding="utf-8")


def made_from(folder: Path) -> str | None:
    """What a folder that `close` left was made from; None where there is none, or where a file in it was edited, added or removed since."""
    try:
        stamp, whole = opened((folder / "stamp").read_text(encoding="utf-8"))
        return stamp["made from"] if whole and stamp["files"] == _files(folder) else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _files(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / "stamp")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
