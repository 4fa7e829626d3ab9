"""How claims and verdicts read: shared by the notebook's table, the ledger and the command line. Imports nothing heavy."""

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
    """``digits, squared``: the values of a part's setting, or ``all runs``."""
    return ", ".join(str(v).replace("_", " ") for v in part.get("setting", {}).values()) or "all runs"


def estimate_text(part: dict) -> str:
    """``0.021 [0.017, 0.026], n = 5``; what is missing where the quantity is undefined."""
    if "estimate" in part:
        return f"{part['estimate']:.3g} [{part['low']:.3g}, {part['high']:.3g}], n = {part['n']}"
    return f"undefined for {part['undefined']} of {part['n'] + part['undefined']}" if part.get("undefined") else ""
