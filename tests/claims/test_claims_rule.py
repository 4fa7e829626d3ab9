"""The rule by simulation: the interval covers what it says, and calls a null a finding as seldom as it says (-s shows the numbers)."""

import numpy as np
import pytest
from scipy import stats

from ncbook.claims import rule
from ncbook.errors import InputError

SEEDS = 5
ALPHA = 0.025


def share(name: str, hits, expected: float, record_property, *, at_most: bool = False) -> float:
    """The share of hits, printed; it must lie within the binomial distribution's 1 in 10,000 of `expected` (from above only: `at_most`)."""
    found, n = float(np.mean(hits)), len(hits)
    low, high = stats.binom.ppf([5e-5, 1 - 5e-5], n, expected) / n
    print(f"\n{name}: {found:.4f} of {n:,} (nominal {'at most ' if at_most else ''}{expected:g})", end="")
    record_property(name, f"{found:.4f}")
    assert found <= high
    assert at_most or found >= low
    return found


def covered(values: np.ndarray, truth: float, scale: str = "linear") -> np.ndarray:
    parts = [rule.judge_part(v, test="greater", threshold=truth, scale=scale) for v in values]
    return np.array([p.low <= truth <= p.high for p in parts])


def test_coverage_for_normal_values(record_property):
    values = np.random.default_rng(1).normal(3.0, 2.0, size=(4000, SEEDS))
    share("coverage, normal, n = 5", covered(values, 3.0), 0.95, record_property)


def test_coverage_for_log_normal_values_on_the_log_scale(record_property):
    values = 10 ** np.random.default_rng(2).normal(-6.0, 1.5, size=(4000, SEEDS))
    share("coverage, log-normal on log10, n = 5", covered(values, 1e-6, "log10"), 0.95, record_property)


@pytest.mark.parametrize("n", [3, 10, 20])
def test_coverage_for_other_numbers_of_seeds(n, record_property):
    values = np.random.default_rng(n).normal(size=(5000, n))
    share(f"coverage, normal, n = {n}", covered(values, 0.0), 0.95, record_property)


def test_coverage_for_skewed_values_is_known(record_property):
    """Gamma of shape 4 (skewness 1): Student's interval at five seeds covers a little less than 95%; a percentile bootstrap far less."""
    random = np.random.default_rng(4)
    values = random.gamma(4.0, size=(4000, SEEDS))
    found = covered(values, 4.0)
    share("coverage, gamma of shape 4 (skewness 1), n = 5", found, 0.95, record_property, at_most=True)
    assert found.mean() > 0.92
    means = values[:2000, random.integers(SEEDS, size=(1000, SEEDS))].mean(-1)  # (2000, 1000)
    low, high = np.percentile(means, [2.5, 97.5], axis=1)
    bootstrap = np.mean((low <= 4.0) & (high >= 4.0))
    print(f"\nthe same, percentile bootstrap: {bootstrap:.4f}", end="")
    assert bootstrap < 0.88 < found.mean()


def verdicts(values: np.ndarray, **test) -> np.ndarray:
    """Verdicts of claims with one setting: values (claims, seeds)."""
    return np.array([rule.combine([rule.judge_part(v, **test)], "all") for v in values])


@pytest.mark.parametrize("test", ["greater", "less"])
def test_false_alarms_on_the_threshold(test, record_property):
    values = np.random.default_rng(5).normal(1.0, 0.3, size=(4000, SEEDS))
    found = verdicts(values, test=test, threshold=1.0)
    share(f"'{test}' on its threshold: supported", found == "supported", ALPHA, record_property)
    share(f"'{test}' on its threshold: contradicted", found == "contradicted", ALPHA, record_property)


def test_false_alarms_on_the_log_scale(record_property):
    values = 10 ** np.random.default_rng(6).normal(-1.0, 0.5, size=(4000, SEEDS))
    found = verdicts(values, test="less", threshold=0.1, scale="log10")
    share("'less' on its threshold, log10: supported", found == "supported", ALPHA, record_property)
    share("'less' on its threshold, log10: contradicted", found == "contradicted", ALPHA, record_property)


@pytest.mark.parametrize("side", [-1, 1])
def test_false_alarms_of_equivalence_at_the_margin(side, record_property):
    values = np.random.default_rng(7).normal(2.0 + side * 1.0, 0.2, size=(4000, SEEDS))
    found = verdicts(values, test="equivalent", threshold=2.0, margin=1.0)
    share(f"'equivalent' at the margin {side:+d}: supported", found == "supported", ALPHA, record_property)
    share(f"'equivalent' at the margin {side:+d}: contradicted", found == "contradicted", ALPHA, record_property, at_most=True)


def combined(settings: int, how: str, centres, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(12_000 // settings, settings, SEEDS)) + np.asarray(centres, dtype=float)[:, None]
    return np.array([rule.combine([rule.judge_part(v, test="greater", threshold=0.0) for v in claim], how) for claim in values])


@pytest.mark.parametrize("settings", [2, 6])
def test_any_of_several_settings_is_not_found_by_trying_often(settings, record_property):
    found = combined(settings, "any", [0.0] * settings, seed=settings)
    share(f"'any' of {settings} settings, all on the threshold: supported", found == "supported", ALPHA, record_property, at_most=True)
    naive = 1 - (1 - ALPHA) ** settings
    assert (found == "supported").mean() < (naive + ALPHA) / 2  # what no correction would give is far off


@pytest.mark.parametrize("settings", [2, 6])
def test_all_of_several_settings(settings, record_property):
    """The worst case for "supported": one setting on the threshold, the others far beyond it. For "contradicted": all on the threshold."""
    worst = combined(settings, "all", [0.0] + [20.0] * (settings - 1), seed=10 + settings)
    share(f"'all' of {settings} settings, one on the threshold: supported", worst == "supported", ALPHA, record_property)
    null = combined(settings, "all", [0.0] * settings, seed=20 + settings)
    share(f"'all' of {settings} settings, all on the threshold: contradicted", null == "contradicted", ALPHA, record_property, at_most=True)


def test_any_is_contradicted_as_seldom_as_it_says(record_property):
    worst = combined(3, "any", [0.0, -20.0, -20.0], seed=31)
    share("'any' of 3 settings, one on the threshold: contradicted", worst == "contradicted", ALPHA, record_property)


def test_the_verdict_is_what_the_interval_says():
    random = np.random.default_rng(8)
    for _ in range(300):
        values = random.normal(0.5, 1.0, size=random.integers(5, 12))
        part = rule.judge_part(values, test="greater", threshold=0.0)
        expected = "supported" if part.low > 0 else "contradicted" if part.high < 0 else "inconclusive"
        assert rule.combine([part], "all") == rule.combine([part], "any") == expected
        for how in ("all", "any"):  # as the power of a claim is computed, many at once
            holds, fails = rule.outcome(np.array([[part.p_for]]), np.array([[part.p_against]]), how)
            assert (holds.tolist(), fails.tolist()) == ([expected == "supported"], [expected == "contradicted"])
        mirrored = rule.judge_part(-values, test="less", threshold=0.0)
        assert mirrored.p_for == pytest.approx(part.p_for)
        assert mirrored.high == pytest.approx(-part.low)
        within = rule.judge_part(values, test="equivalent", threshold=0.0, margin=1.0)
        assert (rule.combine([within], "all") == "supported") == (within.low > -1 and within.high < 1)


def test_an_interval_against_the_table_of_students_distribution():
    low, high = rule.student_interval([1.0, 2.0, 3.0, 4.0, 5.0])[1:]
    assert (high - low) / 2 == pytest.approx(2.7764451052 * np.sqrt(2.5 / 5))
    part = rule.judge_part([0.01, 0.1, 1.0], test="less", threshold=1.0, scale="log10")
    assert part.estimate == pytest.approx(0.1)  # geometric mean
    assert part.low * part.high == pytest.approx(0.01)


def part_of(values, **test):
    return rule.judge_part(values, **{"test": "greater", "threshold": 0.0, **test})


def test_too_few_seeds_give_no_verdict():
    strong = [1.0, 1.01, 0.99, 1.0, 1.02]
    assert [rule.combine([part_of(strong[:n])], "all") for n in (2, 3, 4, 5)] == ["not measured", "exploratory", "exploratory", "supported"]
    assert rule.combine([part_of(strong), part_of(strong[:4])], "any") == "exploratory"  # the setting with the fewest seeds decides
    assert rule.combine([], "all") == rule.combine([], "any") == "not measured"


def test_undefined_settings():
    yes, no = part_of([1.0, 1.1, 0.9, 1.0, 1.05]), part_of([-1.0, -1.1, -0.9, -1.0, -1.05])
    assert rule.combine([yes], "all", undefined=1) == "not measured"
    assert rule.combine([yes], "any", undefined=1) == "supported"
    assert rule.combine([no], "any") == "contradicted"
    assert rule.combine([no], "any", undefined=1) == "inconclusive"  # it may happen in the setting that was not measured
    weak = part_of([1.0, 0.2, 1.5, 0.4, 0.5])
    assert weak.p_for <= ALPHA
    assert rule.combine([weak], "any") == "supported"
    assert rule.combine([weak], "any", undefined=7) == "inconclusive"  # it counts among the tries


def test_values_that_do_not_vary():
    assert rule.combine([part_of([2.0] * 5)], "all") == "supported"
    assert rule.combine([part_of([-2.0] * 5)], "all") == "contradicted"
    assert rule.combine([part_of([0.0] * 5)], "all") == "inconclusive"
    for value in (0.1, 0.3, 1e-9, 1 / 3):  # on the threshold but for rounding
        assert rule.combine([part_of([value] * 5, threshold=value)], "all") == "inconclusive"
        assert rule.combine([part_of([value] * 7, threshold=value, test="less", scale="log10")], "all") == "inconclusive"
    same = part_of([0.5] * 5, test="equivalent", threshold=0.5, margin=0.1)
    assert (same.estimate, same.low, same.high) == (0.5, 0.5, 0.5)
    assert rule.combine([same], "all") == "supported"


@pytest.mark.parametrize("unit", [1e-12, 1e12])
@pytest.mark.parametrize("test", [{"test": "greater"}, {"test": "less"}, {"test": "equivalent", "margin": 1.0}])
def test_the_unit_of_the_values_decides_nothing(unit, test):
    values = np.random.default_rng(3).normal(0.5, 0.4, size=7)
    scaled = test | {name: unit * value for name, value in test.items() if name == "margin"}
    for threshold in (0.0, 0.3):
        here, there = part_of(values, **test, threshold=threshold), part_of(unit * values, **scaled, threshold=unit * threshold)
        assert (there.p_for, there.p_against) == pytest.approx((here.p_for, here.p_against))
        assert (there.low, there.high) == pytest.approx((unit * here.low, unit * here.high))
    rounded = unit * np.array([0.1 + 0.2, 0.3, 0.1 * 3, 0.3, 0.3])  # on the threshold but for rounding: neither it nor its opposite
    on_it = part_of(rounded, threshold=unit * 0.3)
    assert (on_it.p_for, on_it.p_against) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0], [3.0, 4.0]]])
def test_no_interval_without_numbers(values):
    with pytest.raises(InputError, match="two or more finite numbers"):
        rule.student_interval(values)


def test_unknown_names():
    with pytest.raises(InputError, match="unknown test 'grater'; did you mean 'greater'"):
        rule.judge_part([1.0, 2.0], test="grater", threshold=0)
    with pytest.raises(InputError, match="unknown scale 'log'; did you mean 'log10'"):
        rule.judge_part([1.0, 2.0], test="less", threshold=1, scale="log")
    with pytest.raises(InputError, match="unknown combination 'most'"):
        rule.combine([part_of([1.0] * 5)], "most")
    with pytest.raises(InputError, match="log scale needs positive values, not -1"):
        rule.judge_part([1.0, -1.0], test="less", threshold=1, scale="log10")
