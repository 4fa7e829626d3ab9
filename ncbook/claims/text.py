"""How claims and verdicts read: shared by the notebook's table, the ledger and the command line. Imports nothing heavy."""

import re

from ncbook.claims.names import setting

MARKS = {"supported": "✔", "contradicted": "✘", "inconclusive": "?", "exploratory": "…", "not measured": "–"}

POWER = re.compile(r"((?<![\w.])1|(?<=\d))e([+-])0*(\d+)\b")  # a 1 by itself is not written before a power
MINUS = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)")
TIMES = "\u00a0×\u00a0"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(text: str) -> str:
    """A text with its numbers as they are printed: with a minus instead of a hyphen, and with powers of ten.

    >>> typeset("from -0.5 to 5.66e-09, in 2-3 settings; 1e-05")
    'from −0.5 to 5.66\xa0×\xa010⁻⁹, in 2-3 settings; 10⁻⁵'
    """
    powers = POWER.sub(lambda found: f"{'' if found[1] else TIMES}10{(found[2].strip('+') + found[3]).translate(RAISED)}", text)
    return MINUS.sub("−", powers)


def test_text(claim: dict) -> str:
    """The test of a claim (an entry of claims.yml) in words.

    >>> test_text({"test": "less", "threshold": 0.1})
    'below 0.1'
    """
    words = {"greater": "above", "less": "below", "equivalent": "equal to"}
    within = f" ± {claim['margin']:g}" if claim["test"] == "equivalent" else ""
    return typeset(f"{words[claim['test']]} {claim['threshold']:g}{within}")


def setting_text(part: dict) -> str:
    """The values of a part's setting in words, or ``all runs``.

    >>> setting_text({"setting": {"dataset": "mnist", "dimension": 2, "normalised": True}})
    'MNIST, d = 2, features of length 1'
    """
    named = {**part.get("setting", {}), **part.get("reading", {})}
    return ", ".join(setting(column, value) for column, value in named.items()) or "all runs"


def share_text(verdict: dict, combine: str = "all") -> str:
    """Of a claim that was judged in several settings, how many of these support it by themselves, and whether all must; nothing where
    there was one.

    >>> share_text({"parts": [{"verdict": "supported"}, {"verdict": "inconclusive"}, {"n": 0}]})  # the third could not be measured
    '1 of 2 settings supports it, and all must'
    >>> share_text({"parts": [{"verdict": "supported"}, {"verdict": "inconclusive"}]}, combine="any")
    '1 of 2 settings supports it'
    """
    each = by_setting(verdict)
    support = each.count("supported")
    rule = ", and all must" if combine == "all" and support < len(each) else ""
    return f"{support} of {len(each)} settings support{'s' * (support == 1)} it{rule}" if len(each) > 1 else ""


def by_setting(verdict: dict) -> list[str]:
    """The verdicts of a claim's settings, each by itself; one that could not be measured has none."""
    return [part["verdict"] for part in verdict["parts"] if "verdict" in part and "reading" not in part]


def readings_text(verdict: dict) -> str:
    """Of a claim whose runs can be read in other ways than the declared one, in how many of these it is supported; nothing without.

    >>> readings_text({"parts": [{"verdict": "supported"}, {"verdict": "supported", "reading": {"activation": "pre"}}]})
    'with other readouts, 1 of 1'
    """
    others = [part.get("verdict") for part in verdict["parts"] if "reading" in part]
    return f"with other readouts, {others.count('supported')} of {len(others)}" if others else ""


def verdict_text(verdict: dict, combine: str = "all") -> str:
    """A verdict, and how many of the settings support the claim, unless it is supported in all of them.

    >>> verdict_text({"verdict": "contradicted", "parts": [{"verdict": "supported"}] * 16 + [{"verdict": "contradicted"}] * 4})
    'contradicted: 16 of 20 settings support it, and all must'
    """
    share = "" if {verdict["verdict"], *by_setting(verdict)} == {"supported"} else share_text(verdict, combine)
    return f"{verdict['verdict']}: {share}" if share else verdict["verdict"]


def estimate_text(part: dict) -> str:
    """``0.021 [0.017, 0.026], n = 5`` (kept on a line); what is missing where the quantity is undefined."""
    if "estimate" in part:
        return typeset(f"{part['estimate']:.3g} [{part['low']:.3g}, {part['high']:.3g}], n\u00a0=\u00a0{part['n']}")
    return f"undefined for {part['undefined']} of {part['n'] + part['undefined']}" if part.get("undefined") else ""
