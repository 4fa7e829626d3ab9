"""What each way to read the same runs makes of a chapter's claims: the declared one decides, and a reader may look at the others."""

from collections.abc import Iterable, Sequence

import pandas as pd

from ncbook.claims.registry import Verdict
from ncbook.claims.text import MARKS, estimate_text, setting_text


def readings(verdicts: Iterable[Verdict], columns: Sequence[str]) -> pd.DataFrame:
    """The claims whose runs are read in several ways, told apart by `columns`: one row a claim, setting and reading.

    Beside the columns of both a row has the ``claim``, its ``estimate`` and ``verdict`` in that setting and reading, in words, and what it
    is read ``instead_of``: the declared reading in words, nothing where this is it. A verdict that the declared reading does not share says
    so.
    """
    rows = []
    for judged in verdicts:
        claim = judged.claim
        if claim.kind != "claim" or set(claim.reading) != set(columns):
            continue
        declared = {tuple(part["setting"].values()): _word(part) for part in judged.parts if "reading" not in part}
        for part in judged.parts:
            word, ours = _word(part), declared.get(tuple(part["setting"].values()))
            rows.append(
                {
                    **part["setting"],
                    **part.get("reading", claim.reading),
                    "claim": claim.statement,
                    "estimate": estimate_text(part),
                    "verdict": f"{MARKS[word]}\u00a0{word}" + f"; as declared, {ours}" * (ours not in (word, None)),
                    "instead_of": setting_text({"reading": claim.reading}) if "reading" in part else "",
                }
            )
    return pd.DataFrame(rows)


def _word(part: dict) -> str:
    return part.get("verdict", "not measured")
