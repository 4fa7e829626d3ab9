"""The entries of ``book/claims.yml`` as they stand there. Imports nothing heavy: the ledger, the stamps and the judge read them here."""

import yaml

from ncbook import paths
from ncbook.errors import InputError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C library's is some ten times as fast


def entries(chapter: str | None = None) -> list[dict]:
    """All claims, or those of one chapter, in the file's order. `InputError` where the file is missing or is no list of claims."""
    path = paths.root() / "book" / "claims.yml"
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run from a checkout of ncbook, or set NCBOOK_ROOT to one.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"{path} must be a list of claims, each a list of `field: value`.")
    return [entry for entry in found if chapter in (None, entry.get("chapter"))]
