"""What the rule can tell with as many seeds and as much noise as a claim has: its power, and its false alarms on either side.

Values are drawn from a normal distribution with the spread that each setting showed, and judged by `ncbook.claims.rule` as the claim is.
Whether a quantity is right on average where the claim is false is another question, which the controls answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from ncbook.claims import rule

DRAWS = 4000


@dataclass(frozen=True)
class Power:
    """How probable a verdict is: supported where every setting is at the effect; on the threshold supported, and contradicted."""

    effect: float
    power: float
    false_support: float
    false_contradiction: float


def power(claim: Mapping, parts: list[Mapping]) -> Power | None:
    """The power of a claim (its entry) that was judged in `parts`; None where it states no effect, or fewer settings or seeds were judged
    than a verdict needs.

    On the threshold means the case that misleads most. Of a claim on all settings: for support one setting is on the threshold and the
    others are at the effect, for contradiction all are on the threshold. Of a claim on any setting the other way round. For the test
    ``equivalent`` the false support is that at the margin, and the false contradiction too.

    >>> claim = {"test": "less", "threshold": 0.5, "effect": 0.1}
    >>> found = power(claim, [{"n": 5, "low": 0.1, "high": 0.3, "estimate": 0.2}])
    >>> found.power > 0.99, abs(found.false_support - 0.025) < 0.01, abs(found.false_contradiction - 0.025) < 0.01
    (True, True, True)
    """
    if "effect" not in claim or not parts or any(part.get("n", 0) < rule.LEAST or "low" not in part for part in parts):
        return None
    forward, _ = rule.SCALES[claim.get("scale", "linear")]
    mark, effect, margin = float(forward(claim["threshold"])), float(forward(claim["effect"])), claim.get("margin", 0.0)
    noise = tuple((_spread(part, forward), part["n"]) for part in parts)
    return Power(claim["effect"], *_rates(claim["test"], claim.get("combine", "all"), mark, effect, margin, noise))


@cache  # ledger, page and file ask for the same
def _rates(
    test: str, how: str, mark: float, effect: float, margin: float, noise: tuple[tuple[float, int], ...]
) -> tuple[float, float, float]:
    """How often a claim whose settings have these deviations and numbers of seeds is supported where it is true, supported on its
    threshold, and contradicted there."""
    edge = mark + margin * (test == "equivalent")
    far = np.full(len(noise), effect)
    beyond = np.full(len(noise), 2 * edge - effect)  # as far on the other side
    one_on_edge, one_on_edge_beyond = far.copy(), beyond.copy()
    worst = int(np.argmax([spread for spread, _ in noise]))
    one_on_edge[worst] = one_on_edge_beyond[worst] = edge
    edges = np.full(len(noise), edge)
    support, contradiction = (one_on_edge, edges) if how == "all" else (edges, one_on_edge_beyond)

    def judged(centres: np.ndarray) -> tuple[float, float]:
        random = np.random.default_rng(0)
        p = [
            rule.p_values(random.normal(centre, spread, size=(DRAWS, n)), test=test, mark=mark, margin=margin)
            for centre, (spread, n) in zip(centres, noise, strict=True)
        ]
        holds, fails = rule.outcome(np.stack([a for a, _ in p], -1), np.stack([b for _, b in p], -1), how)
        return float(holds.mean()), float(fails.mean())

    return judged(far)[0], judged(support)[0], judged(contradiction)[1]


def _spread(part: Mapping, forward) -> float:
    """Standard deviation of a setting's values, from its interval; above 0, as nothing is known to be without noise."""
    low, high = float(forward(part["low"])), float(forward(part["high"]))
    half = (high - low) / 2
    return max(half * np.sqrt(part["n"]) / float(special.stdtrit(part["n"] - 1, (1 + rule.LEVEL) / 2)), 1e-12)
