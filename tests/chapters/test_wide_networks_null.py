"""False alarms and power of the chapter's claims: surrogate tables, with the noise of trial seeds, through quantity and rule."""

import numpy as np
import pandas as pd
import pytest
import surrogates

from ncbook.chapters import claims
from ncbook.publish.parameters import parameters

QUICK = parameters("wide_networks")
SEEDS, VALUES = QUICK["seeds"], 300
CLAIMS = {claim.id: claim for claim in claims("wide_networks")}
DECAY, LESS = QUICK["weight_decay"], QUICK["weight_decay_beside"]
TIMES = np.array([0.0, 0.3, 1.0, 2.4, 6.0])


def rates(name: str, surrogate) -> tuple[float, float]:
    return surrogates.rates(CLAIMS[name], surrogate, seeds=SEEDS, values=VALUES)


def run(*, linear=2, nonlinear=3, decay=DECAY, rate=1.0, random=None, noise=0.0, **last) -> pd.DataFrame:
    """One network, an imbalance that falls at a rate of its own, and the columns of its last epoch, each a value or one a layer."""
    count, rows = nonlinear + linear, []
    for epoch, time in enumerate(TIMES):
        wobble = 0.0 if random is None else noise * random.normal()
        for layer in range(count + 1):
            pair = 0 < layer < count
            rows.append(
                {
                    "linear_layers": linear,
                    "nonlinear_layers": nonlinear,
                    "width": 64,
                    "weight_decay": decay,
                    "epoch": epoch,
                    "balancing_time": time if decay else 0.0,
                    "train_error": 0.0,
                    "layer": layer,
                    "linear": layer > nonlinear,
                    "within": 0.02,
                    "between": 1.0,
                    "kappa_means": 2.0,
                    "alignment": 0.9 if layer == count - 1 else np.nan,
                    "imbalance": 4 * np.exp(-rate * time + wobble) if pair else np.nan,
                    "balancedness": 0.6 if pair else np.nan,
                    "negativity": 0.4,
                }
                | ({name: value[layer] if isinstance(value, list) else value for name, value in last.items()} if time == TIMES[-1] else {})
            )
    return pd.DataFrame(rows)


def wobbly(random, typical, spread):
    return float(typical * np.exp(spread * random.normal()))


def collapsed(v):
    """The two heads are apart by a tenth, as on trial seeds; v is that of the one which is judged."""
    return lambda random: run(within=wobbly(random, v, 0.12))


def roomy(ratio, spread=0.1):
    """What features vary by, over what the outputs do."""
    return lambda random: run(within=[1.0] * 4 + [wobbly(random, ratio, spread) * 0.01, 0.01])


def balancing(rate, noise=0.03):
    return lambda random: run(rate=rate, random=random, noise=noise)


def added(kappa, cosine):
    """Networks with linear layers added, whose features are conditioned and aligned unlike those of the ones without."""

    def surrogate(random):
        base = run(linear=1, kappa_means=wobbly(random, 2.8, 0.06), alignment=0.85 + 0.01 * random.normal())
        more = run(linear=5, kappa_means=wobbly(random, 2.8 * kappa, 0.06), alignment=0.85 + cosine + 0.01 * random.normal())
        return pd.concat([base, more])

    return surrogate


def through(ratio):
    """Each layer of the head improves the conditioning by one factor, up to a twentieth: the largest of the ratios is judged."""

    def surrogate(random):
        steps = ratio * np.exp(0.03 * random.normal(size=4) - 0.03)  # the largest of four such is about 0.03 above their mean
        return run(linear=5, kappa_means=[9.0, 9.0, 9.0, *(6 * np.cumprod([1, *steps])), 1.0])

    return surrogate


def floors(ratio):
    def surrogate(random):
        return pd.concat([run(within=wobbly(random, 0.006 * ratio, 0.06)), run(decay=LESS, within=wobbly(random, 0.006, 0.06))])

    return surrogate


def depths(column, ratio, spread):
    def surrogate(random):
        few, many = 0.5, 0.5 * wobbly(random, ratio, spread)
        return pd.concat([run(nonlinear=2, **{column: few}), run(nonlinear=6, decay=LESS, **{column: many})])

    return surrogate


FALSE = [  # the boundary of each claim
    ("wide-collapse", collapsed(0.04)),
    ("wide-no-room", roomy(3)),
    ("wide-no-room-narrow", roomy(3)),
    ("wide-no-room-assumed", roomy(3)),
    ("wide-balancing-rate", balancing(0.85)),
    ("wide-balancing-rate", balancing(1.15)),
    ("wide-balancing-rate-assumed", balancing(0.85)),
    ("wide-depth-conditioning", added(0.75, 0.1)),
    ("wide-layer-conditioning", through(0.95)),
    ("wide-depth-alignment", added(0.6, 0.02)),
    ("wide-floor", floors(1.3)),
    ("wide-nonlinear-depth-sign", depths("negativity", 0.75, 0.15)),
    ("wide-nonlinear-depth-balance", depths("balancedness", 0.95, 0.1)),
]
TRUE = [
    ("wide-collapse", collapsed(0.025)),
    ("wide-no-room", roomy(1.5)),
    ("wide-no-room-narrow", roomy(1.5)),
    ("wide-no-room-assumed", roomy(1.5)),
    ("wide-balancing-rate", balancing(1.05)),
    ("wide-balancing-rate-assumed", balancing(1.0)),
    ("wide-depth-conditioning", added(0.6, 0.1)),
    ("wide-layer-conditioning", through(0.75)),
    ("wide-depth-alignment", added(0.6, 0.1)),
    ("wide-floor", floors(2)),
    ("wide-nonlinear-depth-sign", depths("negativity", 0.55, 0.1)),
    ("wide-nonlinear-depth-balance", depths("balancedness", 0.8, 0.08)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "surrogate"), FALSE, ids=[f"{name}{i}" for i, (name, _) in enumerate(FALSE)])
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
