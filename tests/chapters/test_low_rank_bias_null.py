"""False alarms and power of the chapter's claims: surrogate tables, with the noise of trial seeds, through quantity and rule."""

import numpy as np
import pandas as pd
import pytest
import surrogates

from ncbook.chapters import claims
from ncbook.chapters.low_rank_bias.quantities import RANK
from ncbook.publish.parameters import parameters

QUICK = parameters("low_rank_bias")
SEEDS, VALUES = QUICK["seeds"], 200
STARTS, BESIDE, SEARCHED = QUICK["starts"], QUICK["starts_beside"], QUICK["search_starts"]
CLAIMS = {claim.id: claim for claim in claims("low_rank_bias")}


def rates(name: str, surrogate) -> tuple[float, float]:
    return surrogates.rates(CLAIMS[name], surrogate, seeds=SEEDS, values=VALUES)


def starts(ratios, **given) -> pd.DataFrame:
    fixed = {"step": 9, "width": 30, "scale": 1.0, "relu": True, "weight_decay": 0.004, "classes": 10, "layers": 4, "last_hidden": True}
    fixed |= {"side": "before", "collapse_loss": 0.1, "fit": 0.002, RANK: 6} | given
    return pd.DataFrame({**fixed, "start": range(len(ratios)), "loss_now": 0.1 * np.asarray(ratios)})


def below(share):
    """Starts fall below collapse independently, each with a probability."""
    return lambda random: starts(np.where(random.random(STARTS) < share, 0.9, 1.0))


def wide(share):
    def surrogate(random):
        at = np.where(random.random(BESIDE) < share, 1.0, 0.95)
        return pd.concat([starts(at, width=60), starts([0.9] * STARTS, width=20)])

    return surrogate


def low(rank):
    """Whole ranks about a mean, which may not be whole, half a direction apart by the seed and one by the start."""
    return lambda random: starts([0.9] * STARTS, **{RANK: np.round(rank + 0.4 * random.normal() + random.normal(size=STARTS)).clip(1, 10)})


def collapsed(v):
    return lambda random: starts([0.9] * BESIDE, variance_ratio=v * np.exp(0.5 * random.normal(size=BESIDE) + 0.3 * random.normal()))


def three(least, hit):
    """A few starts find what is below, if there is anything."""

    def surrogate(random):
        found = np.where(random.random(SEARCHED) < hit, least, 1.001) + 2e-4 * np.abs(random.normal(size=SEARCHED))
        return starts(found, classes=3)

    return surrogate


def images(rank):
    def surrogate(random):
        found = np.round(rank + 0.8 * random.normal()).clip(1, 10)
        fixed = {"epoch": 9, "weight_decay": 0.005, "last_hidden": True, "side": "before", "train_error": 0.0, "classes": 10}
        return pd.DataFrame([fixed | {RANK: found}])

    return surrogate


FALSE = [  # the boundary of each claim
    ("lowrank-below-collapse", below(0.5)),
    ("lowrank-rank", low(8)),
    ("lowrank-within-collapses", collapsed(1e-3)),
    ("lowrank-wide-collapses", wide(0.5)),
    ("lowrank-three-classes", three(0.99, 0.2)),
    ("lowrank-three-classes", three(1.0, 0.2)),
    ("lowrank-images", images(8)),
]
TRUE = [
    ("lowrank-below-collapse", below(0.85)),
    ("lowrank-rank", low(6.5)),
    ("lowrank-within-collapses", collapsed(1e-4)),
    ("lowrank-wide-collapses", wide(1.0)),
    ("lowrank-three-classes", three(0.978, 0.3)),
    ("lowrank-images", images(6)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "surrogate"), FALSE, ids=[f"{name} {i}" for i, (name, _) in enumerate(FALSE)])
def test_false_alarms_are_rare(name, surrogate):
    supported, _ = rates(name, surrogate)
    assert supported <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("name", "surrogate"), TRUE, ids=[name for name, _ in TRUE])
def test_true_claims_are_seen(name, surrogate):
    supported, contradicted = rates(name, surrogate)
    assert supported >= 0.8 and contradicted <= 0.01


def test_every_claim_has_a_null():
    assert {name for name, claim in CLAIMS.items() if claim.kind == "claim"} == {name for name, _ in FALSE} == {name for name, _ in TRUE}
