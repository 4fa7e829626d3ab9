"""False alarms and power of the chapter's claims: surrogate tables, with the noise of trial seeds, through quantity and rule."""

import numpy as np
import pandas as pd
import pytest
import surrogates

from ncbook.chapters import claims
from ncbook.publish.parameters import parameters

QUICK = parameters("shallow_convergence")
SEEDS, STARTS, VALUES = QUICK["seeds"], QUICK["starts"], 300
CLAIMS = {claim.id: claim for claim in claims("shallow_convergence")}
FIXED = {"samples": 100, "dimension": 20, "width": 25, "first_rate": 0.3, "second_rate": 0.0, "linearised": False, "until": 1e-3}


def rates(name: str, surrogate) -> tuple[float, float]:
    return surrogates.rates(CLAIMS[name], surrogate, seeds=SEEDS, values=VALUES)


def arm(fits, moved=1.0, **given) -> pd.DataFrame:
    return pd.DataFrame({**FIXED, "labels": "random", **given, "loss_end": np.where(fits, 9e-4, 0.1), "moved": moved})


def fitting(share, **given):
    """Starts fit independently, each with a probability."""
    return lambda random: arm(random.random(STARTS) < share, **given)


def changing(mean):
    """Apart by a sixth from start to start, as on trial seeds."""
    return lambda random: arm([True] * STARTS, second_rate=0.1, kernel_moved=mean * np.exp(0.16 * random.normal(size=STARTS)))


def saving(ratio):
    """Both labels share inputs and first weights; as on trial seeds the rest is as if they did not."""

    def surrogate(random):
        plain, taught = 1.3 + 0.12 * random.normal(size=(2, STARTS))
        return pd.concat([arm([True] * STARTS, moved=plain), arm([True] * STARTS, moved=ratio * taught, labels="teacher")])

    return surrogate


def needing(power):
    """Starts fit from a width of their own on, about one that is 14 for the fewest samples, as on trial seeds, and then follows a power."""

    def surrogate(random):
        tables = []
        for samples in QUICK["sizes"]:
            middle = 14 * (samples / min(QUICK["sizes"])) ** (power - 1)
            from_width = middle * np.exp(0.35 * random.normal(size=STARTS))
            for width in QUICK["size_widths"]:
                tables.append(arm(width > from_width, samples=samples, dimension=samples / 5, width=width))
        return pd.concat(tables)

    return surrogate


FALSE = [  # the boundary of each claim
    ("shallow-fits-with-few", fitting(0.8)),
    ("shallow-fits-worst-labels", fitting(0.8, labels="worst")),
    ("shallow-both-layers", fitting(0.8, second_rate=0.1)),
    ("shallow-linearised-fits-too", fitting(0.8, linearised=True)),
    ("shallow-need-is-linear", needing(1.5)),
    ("shallow-leaves-lazy", changing(0.5)),
    ("shallow-structure-saves", saving(0.9)),
]
TRUE = [
    ("shallow-fits-with-few", fitting(0.98)),
    ("shallow-fits-worst-labels", fitting(0.98, labels="worst")),
    ("shallow-both-layers", fitting(0.98, second_rate=0.1)),
    ("shallow-linearised-fits-too", fitting(0.98, linearised=True)),
    ("shallow-need-is-linear", needing(1.0)),
    ("shallow-leaves-lazy", changing(0.8)),
    ("shallow-structure-saves", saving(0.8)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "surrogate"), FALSE, ids=[name for name, _ in FALSE])
def test_false_alarms_are_rare(name, surrogate):
    supported, contradicted = rates(name, surrogate)
    assert supported <= 0.05 and contradicted <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("name", "surrogate"), TRUE, ids=[name for name, _ in TRUE])
def test_true_claims_are_seen(name, surrogate):
    supported, contradicted = rates(name, surrogate)
    assert supported >= 0.8 and contradicted <= 0.01


def test_every_claim_has_a_null():
    assert {name for name, claim in CLAIMS.items() if claim.kind == "claim"} == {name for name, _ in FALSE} == {name for name, _ in TRUE}
