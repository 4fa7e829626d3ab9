"""Judge a chapter's claims on its tables, and leave the verdicts for the ledger."""

import json
import os

import pandas as pd

from ncbook import paths
from ncbook.claims.registry import Verdicts
from ncbook.publish import records
from ncbook.publish.verdicts import changed_claims, judged, plain


def judge(chapter: str, tables: dict[str, pd.DataFrame]) -> Verdicts:
    """Judge every claim of a chapter on its tables, show the verdicts, and leave them in the output folder for the ledger.

    Where the tables come from a record, a claim that has changed since is shown with what it was.
    """
    profile = os.environ.get("NCBOOK_PROFILE", "by hand")
    record = records.asked()
    verdicts = Verdicts(judged(chapter, tables, profile))
    verdicts.changed = changed_claims(record.provenance) if record else {}
    folder = paths.writable(paths.output())
    listed = [{**verdict, "changed": verdicts.changed.get(verdict["id"], "")} for verdict in plain(verdicts)]
    (folder / "verdicts.json").write_text(json.dumps({"profile": profile, "verdicts": listed}, indent=1), encoding="utf-8")
    return verdicts
