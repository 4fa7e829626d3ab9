"""The generated part of the page of trust: where each chapter's numbers were computed, for how long, and the last verification."""

import json
from collections.abc import Sequence

from ncbook import paths
from ncbook.escape import code, markdown
from ncbook.publish import attestations, commits, notebooks, sealed
from ncbook.publish.execute import Chapter
from ncbook.runs.code import PACKAGE, module_code
from ncbook.runs.digest import digest

NAMED = 3  # chapters in a sentence; more are counted


def pages(requested: Sequence[Chapter]) -> dict[str, str]:
    """The generated Markdown by name: ``trust``, one line a chapter."""
    known = [(chapter, lines) for chapter in requested if (lines := _provenance(chapter)) is not None]
    places = list(dict.fromkeys(_place(lines) for _, lines in known))
    several = len(places) > 1
    head = ["chapter", "profile", "source", "attestation", "runs", "core time", "memory", *["computed on"] * several]
    rows = [_row(head), _row(["---"] * len(head))]
    for chapter, lines in known:
        source = f"record {lines.get('record', '')}" if chapter.recorded else "trained by this build"
        attestation = attestations.said(chapter.profile, chapter.name) if chapter.recorded else "none"
        name = f"[{notebooks.title(chapter.name)}](chapters/{chapter.name})"
        cells = [name, code(chapter.profile), source, attestation, lines["runs"], lines["core time"], lines["memory"]]
        rows.append(_row([*cells, *[str(places.index(_place(lines)) + 1)] * several]))
    listed = "\n".join(f"{number}. {place}" for number, place in enumerate(places, 1))
    where = f"Computed on:\n\n{listed}\n" if several else "".join(f"All computed on {place}.\n" for place in places)
    return {"trust": "\n".join(rows) + f"\n\n{where}\n## Last verification\n\n" + last_verification(requested) + "\n"}


def _place(lines: dict) -> str:
    return f"{lines['trained on']}; {lines['versions']}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def last_verification(requested: Sequence[Chapter]) -> str:
    """What the last `make verify` of the profiles shown found, in Markdown."""
    verified = [text for profile in dict.fromkeys(chapter.profile for chapter in requested) if (text := _verified(profile))]
    return "\n".join(verified) or "This copy of the book has not been verified since it was checked out; `make verify` does it."


def _provenance(chapter: Chapter) -> dict | None:
    try:
        return json.loads((chapter.folder / "provenance.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def reused(runs: int) -> str:
    """How many runs were not trained by a verification, as a sentence of its report; nothing where it trained all.

    >>> reused(2)
    ' 2 of its runs had been trained before, or brought here, and were taken from the cache.'
    """
    return f" {runs} of its runs had been trained before, or brought here, and were taken from the cache." if runs else ""


def verified_now(profile: str, names: list[str]) -> dict:
    """What a verification of these chapters, made now, is a verification of: the commit, and each chapter's record and code."""
    return {**commits.here(), "of": {name: _origin(profile, name) for name in names}}


def _origin(profile: str, name: str) -> list[str | None]:
    """Digests of a chapter's record and of the code that computes it; None for what is not there."""
    record, experiment = paths.record(profile, name) / "provenance.json", PACKAGE / "chapters" / name / "experiment.py"
    return [digest(record.read_bytes().hex()) if record.is_file() else None, module_code(experiment) if experiment.is_file() else None]


def _verified(profile: str) -> str:
    try:
        report, whole = sealed.opened((paths.build() / "verify" / profile / "report.json").read_text(encoding="utf-8"))
        if whole:
            return _told(profile, report)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass
    return (
        f"{code(profile)}: the report of its last verification was edited after it was made, and is not shown; "
        "`make verify` makes a new one."
    )


def _told(profile: str, report: dict) -> str:
    older = [name for name, of in report["of"].items() if of != _origin(profile, name)]
    counts: dict[str, int] = {}
    for table in report["tables"]:
        counts[table["verdict"]] = counts.get(table["verdict"], 0) + 1
    listed = ", ".join(f"{count} {markdown(verdict)}" for verdict, count in sorted(counts.items()))
    at = "" if report["commit"] == "unknown" else f", at commit {code(report['commit'][:10])}"
    at += " with uncommitted changes" * (report["dirty"] and bool(at))
    named = ", ".join(map(code, older)) if len(older) <= NAMED else f"{len(older)} chapters"
    how = reused(sum(table.get("reused", 0) for table in report["tables"]))
    since = f" **Of an older record, or of older code: {named}.**" if older else ""
    return f"{code(profile)}, {markdown(report['when'])}{at}: {len(report['tables'])} tables, {listed}.{how}{since}"
