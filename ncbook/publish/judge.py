"""Judge a chapter's claims on its tables, and leave the verdicts for the ledger."""

import json
from pathlib import Path

import pandas as pd

from ncbook import paths
from ncbook.publish.records import Record
from ncbook.publish.verdicts import Verdicts, changed_claims, judged, plain


def judge(chapter: str, tables: dict[str, pd.DataFrame], *, profile: str, folder: Path, record: Record | None = None) -> Verdicts:
    """Judge every claim of a chapter on its tables, and leave the verdicts in `folder` for the ledger.

    Where the tables come from a record, a claim that has changed since is shown with what it was.
    """
    verdicts = Verdicts(judged(chapter, tables, profile))
    verdicts.changed = changed_claims(record.provenance) if record else {}
    listed = [{**verdict, "changed": verdicts.changed.get(verdict["id"], "")} for verdict in plain(verdicts)]
    text = json.dumps({"profile": profile, "verdicts": listed}, indent=1)
    (paths.writable(folder) / "verdicts.json").write_text(text, encoding="utf-8")
    return verdicts
