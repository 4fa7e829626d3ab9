"""What git knows of the checkout: at which commit it is, and whether a commit is one of its own."""

import re
import subprocess

from ncbook import paths


def here() -> dict:
    """The ``commit`` of the checkout, and whether it is ``dirty``: files differ from it. Both unknown outside a checkout."""
    try:
        return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--", "ncbook", "book"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": True}


def known(commit: str) -> bool | None:
    """Whether the repository holds a commit; None where that cannot be told: no git, no repository, or only the end of its history."""
    try:
        if _git("rev-parse", "--is-shallow-repository") == "true":
            return None
    except (OSError, subprocess.CalledProcessError):
        return None
    if not re.fullmatch(r"[0-9a-f]{40}", str(commit)):
        return False
    try:
        _git("cat-file", "-e", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        return False
    return True


def _git(*command: str) -> str:
    return subprocess.run(["git", "-C", str(paths.root()), *command], capture_output=True, text=True, check=True).stdout.strip()
