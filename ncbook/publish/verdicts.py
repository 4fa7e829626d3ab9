"""A chapter's verdicts on its tables, and whether those that a record keeps are still what its claims, rule and quantities give."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from ncbook import chapters
from ncbook.claims.registry import Verdict, judge_claim
from ncbook.claims.text import MARKS, estimate_text, setting_text, test_text, typeset, verdict_text
from ncbook.errors import shown, unknown
from ncbook.escape import markdown
from ncbook.publish import notebooks
from ncbook.runs.code import module_code
from ncbook.runs.digest import digest

# the fields of a claim that decide what is judged; the others say why and where it is shown
DECIDE = [
    "kind",
    "of",
    "reading",
    "statement",
    "table",
    "quantity",
    "scale",
    "test",
    "threshold",
    "margin",
    "settings",
    "combine",
    "unit",
    "profiles",
]
KINDS = {"claim": "", "control": "*Control:* ", "check": "*Check of the code:* "}
PASSED = {"supported": "passed", "contradicted": "failed"}  # a control or a check: what is claimed of it must be so
EQUAL = 1e-9  # of a number: an interval's last digits depend on the processor


def judged(chapter: str, tables: dict[str, pd.DataFrame], profile: str) -> list[Verdict]:
    """The verdicts of a chapter's claims on its tables; an `InputError` where a claim asks for a table that is not among them."""
    verdicts = []
    for claim in chapters.claims(chapter):
        if claim.table not in tables:
            raise unknown("table", claim.table, tables)
        verdicts.append(judge_claim(claim, tables[claim.table], profile))
    return verdicts


def plain(verdicts: list[Verdict]) -> list[dict]:
    """Verdicts as a JSON file holds them."""
    return [{"id": v.claim.id, "verdict": v.verdict, "parts": v.parts, "reason": v.reason} for v in verdicts]


def deciding(chapter: str) -> list[dict]:
    """What decides each claim of a chapter, as a record keeps it."""
    return [{"id": entry["id"], **{name: entry[name] for name in DECIDE if name in entry}} for entry in chapters.entries(chapter)]


def code(chapter: str) -> dict[str, str]:
    """Digests of what turns a chapter's tables into its page: the rule, the quantities, and the code of the notebook."""
    package = Path(__file__).resolve().parents[1]
    quantities = package / "chapters" / chapter / "quantities.py"
    return {
        "rule": module_code(package / "claims" / "registry.py"),
        "quantities": module_code(quantities) if quantities.is_file() else "none",
        "notebook": digest([cell["source"] for cell in notebooks.cells(chapter) if cell["cell_type"] == "code"]),
    }


def changed_claims(provenance: dict) -> dict[str, str]:
    """By claim, in words, how what decides it differs from what a record with this `provenance` was judged by: ``threshold recorded 0.1,
    now 0.001``."""
    was = {claim["id"]: claim for claim in provenance.get("claims", [])}
    now = {claim["id"]: claim for claim in deciding(provenance["chapter"])}
    changes = {}
    for name in dict.fromkeys([*was, *now]) if was else ():  # an older record holds none: nothing can be told
        if name not in was or name not in now:
            changes[name] = "the record does not hold it" if name not in was else "recorded, and gone since"
        elif changed := [f for f in DECIDE if was[name].get(f) != now[name].get(f)]:
            changes[name] = "; ".join(f"{f} recorded {was[name].get(f)}, now {now[name].get(f)}" for f in changed)
    return changes


def changed_code(provenance: dict) -> list[str]:
    """What of the rule, the quantities and the notebook is not as it was when the record with this `provenance` was made."""
    was = provenance.get("judged_by", {})  # an older record holds none
    now = code(provenance["chapter"]) if was else {}
    return [name for name, value in was.items() if now.get(name) != value]


def difference(was: dict, now: dict) -> str:
    """In words, how a verdict on the same table differs from the one recorded; nothing where it does not."""
    if was["verdict"] != now["verdict"]:
        return f"recorded {was['verdict']}, judged {now['verdict']} on the same table"
    if was.get("reason", now["reason"]) != now["reason"]:
        return f"reason recorded {shown(was['reason'])}, judged {shown(now['reason'])} on the same table"
    if len(was["parts"]) != len(now["parts"]):
        return f"{len(was['parts'])} settings recorded, {len(now['parts'])} judged on the same table"
    for a, b in zip(was["parts"], now["parts"], strict=True):
        for name in dict.fromkeys([*a, *b]):
            x, y = a.get(name), b.get(name)
            numbers = isinstance(x, float) and isinstance(y, float)
            if x != y and not (numbers and (math.isclose(x, y, rel_tol=EQUAL, abs_tol=1e-12) or (math.isnan(x) and math.isnan(y)))):
                return f"{name} recorded {x}, judged {y} on the same table ({a.get('setting')})"
    return ""


class Verdicts(list):
    """A list of `Verdict` that a notebook shows as a table, one row a claim, and every setting folded below; ``changed`` says of a claim
    what it was when the tables were recorded."""

    changed: Mapping[str, str] = MappingProxyType({})

    def _repr_markdown_(self) -> str:
        rows = [
            "| claim, and what is measured | verdict | estimate and 95% interval, or range | test |",
            "|---|---|---|---|",
        ]
        settings = ["| claim | setting | estimate and 95% interval | verdict |", "|---|---|---|---|"]
        for v in self:
            since = f" **Changed since the record: {markdown(self.changed[v.claim.id])}.**" if v.claim.id in self.changed else ""
            link = f"{KINDS[v.claim.kind]}[{v.claim.statement}](#claim-{v.claim.id})"
            parts = [part for part in v.parts if "estimate" in part and "reading" not in part]
            estimate = _range(parts) if len(parts) > 1 else estimate_text((parts or v.parts or [{}])[0])
            cells = (
                f"{link}{since}<br>{markdown(v.claim.measures)}",
                _word(v),
                " ".join(filter(None, (estimate, markdown(v.reason)))),
                test_text(asdict(v.claim)),
            )
            rows.append("| " + " | ".join(cells) + " |")
            for i, part in enumerate(v.parts if len(v.parts) > 1 else []):
                cells = "" if i else link, markdown(setting_text(part)), estimate_text(part) or "not measured", _alone(v, part)
                settings.append("| " + " | ".join(cells) + " |")
        shown = "\n".join(rows)
        if len(settings) > 2:
            shown += f"\n\n<details><summary>Every setting, {len(settings) - 2} rows</summary>\n\n" + "\n".join(settings) + "\n\n</details>"
        return shown

    def __repr__(self) -> str:
        return "\n".join(f"{MARKS[v.verdict]} {v.claim.id}: {v.verdict}" for v in self)


def _word(v: Verdict) -> str:
    if v.claim.kind != "claim" and v.verdict in PASSED:
        return f"{MARKS[v.verdict]} {PASSED[v.verdict]}"
    return f"**{MARKS[v.verdict]} {verdict_text(vars(v), v.claim.combine)}**"


def _alone(v: Verdict, part: dict) -> str:
    word = part.get("verdict", "–")
    return word if v.claim.kind == "claim" else PASSED.get(word, word)


def _range(parts: list[dict]) -> str:
    least, most = (f"{end(part['estimate'] for part in parts):.3g}" for end in (min, max))
    return typeset(f"{least} to {most}, in {len(parts)} settings")
