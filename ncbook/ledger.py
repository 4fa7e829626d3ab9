"""The ledger: all claims with their verdicts as Markdown, generated from what the executed chapters left."""

from ncbook import chapters
from ncbook.claims.entries import entries
from ncbook.claims.text import MARKS, estimate_text, setting_text, test_text
from ncbook.execute import Chapter, verdicts

FALSE_RATE = 0.025  # one-sided: how often the rule calls a claim on its threshold supported


def claim_ids(names) -> list[str]:
    """The ids of the claims that the chapters `names` test."""
    return [entry["id"] for entry in entries() if entry["chapter"] in names]


def pages(asked: list[Chapter]) -> dict[str, str]:
    """The generated Markdown by name: ``glance`` (one line a claim) and ``ledger`` (every claim in full, by chapter)."""
    found = {}
    for chapter in asked:
        found |= {verdict["id"]: (chapter, verdict) for verdict in verdicts(chapter)}
    claims = [entry for entry in entries() if entry["id"] in found]
    full = []
    for chapter in asked:
        full += [f"## [{chapters.title(chapter.name)}](chapters/{chapter.name})", ""]
        full += [_full(claim, *found[claim["id"]]) for claim in claims if claim["chapter"] == chapter.name]
    return {"glance": _glance(claims, found), "ledger": "\n".join(full) + _chance(len(claims))}


def _glance(claims: list[dict], found: dict) -> str:
    rows = ["| claim | verdict | chapter | profile |", "|---|---|---|---|"]
    for claim in claims:
        chapter, verdict = found[claim["id"]]
        rows.append(
            f"| [{claim['statement']}](#claim-{claim['id']}) | {MARKS[verdict['verdict']]} {verdict['verdict']} "
            f"| [{chapters.title(chapter.name)}](chapters/{chapter.name}) | {chapter.profile} |"
        )
    return "\n".join(rows) + "\n"


def _full(claim: dict, chapter: Chapter, verdict: dict) -> str:
    lines = [
        f"(claim-{claim['id']})=",
        f"### {MARKS[verdict['verdict']]} {claim['statement']}",
        "",
        (
            f"**{verdict['verdict'].capitalize()}** in the profile `{chapter.profile}`; see {{numref}}`{claim['figure']}`. "
            f"Source: {{cite:t}}`{claim['source']}` ({claim['evidence']})."
        ),
        "",
        f"*Measured:* {claim['measures']} *Test:* {test_text(claim)}"
        + {"all": ", in every setting.", "any": ", in at least one setting (Holm's correction)."}[claim.get("combine", "all")],
        "",
        f"*Why this threshold:* {claim['why']}",
        "",
    ]
    if verdict["reason"]:
        lines += [f"Not measured: {verdict['reason']}.", ""]
    if verdict["parts"]:
        lines += [
            "| setting | estimate [95% interval] | this setting alone |",
            "|---|---|---|",
            *(f"| {setting_text(p)} | {estimate_text(p)} | {p.get('verdict', '–')} |" for p in verdict["parts"]),
            "",
        ]
    return "\n".join(lines)


def _chance(count: int) -> str:
    return (
        f"\n## How many of these could be luck\n\nThe ledger holds {count} claims. If every one of them were false and lay exactly on its "
        f"threshold, the rule would still call about {FALSE_RATE * count:.2f} of them supported.\n"
    )
