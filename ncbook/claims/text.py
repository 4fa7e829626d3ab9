"""How claims and verdicts read: shared by the notebook's table, the ledger and the command line. Imports nothing heavy."""

from ncbook.claims.names import setting

MARKS = {"supported": "✔", "contradicted": "✘", "inconclusive": "?", "exploratory": "…", "not measured": "–"}


def test_text(claim: dict) -> str:
    """The test of a claim (an entry of claims.yml) in words.

    >>> test_text({"test": "less", "threshold": 0.1})
    'below 0.1'
    """
    words = {"greater": "above", "less": "below", "equivalent": "equal to"}
    within = f" ± {claim['margin']:g}" if claim["test"] == "equivalent" else ""
    return f"{words[claim['test']]} {claim['threshold']:g}{within}"


def setting_text(part: dict) -> str:
    """The values of a part's setting in words, or ``all runs``.

    >>> setting_text({"setting": {"dataset": "mnist", "dimension": 2, "normalised": True}})
    'MNIST, d = 2, features of length 1'
    """
    return ", ".join(setting(column, value) for column, value in part.get("setting", {}).items()) or "all runs"


def verdict_text(verdict: dict) -> str:
    """A verdict, and where several settings were judged and it is not supported in all of them, how many support it.

    >>> verdict_text({"verdict": "contradicted", "parts": [{"verdict": "supported"}] * 16 + [{"verdict": "contradicted"}] * 4})
    'contradicted: 16 of 20 settings support it'
    """
    parts = verdict["parts"]
    support = sum(part.get("verdict") == "supported" for part in parts)
    if len(parts) < 2 or (support == len(parts) and verdict["verdict"] == "supported"):
        return verdict["verdict"]
    return f"{verdict['verdict']}: {support} of {len(parts)} settings support{'s' * (support == 1)} it"


def estimate_text(part: dict) -> str:
    """``0.021 [0.017, 0.026], n = 5``; what is missing where the quantity is undefined."""
    if "estimate" in part:
        return f"{part['estimate']:.3g} [{part['low']:.3g}, {part['high']:.3g}], n = {part['n']}"
    return f"undefined for {part['undefined']} of {part['n'] + part['undefined']}" if part.get("undefined") else ""
