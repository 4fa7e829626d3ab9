"""A law that is a straight line on a logarithmic scale: the chart in which a reader chooses the range that the line is fitted to."""

from collections.abc import Mapping

import pandas as pd

from ncbook.claims.text import typeset
from ncbook.publish.figures.interactive import COLOURS, _plain, _told, _words, chart_of, controlled, ticks

FIRST, LAST = "first", "last"  # the two sliders: the ends of the range


def line_chart(table: pd.DataFrame, *, x: str, y: Mapping[str, str], colour: str, choose: Mapping[str, str | list[str]]) -> dict:
    """Points of one positive column against whole numbers of column `x`, and through those between two sliders a least-squares line of
    the logarithm, with its slope in decades and R², for each value of column `colour`.

    `y` is that column in words; `choose` are controls as in `chart`.
    """
    rows, params, conditions, sliders = controlled(table, choose, {}, {})
    rows["x"], rows["series"] = table[x], _words(table, colour)
    places = sorted(table[x].unique().tolist())
    for name, at in ((FIRST, 0), (LAST, len(places) - 1)):
        bind = {"input": "range", "min": 0, "max": len(places) - 1, "step": 1, "name": f"{name} {_plain(x)} of the line"}
        params.append({"name": name, "value": at, "bind": bind})
        sliders[name] = [typeset(f"{place:g}") for place in places]
    inside = f"datum.x >= {places}[min({FIRST}, {LAST})] && datum.x <= {places}[max({FIRST}, {LAST})]"
    spec = chart_of(table, y, rows, params, conditions, sliders)
    above = 15 * rows["series"].nunique() + 8  # pixels from the plot up to what is said of the first line; the title makes room
    spec["transform"] += [{"filter": "isValid(datum.y) && datum.y > 0"}, {"calculate": "log(datum.y) / LN10", "as": "decades"}]
    fit = {"regression": "decades", "on": "x", "groupby": ["series"]}
    look = {"field": "series", "type": "nominal", "sort": None, "title": None, "scale": {"range": COLOURS}}
    across = {
        "field": "x",
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": _plain(x), "grid": False, "tickMinStep": 1} | ticks("x", False),
    }
    up = {
        "field": "y",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False},
        "axis": {"title": None, "gridOpacity": 0.6} | ticks("y", True),
    }
    told = f"datum.series + ': ' + format(datum.coef[1], '.3f') + ' decades a ' + '{_plain(x)}' + ', R² = ' + format(datum.rSquared, '.3f')"
    return spec | {
        "description": f"Points of {' or '.join(y)} against {_plain(x)}, with a line through those of a chosen range.",
        "layer": [
            {
                "mark": {"type": "point", "filled": True, "size": 45},
                "encoding": {
                    "x": across,
                    "y": up,
                    "color": look | {"legend": {"orient": "bottom"}},
                    "shape": look | {"scale": {}},
                    "opacity": {"condition": {"test": inside, "value": 1}, "value": 0.25},
                    "tooltip": _told(rows, {"series": colour, "x": x}),
                },
            },
            {
                "transform": [{"filter": inside}, fit, {"calculate": "pow(10, datum.decades)", "as": "y"}],
                "mark": {"type": "line", "strokeWidth": 1.6},
                "encoding": {"x": across, "y": up, "color": look},
            },
            {
                "transform": [
                    {"filter": inside},
                    fit | {"params": True},
                    {"calculate": "datum.keys[0]", "as": "series"},
                    {"window": [{"op": "row_number", "as": "row"}]},
                    {"calculate": f"15 * datum.row - {above}", "as": "pixel"},
                    {"calculate": told, "as": "told"},
                ],
                "mark": {"type": "text", "align": "left", "fontSize": 12},
                "encoding": {
                    "x": {"value": 6},
                    "y": {"field": "pixel", "type": "quantitative", "scale": None, "axis": None},
                    "text": {"field": "told"},
                    "color": look,
                },
            },
        ],
    }
