"""The generated part of the page of trust: where each chapter's numbers were computed, for how long, and the last verification."""

import json

from ncbook import paths
from ncbook.publish import notebooks
from ncbook.publish.execute import Chapter


def pages(requested: list[Chapter]) -> dict[str, str]:
    """The generated Markdown by name: ``trust``, one line a chapter."""
    rows = ["| chapter | profile | source | runs | core time | memory | computed on |", "|---|---|---|---|---|---|---|"]
    for chapter in requested:
        lines = _provenance(chapter)
        if lines is None:
            continue
        rows.append(
            f"| [{notebooks.title(chapter.name)}](chapters/{chapter.name}) | `{chapter.profile}` "
            f"| {'record' if chapter.recorded else 'trained by this build'} | {lines['runs']} | {lines['core time']} "
            f"| {lines['memory']} | {lines['trained on']}; {lines['versions'].rsplit(';', 1)[0]} |"
        )
    verified = [text for chapter_profile in dict.fromkeys(c.profile for c in requested) if (text := _verified(chapter_profile))]
    last = "\n".join(verified) or "This copy of the book has not been verified since it was checked out; `make verify` does it."
    return {"trust": "\n".join(rows) + "\n\n## Last verification\n\n" + last + "\n"}


def _provenance(chapter: Chapter) -> dict | None:
    try:
        return json.loads((chapter.folder / "provenance.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _verified(profile: str) -> str:
    try:
        report = json.loads((paths.build() / "verify" / profile / "report.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    counts: dict[str, int] = {}
    for table in report["tables"]:
        counts[table["verdict"]] = counts.get(table["verdict"], 0) + 1
    listed = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return f"`{profile}`, {report['when']}: {len(report['tables'])} tables, {listed}."
