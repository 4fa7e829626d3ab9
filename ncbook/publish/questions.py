"""The question of each chapter and the claims that answer it, as ``book/questions.yml`` has them."""

import yaml

from ncbook import chapters, paths
from ncbook.errors import InputError, unknown


def question(chapter: str) -> str:
    """The question of a chapter; empty where none is written."""
    return _written().get(chapter, {}).get("question", "")


def answering(chapter: str) -> list[dict]:
    """The claims that answer a chapter's question: those that are named, or its first. `InputError` names a claim that there is not."""
    entries = chapters.entries(chapter)
    known = {entry["id"]: entry for entry in entries}
    named = _written().get(chapter, {}).get("answered_by", [])
    for name in named:
        if name not in known:
            raise unknown(f"claim of {chapter} in book/questions.yml", name, known)
    return [known[name] for name in named] or entries[:1]


def _written() -> dict[str, dict]:
    path = paths.root() / "book" / "questions.yml"
    try:
        asked = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    whole = isinstance(asked, dict) and all(
        isinstance(card, dict) and card.keys() == {"question", "answered_by"} for card in asked.values()
    )
    if not whole or not all(isinstance(card["answered_by"], list) for card in asked.values()):
        raise InputError(f"{path} must hold, for each chapter, its `question` and the list of claims that it is `answered_by`.")
    return asked
