"""A drawing beside an estimate: its interval, a dot where the estimate is, and shaded the values for which the claim holds."""

import math
from collections.abc import Sequence

from ncbook.claims.rule import SCALES
from ncbook.claims.text import test_text, typeset

WIDTH, ROW = 132, 8  # pixels
PAD = 0.06  # of the width, on either side of what has to be seen


def drawn(parts: Sequence[dict]) -> list[dict]:
    """Those of a claim's parts that have an interval to draw."""
    return [part for part in parts if "estimate" in part and all(map(math.isfinite, (part["low"], part["high"])))]


def svg(claim: dict, parts: Sequence[dict], among: Sequence[dict] = ()) -> str:
    """The intervals of `parts`, one below the other, as one inline SVG; nothing without an interval.

    The axis is on the claim's own scale, and fits threshold and intervals of all the parts `among` which these stand (these alone without).
    """
    rows = drawn(parts)
    if not rows:
        return ""
    forward = SCALES[claim.get("scale", "linear")][0]
    mark, margin = float(forward(claim["threshold"])), claim.get("margin", 0.0)
    seen = [mark - margin, mark + margin, *(float(forward(part[end])) for part in [*rows, *drawn(among)] for end in ("low", "high"))]
    low, high = min(seen), max(seen)
    pad = PAD * (high - low) or 1.0

    def at(value: float) -> float:
        return WIDTH * (value - low + pad) / (high - low + 2 * pad)

    edges = {"greater": [at(mark)], "less": [at(mark)], "equivalent": [at(mark - margin), at(mark + margin)]}[claim["test"]]
    left, right = {"greater": (edges[0], WIDTH), "less": (0, edges[0]), "equivalent": (edges[0], edges[-1])}[claim["test"]]
    height = ROW * len(rows) + 2
    shapes = [f'<rect x="{left:.1f}" y="0" width="{right - left:.1f}" height="{height}"></rect>']
    shapes += [f'<line class="nc-threshold" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"></line>' for x in edges]
    for number, part in enumerate(rows):
        a, x, b = (at(float(forward(part[name]))) for name in ("low", "estimate", "high"))
        y, word = ROW * (number + 0.5) + 1, part.get("verdict", "exploratory").replace(" ", "-")
        shapes += [
            f'<line class="nc-{word}" x1="{a:.1f}" x2="{b:.1f}" y1="{y:.1f}" y2="{y:.1f}"></line>'
            f'<circle class="nc-{word}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"></circle>'
        ]
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return f'<svg class="nc-interval" role="img" aria-label="{_said(claim, rows)}" {size}>{"".join(shapes)}</svg>'


def _said(claim: dict, rows: Sequence[dict]) -> str:
    """The drawing in words.

    >>> _said({"test": "less", "threshold": 0.1}, [{"estimate": 0.02, "low": 0.01, "high": 0.04}])
    '95% interval from 0.01 to 0.04, where the claim says below 0.1'
    """
    ends = f"from {min(part['low'] for part in rows):.3g} to {max(part['high'] for part in rows):.3g}"
    what = "95% interval" if len(rows) == 1 else f"{len(rows)} settings with 95% intervals"
    return f"{what} {typeset(ends)}, where the claim says {test_text(claim)}"
