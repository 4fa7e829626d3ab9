"""The drawing beside an estimate: numbers that can be checked by hand, and nothing where there is nothing to draw."""

import math
import xml.etree.ElementTree as ET

import pytest

from ncbook.publish.interval import PAD, WIDTH, svg

CLAIM = {"test": "less", "threshold": 0.1}


def part(low: float, estimate: float, high: float, **more) -> dict:
    return {"low": low, "estimate": estimate, "high": high, "n": 5, "verdict": "supported", **more}


def shapes(text: str) -> tuple[ET.Element, list[tuple[float, float]], list[float]]:
    """The shaded rectangle, the ends of the intervals and the places of the thresholds."""
    drawing = ET.fromstring(text)
    lines = drawing.findall("line")
    ends = [(float(line.get("x1")), float(line.get("x2"))) for line in lines if line.get("class") != "nc-threshold"]
    return drawing.find("rect"), ends, [float(line.get("x1")) for line in lines if line.get("class") == "nc-threshold"]


def share(value: float) -> float:
    """Where of the drawing's width a value lies that is `value` of the way from the least to the greatest that must be seen."""
    return pytest.approx(WIDTH * (value + PAD) / (1 + 2 * PAD), abs=0.06)


def test_interval_and_threshold_lie_where_their_numbers_are():
    shaded, ends, thresholds = shapes(svg(CLAIM, [part(0.0, 0.05, 0.2)]))
    assert ends == [(share(0), share(1))] and thresholds == [share(0.5)]
    assert float(shaded.get("x")) == 0 and float(shaded.get("width")) == thresholds[0]


def test_the_scale_is_the_claim_s():
    _, ends, thresholds = shapes(svg({**CLAIM, "scale": "log10"}, [part(0.001, 0.01, 10.0)]))
    assert ends == [(share(0), share(1))] and thresholds == [share(0.5)]


@pytest.mark.parametrize(("scale", "threshold", "margin"), [("linear", 1.0, 0.5), ("log10", 1.0, 0.5)])
def test_equality_has_two_bounds_and_the_shade_between_them(scale, threshold, margin):
    claim = {"test": "equivalent", "threshold": threshold, "margin": margin, "scale": scale}
    far = (0.0, 2.0) if scale == "linear" else (0.1, 10.0)
    shaded, _, (left, right) = shapes(svg(claim, [part(far[0], 1.0, far[1])]))
    assert (left, right) == ((share(0.25), share(0.75)))
    assert float(shaded.get("x")) == left and float(shaded.get("width")) == pytest.approx(right - left, abs=0.11)


def test_what_is_above_the_threshold_is_shaded_for_a_claim_that_says_so():
    shaded, _, (threshold,) = shapes(svg({**CLAIM, "test": "greater"}, [part(0.0, 0.1, 0.2)]))
    assert float(shaded.get("x")) == threshold and threshold + float(shaded.get("width")) == pytest.approx(WIDTH, abs=0.11)


def test_rows_of_a_claim_share_an_axis():
    both = [part(0.0, 0.05, 0.1), part(0.1, 0.2, 0.3, verdict="contradicted")]
    together = shapes(svg(CLAIM, both))[1]
    assert [shapes(svg(CLAIM, [one], both))[1][0] for one in both] == together == [(share(0), share(1 / 3)), (share(1 / 3), share(1))]


def test_it_says_in_words_what_it_shows():
    assert 'role="img" aria-label="95% interval from 0.01 to 0.2, where the claim says below 0.1"' in svg(CLAIM, [part(0.01, 0.05, 0.2)])
    assert 'aria-label="2 settings with 95% intervals from 0.01 to 0.3, where' in svg(CLAIM, [part(0.01, 0.1, 0.2), part(0.1, 0.2, 0.3)])


def test_what_has_no_interval_is_not_drawn():
    assert svg(CLAIM, []) == svg(CLAIM, [{"n": 1, "undefined": 4}]) == svg(CLAIM, [part(-math.inf, 0.0, math.inf)]) == ""
    assert shapes(svg(CLAIM, [part(0.1, 0.1, 0.1)]))[1] == [(WIDTH / 2, WIDTH / 2)]  # on its threshold, and without a width
