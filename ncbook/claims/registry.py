"""Read ``book/claims.yml``, judge a chapter's claims on its tables, and keep the verdicts."""

import importlib
import json
import os
from dataclasses import asdict, dataclass, fields
from math import isnan

import pandas as pd
import yaml

from ncbook import paths
from ncbook.claims import rule
from ncbook.claims.text import MARKS, estimate_text, setting_text, test_text
from ncbook.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One entry of claims.yml. Every field is explained at the top of that file."""

    id: str
    chapter: str
    source: str
    statement: str
    evidence: str
    table: str
    quantity: str
    measures: str
    test: str
    threshold: float
    why: str
    figure: str
    scale: str = "linear"
    margin: float = 0.0
    settings: tuple[str, ...] = ()
    combine: str = "all"
    unit: str = "seed"
    profiles: tuple[str, ...] = ("quick", "laptop", "paper")

    def compute(self, rows: pd.DataFrame) -> float:
        """The claim's quantity for one unit's rows."""
        return _quantity(self)(rows)


def load() -> list[Claim]:
    """All claims of claims.yml, in its order. A missing or unknown field, or a doubled id, is an `InputError` that names the claim."""
    path = paths.root() / "book" / "claims.yml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run from a checkout of ncbook, or set NCBOOK_ROOT to one.") from error
    claims, known = [], {f.name for f in fields(Claim)}
    for entry in entries:
        for field in set(entry) - known:
            raise InputError(f"claims.yml: claim {entry.get('id')}: {unknown('field', field, sorted(known))}")
        try:
            claim = Claim(**{k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()})
        except TypeError as error:
            raise InputError(f"claims.yml: claim {entry.get('id')}: {error}") from error
        if claim.id in {c.id for c in claims}:
            raise InputError(f"claims.yml: the id {claim.id} is used twice.")
        claims.append(claim)
    return claims


def _quantity(claim: Claim):
    module = importlib.import_module(f"ncbook.claims.quantities.{claim.chapter}")
    functions = [n for n in vars(module) if not n.startswith("_") and callable(getattr(module, n))]
    if claim.quantity not in functions:
        raise unknown("quantity", claim.quantity, functions)
    return getattr(module, claim.quantity)


@dataclass(frozen=True)
class Verdict:
    """A claim, judged: the verdict over all settings, and what each setting gave (a `rule.Part` as a dict, with its setting)."""

    claim: Claim
    profile: str
    verdict: str
    parts: list[dict]
    reason: str = ""


def judge_claim(claim: Claim, table: pd.DataFrame, profile: str) -> Verdict:
    """Judge one claim on a table of runs. A seed whose quantity is undefined leaves the claim unmeasured, and the reason says so."""
    if profile in ("quick", "laptop", "paper") and profile not in claim.profiles:
        return Verdict(claim, profile, rule.UNMEASURED, [], f"not tested in the profile {profile}")
    parts, judged, undefined = [], [], []
    groups = table.groupby(list(claim.settings)) if claim.settings else [((), table)]
    for setting, rows in groups:
        named = dict(zip(claim.settings, setting if isinstance(setting, tuple) else (setting,)))
        values = [claim.compute(of_seed) for _, of_seed in rows.groupby(claim.unit)]
        missing = sum(isnan(v) for v in values)
        if missing or len(values) < 2:
            undefined.append(", ".join(map(str, named.values())) or "all runs")
            parts.append({"setting": named, "n": len(values) - missing, "undefined": missing})
            continue
        part = rule.judge_part(values, test=claim.test, threshold=claim.threshold, margin=claim.margin, scale=claim.scale)
        judged.append(part)
        parts.append({"setting": named, "verdict": rule.combine([part], "all"), **asdict(part)})
    reason = f"the quantity is undefined, or has one {claim.unit} only, in: {'; '.join(undefined)}" if undefined else ""
    if undefined and claim.combine == "all":
        return Verdict(claim, profile, rule.UNMEASURED, parts, reason)
    return Verdict(claim, profile, rule.combine(judged, claim.combine), parts, reason)


class Verdicts(list):
    """A list of `Verdict` that a notebook shows as a table."""

    def _repr_markdown_(self) -> str:
        rows = ["| claim | verdict | setting | estimate and 95% interval | test |", "|---|---|---|---|---|"]
        for v in self:
            for i, part in enumerate(v.parts or [{}]):
                first = (f"[{v.claim.statement}](#claim-{v.claim.id})", f"**{MARKS[v.verdict]} {v.verdict}**") if i == 0 else ("", "")
                rows.append("| " + " | ".join((*first, setting_text(part), estimate_text(part) or v.reason, f"{test_text(asdict(v.claim))}")) + " |")
        return "\n".join(rows)

    def __repr__(self) -> str:
        return "\n".join(f"{MARKS[v.verdict]} {v.claim.id}: {v.verdict}" for v in self)


def judge(chapter: str, tables: dict[str, pd.DataFrame]) -> Verdicts:
    """Judge every claim of a chapter on its tables, show the verdicts, and leave them in the output folder for the ledger."""
    profile = os.environ.get("NCBOOK_PROFILE", "by hand")
    verdicts = Verdicts()
    for claim in (c for c in load() if c.chapter == chapter):
        if claim.table not in tables:
            raise unknown("table", claim.table, tables)
        verdicts.append(judge_claim(claim, tables[claim.table], profile))
    folder = paths.writable(paths.output())
    kept = [{"id": v.claim.id, "verdict": v.verdict, "parts": v.parts, "reason": v.reason} for v in verdicts]
    (folder / "verdicts.json").write_text(json.dumps({"profile": profile, "verdicts": kept}, indent=1), encoding="utf-8")
    return verdicts
