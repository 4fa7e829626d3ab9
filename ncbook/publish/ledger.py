"""The ledger: all claims with their verdicts as Markdown, generated from what the executed chapters left."""

from collections.abc import Sequence

from ncbook.chapters import entries
from ncbook.claims.text import MARKS, estimate_text, setting_text, test_text
from ncbook.escape import code, markdown
from ncbook.publish import notebooks
from ncbook.publish.execute import Chapter, verdicts

FALSE_RATE = 0.025  # one-sided: how often the rule calls a claim on its threshold supported


def claim_ids(names) -> list[str]:
    """The ids of the claims that the chapters `names` test."""
    return [entry["id"] for entry in entries() if entry["chapter"] in names]


def pages(requested: list[Chapter], beside: Sequence[Chapter] = ()) -> dict[str, str]:
    """The generated Markdown by name: ``glance`` (one line a claim) and ``ledger`` (every claim in full, by chapter).

    The chapters `beside` are the same ones under other profiles: their verdicts are marked next to the main one.
    """
    judged: dict[str, tuple[Chapter, dict]] = {}
    for chapter in requested:
        judged |= {verdict["id"]: (chapter, verdict) for verdict in verdicts(chapter)}
    others: dict[str, list[tuple[str, str]]] = {}
    for chapter in beside:
        for verdict in verdicts(chapter):
            others.setdefault(verdict["id"], []).append((chapter.profile, verdict["verdict"]))
    claims = [entry for entry in entries() if entry["id"] in judged]
    full = []
    for chapter in requested:
        full += [f"## [{notebooks.title(chapter.name)}](chapters/{chapter.name})", ""]
        full += [_full(claim, *judged[claim["id"]], others.get(claim["id"], [])) for claim in claims if claim["chapter"] == chapter.name]
    return {"glance": _glance(claims, judged, others), "ledger": "\n".join(full) + _chance(len(claims))}


def _glance(claims: list[dict], judged: dict, others: dict) -> str:
    rows = ["| claim | verdict | chapter | profile |", "|---|---|---|---|"]
    for claim in claims:
        chapter, verdict = judged[claim["id"]]
        profiles = markdown(chapter.profile) + _marks(verdict, others.get(claim["id"], []))
        rows.append(
            f"| [{claim['statement']}](#claim-{claim['id']}) | {MARKS[verdict['verdict']]} {verdict['verdict']} "
            f"| [{notebooks.title(chapter.name)}](chapters/{chapter.name}) | {profiles} |"
        )
    return "\n".join(rows) + "\n"


def _marks(verdict: dict, others: list[tuple[str, str]]) -> str:
    """``; quick ✘``: the verdicts of other profiles, in bold where one contradicts the main one."""
    opposite = {"supported": "contradicted", "contradicted": "supported"}.get(verdict["verdict"])
    return "".join(f"; {f'**{markdown(p)} {MARKS[v]}**' if v == opposite else f'{markdown(p)} {MARKS[v]}'}" for p, v in others)


def _full(claim: dict, chapter: Chapter, verdict: dict, others: list[tuple[str, str]]) -> str:
    lines = [
        f"(claim-{claim['id']})=",
        f"### {MARKS[verdict['verdict']]} {claim['statement']}",
        "",
        (
            f"**{verdict['verdict'].capitalize()}** in the profile {code(chapter.profile)}; see {{numref}}`{claim['figure']}`. "
            f"Source: {{cite:t}}`{claim['source']}` ({claim['evidence']})."
            + "".join(f" In {code(profile)} it is {MARKS[mark]} {mark}." for profile, mark in others)
        ),
        "",
        f"*Measured:* {claim['measures']} *Test:* {test_text(claim)}"
        + {"all": ", in every setting.", "any": ", in at least one setting (Holm's correction)."}[claim.get("combine", "all")],
        "",
        f"*Why this threshold:* {claim['why']}",
        "",
    ]
    if verdict.get("changed"):
        lines += [f"**Changed since the record:** {verdict['changed']}.", ""]
    if verdict["reason"]:
        lines += [f"Not measured: {markdown(verdict['reason'])}.", ""]
    if verdict["parts"]:
        lines += [
            "| setting | estimate [95% interval] | this setting alone |",
            "|---|---|---|",
            *(f"| {markdown(setting_text(p))} | {estimate_text(p)} | {p.get('verdict', '–')} |" for p in verdict["parts"]),
            "",
        ]
    return "\n".join(lines)


def _chance(count: int) -> str:
    return (
        f"\n## How many of these could be luck\n\nThe ledger holds {count} claims. If every one of them were false and lay exactly on its "
        f"threshold, the rule would still call about {FALSE_RATE * count:.2f} of them supported.\n"
    )
