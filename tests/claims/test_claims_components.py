"""The variance component of a two-way layout: by hand, against simulation, and how often it alarms when there is nothing."""

import numpy as np
import pytest
from scipy import stats

from ncbook.claims import rule
from ncbook.claims.components import component, mean_squares, variance
from ncbook.errors import InputError


def tables(count: int, frame: float, *, frames=8, seeds=4, random=None) -> np.ndarray:
    random = random or np.random.default_rng(0)
    y = random.standard_normal((count, frames, 1)) * frame + 3 * random.standard_normal((count, 1, seeds))
    return y + random.standard_normal((count, frames, seeds))


def test_mean_squares_are_those_of_a_regression_on_dummies():
    y = tables(1, 1.0)[0]
    frames, seeds = np.indices(y.shape).reshape(2, -1)
    seed_only = np.eye(4)[seeds]
    full = np.hstack([seed_only, np.eye(8)[frames]])
    rss = [float(np.sum((y.ravel() - x @ np.linalg.lstsq(x, y.ravel(), rcond=None)[0]) ** 2)) for x in (seed_only, full)]
    assert mean_squares(y) == pytest.approx(((rss[0] - rss[1]) / 7, rss[1] / 21))


def test_pooling_layouts_is_averaging_their_mean_squares():
    y = tables(5, 1.0)
    assert mean_squares(y) == pytest.approx(np.mean([mean_squares(one) for one in y], axis=0))
    assert variance(y) == pytest.approx(np.mean([variance(one) for one in y]))


@pytest.mark.parametrize("frame", [0.0, 1.0, 3.0])
def test_the_estimate_is_unbiased_and_the_interval_covers(frame):
    y = tables(1500, frame)
    estimates = np.array([variance(one) for one in y])
    assert abs(estimates.mean() - frame**2) < 4 * estimates.std() / np.sqrt(len(y))
    found = [component(one, draws=1) for one in y]
    covered = np.mean([c.low <= frame**2 <= c.high for c in found])
    assert 0.935 < covered < 0.985


@pytest.mark.parametrize(("shape", "frame", "level"), [((8, 4), 1.0, 0.95), ((5, 8, 4), 0.3, 0.95), ((3, 6), 2.0, 0.9)])
def test_the_interval_is_that_of_the_papers(shape, frame, level):
    """Ting et al. 1990, as Burdick & Graybill 1992 (section 3.3) print it, with the points of F from another library's inverse."""
    y = tables(*(shape if len(shape) == 3 else (1, *shape))[:1], frame, frames=shape[-2], seeds=shape[-1])
    found = component(y, draws=1, level=level)
    (first, second), layouts = mean_squares(y), len(y)
    n1, n2, a = layouts * (shape[-2] - 1), layouts * (shape[-2] - 1) * (shape[-1] - 1), (1 - level) / 2
    point = lambda share, n, m: stats.f.ppf(share, n, m) if m < np.inf else stats.chi2.ppf(share, n) / n
    g1, h2 = 1 - 1 / point(1 - a, n1, np.inf), 1 / point(a, n2, np.inf) - 1
    h1, g2 = 1 / point(a, n1, np.inf) - 1, 1 - 1 / point(1 - a, n2, np.inf)
    wide, narrow = point(1 - a, n1, n2), point(a, n1, n2)
    g12 = ((wide - 1) ** 2 - g1**2 * wide**2 - h2**2) / wide
    h12 = ((1 - narrow) ** 2 - h1**2 * narrow**2 - g2**2) / narrow
    down = g1**2 * first**2 + h2**2 * second**2 + g12 * first * second
    up = h1**2 * first**2 + g2**2 * second**2 + h12 * first * second
    assert found.low == pytest.approx(max(0, (first - second - np.sqrt(max(0, down))) / shape[-1]), rel=1e-9)
    assert found.high == pytest.approx((first - second + np.sqrt(up)) / shape[-1], rel=1e-9)
    assert found.error == second and found.estimate == pytest.approx((first - second) / shape[-1])


def test_the_permutation_test_alarms_at_its_level_over_simulated_tables():
    """The estimator's null: 600 tables without a frame effect, half of them far from normal. It must alarm in 3 to 7.5% of them."""
    random = np.random.default_rng(7)
    y = tables(600, 0.0, random=random)
    y[300:] = np.exp(1.5 * y[300:])  # skewed; cells of a seed remain exchangeable
    alarms = np.mean([component(one, draws=199).p <= 0.05 for one in y])
    assert 0.03 < alarms < 0.075


def test_the_rule_over_layouts_rarely_finds_what_is_not_there():
    """Five layouts, Student's interval on their unbiased estimates: nominal 2.5% for a one-sided claim; the right-skew of variances makes
    it less."""
    y = tables(1000 * 5, 0.0).reshape(1000, 5, 8, 4)
    found = [rule.judge_part([variance(one) for one in five], test="greater", threshold=0).p_for <= 0.025 for five in y]
    assert np.mean(found) < 0.035


def test_a_plain_effect_is_found():
    random = np.random.default_rng(2)
    y = 2 * random.standard_normal((5, 8, 1)) + random.standard_normal((5, 8, 4))
    c = component(y)
    assert c.p <= 0.001
    assert 1 < c.low < 4 < c.high


def test_nothing_depends_on_the_seeds_own_level():
    y = tables(2, 1.0)
    here, there = component(y), component(y + 8.0 * np.arange(4))
    assert here.p == there.p
    assert here.estimate == pytest.approx(there.estimate)


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_the_unit_of_the_measurement_is_a_factor_and_nothing_else(unit):
    """Variances are of the unit squared; the p-value has none."""
    here, there = component(tables(2, 3.0)), component(unit * tables(2, 3.0))
    assert there.p == here.p
    assert here.low > 0  # as an end that is cut at 0 has no unit
    for name in ("estimate", "low", "high", "error"):
        assert getattr(there, name) == pytest.approx(unit**2 * getattr(here, name)), name


@pytest.mark.parametrize("size", [1.0, 0.1, 1 / 3])
def test_shuffles_that_spread_as_widely_as_the_table_count(size):
    """Of two frames and two seeds every second shuffle spreads as widely, but for rounding; where no frame differs every one does."""
    two = component(size * np.array([[7.0, 0.3], [8.1, 1.4]]))
    assert 0.45 < two.p < 0.55
    assert component(np.full((3, 4), size)).p == 1


@pytest.mark.parametrize("bad", [[1.0, 2.0], np.zeros((1, 4)), np.zeros((4, 1)), [[1.0, np.nan], [0.0, 1.0]], np.zeros((0, 3, 3))])
def test_what_is_no_layout_is_refused(bad):
    with pytest.raises(InputError, match="two-way layout"):
        component(bad)
