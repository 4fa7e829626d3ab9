"""The question of each chapter, the claims that answer it, and what to say in short where they come out so: ``book/questions.yml``."""

from ncbook import chapters, paths
from ncbook.claims.text import MARKS
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


def in_short(chapter: str, verdicts: dict[str, str]) -> str:
    """The answer in a sentence, as it is written for these `verdicts` (words by claim) on the claims that answer; empty where none is."""
    words = [verdicts.get(entry["id"]) for entry in answering(chapter)]
    return next((said["say"] for said in _written().get(chapter, {}).get("in_short", []) if said["when"] == words), "")


def _written() -> dict[str, dict]:
    path = paths.root() / "book" / "questions.yml"
    asked = (chapters.read_yaml(path) if path.is_file() else None) or {}
    if not isinstance(asked, dict) or not all(map(_whole, asked.values())):
        raise InputError(
            f"{path} must hold, for each chapter, its `question`, the list of claims that it is `answered_by`, and perhaps `in_short`, a "
            "list of sentences to `say` `when` these have the verdicts that are listed."
        )
    return asked


def _whole(card: object) -> bool:
    if not isinstance(card, dict) or card.keys() - {"in_short"} != {"question", "answered_by"} or not isinstance(card["answered_by"], list):
        return False
    said = card.get("in_short", [])
    return isinstance(said, list) and all(
        isinstance(one, dict)
        and one.keys() == {"when", "say"}
        and isinstance(one["when"], list)
        and len(one["when"]) == len(card["answered_by"])
        and all(word in list(MARKS) for word in one["when"])
        and isinstance(one["say"], str)
        and one["say"].strip()
        for one in said
    )
