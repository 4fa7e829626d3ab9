"""The power that the ledger prints, against exact distributions and against the rule itself, run as often."""

import numpy as np
import pytest
from scipy import stats

from ncbook.claims import rule
from ncbook.claims.power import power

N = 6


def part(spread: float, n: int = N, centre: float = 0.3) -> dict:
    """A setting whose values have this standard deviation."""
    half = spread / np.sqrt(n) * stats.t.ppf(0.975, n - 1)
    return {"n": n, "estimate": centre, "low": centre - half, "high": centre + half}


@pytest.mark.parametrize("effect", [0.55, 0.7, 1.0])
def test_the_power_of_one_setting_is_that_of_the_t_test(effect):
    found = power({"test": "greater", "threshold": 0.5, "effect": effect}, [part(0.2)])
    exact = stats.nct.sf(stats.t.ppf(0.975, N - 1), N - 1, (effect - 0.5) / (0.2 / np.sqrt(N)))
    assert found.power == pytest.approx(exact, abs=0.03)  # four standard errors
    assert found.false_support == pytest.approx(0.025, abs=0.01)
    assert found.false_contradiction == pytest.approx(0.025, abs=0.01)


@pytest.mark.parametrize("how", ["all", "any"])
def test_the_power_of_several_settings_is_how_often_the_rule_says_so(how):
    claim = {"test": "less", "threshold": 0.0, "effect": -0.5, "combine": how}
    spreads = [0.2, 0.6, 0.4]
    found = power(claim, [part(s) for s in spreads])
    random, said = np.random.default_rng(1), []
    for _ in range(2000):
        parts = [rule.judge_part(random.normal(-0.5, s, N), test="less", threshold=0.0) for s in spreads]
        said.append(rule.combine(parts, how) == "supported")
    assert found.power == pytest.approx(np.mean(said), abs=0.06)
    assert found.false_support <= 0.035 and found.false_contradiction <= 0.035


def test_equivalence_and_the_log_scale():
    near = power({"test": "equivalent", "threshold": 1.0, "margin": 0.2, "effect": 1.0}, [part(0.05, centre=1.0)])
    far = power({"test": "equivalent", "threshold": 1.0, "margin": 0.2, "effect": 1.0}, [part(0.5, centre=1.0)])
    assert near.power > 0.99 and far.power < 0.1
    assert max(near.false_support, near.false_contradiction) <= 0.035
    decades = {key: 10**value if key != "n" else value for key, value in part(0.2, centre=-2.0).items()}
    logged = power({"test": "less", "threshold": 0.1, "effect": 0.05, "scale": "log10"}, [decades])
    linear = power({"test": "less", "threshold": -1.0, "effect": np.log10(0.05)}, [part(0.2, centre=-2.0)])
    assert (logged.power, logged.false_support) == pytest.approx((linear.power, linear.false_support), abs=1e-3)


def test_nothing_is_said_without_an_effect_or_with_too_few_seeds():
    claim = {"test": "less", "threshold": 0.0, "effect": -0.5}
    assert power(claim, [part(0.2)]) is not None
    assert power({"test": "less", "threshold": 0.0}, [part(0.2)]) is None
    assert power(claim, []) is power(claim, [part(0.2, n=4)]) is power(claim, [{"setting": {}, "n": 3, "undefined": 2}]) is None


def test_values_without_noise_have_full_power():
    found = power({"test": "greater", "threshold": 0.5, "effect": 0.6}, [part(0.0)])
    assert found.power == 1.0
