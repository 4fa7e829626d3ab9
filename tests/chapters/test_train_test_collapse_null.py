"""How often the claims of the first chapter are judged rightly and wrongly, on surrogate curves with noise like that of the runs."""

import math
from functools import cache

import numpy as np
import pandas as pd
import pytest

from ncbook.chapters import claims
from ncbook.chapters.train_test_collapse import quantities as q
from ncbook.claims import rule

CLAIMS = {claim.id: claim for claim in claims("train_test_collapse")}
EPOCHS = np.array([0, 1, 2, 4, 7, 13, 25, 48, 91, 174, 330, 600])
NETWORKS, SEEDS, DRAWS = 60, 5, 4000


def network(random: np.random.Generator, elasticity: float) -> pd.DataFrame:
    """The rows of one network: train V falls to about 0.002, most steeply at the end, as under a cosine schedule; test V and the
    label-free statistics follow with that elasticity, which varies by some 0.045, as that of the runs did at most."""
    decades = np.interp(np.log(EPOCHS + 1), [0, np.log(8), np.log(601)], [1, -0.3, -2.7 + random.normal(0, 0.1)])
    train = decades + random.normal(0, 0.03, len(EPOCHS))
    test = 0.3 + elasticity * train + random.normal(0, 0.03, len(EPOCHS))
    columns = {"variance_ratio": 0.0, "weak_nearest_mean": 0.01, "weak_kmeans": 0.01}  # with noise of their own
    sides = [
        pd.DataFrame({name: 10 ** (logs + random.normal(0, noise, len(EPOCHS))) for name, noise in columns.items()}).assign(
            split=split, epoch=EPOCHS, terminal_epoch=np.where(EPOCHS >= 7, 7.0, math.nan)
        )
        for split, logs in (("train", train), ("test", test))
    ]
    return pd.concat(sides)


@cache
def values(quantity: str, elasticity: float) -> np.ndarray:
    """The claim's quantity of many such networks."""
    random = np.random.default_rng(0)
    found = np.array([getattr(q, quantity)(network(random, elasticity)) for _ in range(NETWORKS)])
    assert np.isfinite(found).all()
    return found


def rates(name: str, elasticities: list[float]) -> tuple[float, float]:
    """How often a claim is supported and contradicted, on five seeds in as many settings as there are elasticities."""
    claim, random = CLAIMS[name], np.random.default_rng(1)
    each = [random.choice(values(claim.quantity, elasticity), (DRAWS, SEEDS)) for elasticity in elasticities]
    sides = [rule.p_values(x, test=claim.test, mark=claim.threshold) for x in each]
    holds, fails = rule.outcome(np.stack([a for a, _ in sides], -1), np.stack([b for _, b in sides], -1), claim.combine)
    return holds.mean(), fails.mean()


@pytest.mark.parametrize("claim", ["no-strong-test-collapse", "no-weak-test-collapse"])
def test_the_headline_decides_and_is_not_misled(claim):
    supported, contradicted = rates(claim, [0.1] * 6)
    assert supported >= 0.8 and contradicted == 0
    supported, contradicted = rates(claim, [0.9] * 6)
    assert supported == 0 and contradicted >= 0.8
    supported, _ = rates(claim, [0.1] * 5 + [0.25])
    assert supported <= 0.05
    # on the threshold; the larger of two statistics with noise of their own is a little above it
    _, contradicted = rates(claim, [0.24] * 6)
    assert contradicted <= 0.05
    # the rates over the whole terminal phase called a power law of 0.4 no collapse
    assert rates(claim, [0.4] * 6)[0] == 0


def test_movement_in_opposite_directions_is_seen_and_not_made_of_noise():
    assert rates("opposite-over-training", [-0.1] * 6)[0] >= 0.8
    assert rates("opposite-over-training", [0.1] * 6)[1] >= 0.8
    assert rates("opposite-over-training", [0.0] * 6)[0] <= 0.05
    assert rates("opposite-over-training", [0.0] + [0.2] * 5)[1] <= 0.05
