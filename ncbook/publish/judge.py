"""Judge a chapter's claims on its tables, and keep the verdicts."""

import json
import os

import pandas as pd

from ncbook import chapters, paths
from ncbook.claims.registry import Verdicts, judge_claim
from ncbook.errors import unknown


def judge(chapter: str, tables: dict[str, pd.DataFrame]) -> Verdicts:
    """Judge every claim of a chapter on its tables, show the verdicts, and leave them in the output folder for the ledger."""
    profile = os.environ.get("NCBOOK_PROFILE", "by hand")
    verdicts = Verdicts()
    for claim in chapters.claims(chapter):
        if claim.table not in tables:
            raise unknown("table", claim.table, tables)
        verdicts.append(judge_claim(claim, tables[claim.table], profile))
    folder = paths.writable(paths.output())
    kept = [{"id": v.claim.id, "verdict": v.verdict, "parts": v.parts, "reason": v.reason} for v in verdicts]
    (folder / "verdicts.json").write_text(json.dumps({"profile": profile, "verdicts": kept}, indent=1), encoding="utf-8")
    return verdicts
