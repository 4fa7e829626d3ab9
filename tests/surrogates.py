"""False alarms and power of a claim, simulated: surrogate tables through its quantity and the rule."""

import numpy as np

from ncbook.claims import rule

TRIALS = 4000


def rates(claim, surrogate, *, seeds: int, values: int = 300) -> tuple[float, float]:
    """How often a claim is supported, and how often contradicted, on tables ``surrogate(random)`` of one seed each.

    A seed whose quantity is undefined leaves a claim unmeasured, which is neither: such seeds are drawn anew, and must be few.
    """
    random, (forward, _) = np.random.default_rng(0), rule.SCALES[claim.scale]
    found = np.array([claim.compute(surrogate(random)) for _ in range(values)])
    assert np.isfinite(found).mean() > 0.5, claim.id
    x = forward(random.choice(found[np.isfinite(found)], (TRIALS, seeds)))
    p_for, p_against = rule.p_values(x, test=claim.test, mark=float(forward(claim.threshold)), margin=claim.margin)
    holds, fails = rule.outcome(p_for[:, None], p_against[:, None], "all")
    return float(holds.mean()), float(fails.mean())
