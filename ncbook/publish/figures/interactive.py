"""`interactive`: a chart with controls, the twin of a still figure; `chart`, which makes one from a tidy table. Both are Vega-Lite.

The numbers stand in the page, so that a control needs no server; ``explore.js`` draws them when they come into view.
"""

import html
import json
from collections.abc import Mapping

import pandas as pd

from ncbook.claims.names import setting
from ncbook.errors import InputError
from ncbook.publish.figures.style import LOOKS

TWIN_MIME = "application/vnd.ncbook.twin+json"  # of which figure a cell shows the twin
VEGA_MIME = "application/vnd.vegalite.v5+json"  # what JupyterLab draws
FORM = "%.4g"  # of a number: finer than a pixel
ALL = "all of them"
TICKS = {"labelSeparation": 8, "format": "~g"}
COLOURS = [look["color"] for look in LOOKS]
SYMBOL, LETTER, BESIDE = 45, 6.7, 60  # pixels: an entry of a legend, and what stands beside the plot
MANY = 20  # lines: of more, one seed's are shown first
AXES = {"depth": "layer", "number": "number, largest first", "per_sample": "parameters a sample"}  # as in the still figures
DASHES = [[1, 0], [6, 3], [8, 3, 2, 3], [2, 2], [12, 3], [4, 4], [1, 4]]  # seven, and six colours: 42 lines before two look alike


def interactive(spec: dict, figure: str, *, what: str) -> None:
    """Show a Vega-Lite `spec` as the twin of the figure named `figure`, from a cell of its own after that; `what` says what can be done.

    On a page without scripts it stays hidden, and the still figure is what there is.
    """
    from IPython.display import display

    inside = json.dumps(spec, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")  # no text of it ends the element
    markup = (
        f'<div class="nc-explore" role="group" aria-label="{html.escape(what)}" hidden><p><b>Try it.</b> {html.escape(what)}</p>'
        f'<div class="nc-explore-controls"></div><div class="nc-explore-chart"></div>'
        f'<script type="application/json">{inside}</script></div>'
    )
    display({"text/html": markup, "text/plain": what, VEGA_MIME: spec, TWIN_MIME: {"figure": figure}}, raw=True)


def chart(
    table: pd.DataFrame,
    *,
    x: str,
    y: Mapping[str, str],
    colour: str,
    choose: Mapping[str, str | list[str]],
    slide: Mapping[str, str] | None = None,
    log: str = "xy",
) -> dict:
    """The Vega-Lite specification of lines against column `x`, told apart by column `colour`, with controls.

    `y` names columns in words; of several, one is chosen. `choose` and `slide` are the controls, each its name in words and a column: one
    of its values is chosen from a list, or with a slider (numbers). Several columns of `choose` are chosen together. Of a table with
    several seeds each is a line, and one of them can be chosen; of many lines one seed's are shown first. `log` holds the letters of the
    logarithmic axes.
    """
    rows, params, conditions, sliders = controlled(table, choose, slide or {})
    rows["x"], rows["series"] = table[x], _words(table, colour)
    told = {"series": colour, "x": x}
    if several := table.get("seed", pd.Series()).nunique() > 1:
        rows["seed"] = table["seed"]
        told["seed"] = "seed"
        seeds = sorted(table["seed"].unique().tolist())
        params.append(_list("seed", "seed", [ALL, *seeds]) | ({"value": seeds[0]} if len(seeds) * rows["series"].nunique() > MANY else {}))
        conditions.append(f"seed === '{ALL}' || datum.seed === seed")
    spec = chart_of(table, y, rows, params, conditions, sliders)
    shown = table[list(y.values())].stack()
    ends = [shown[shown > 0].min() if "y" in log else shown.min(), shown.max()]  # one scale for all places of a slider
    fixed = {"domain": [float(FORM % end) for end in ends]} if slide and len(y) == 1 else {}
    spec["transform"].append({"filter": " && ".join(["isValid(datum.y)", *(f"datum.{axis} > 0" for axis in log)])})
    look = {"field": "series", "type": "nominal", "sort": None, "title": None}
    entry = SYMBOL + LETTER * rows["series"].str.len().max()
    columns = {"expr": f"clamp(floor((width - {BESIDE}) / {entry:.0f}), 1, 3)"}  # as many as there is room for
    legend = {"orient": "bottom", "columns": columns, "symbolType": "stroke", "symbolSize": 400}
    whole = {"tickMinStep": 1} if "x" not in log and (table[x] % 1 == 0).all() else {}  # there is no layer 1.5
    axis = {"title": _plain(x), "grid": False} | TICKS | whole
    return spec | {
        "description": f"Lines of {' or '.join(y)} against {_plain(x)}: {', '.join(dict.fromkeys(rows['series']))}.",
        "mark": {"type": "line", "point": {"size": 28}, "strokeWidth": 1.6},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "scale": _scale("x" in log), "axis": axis},
            "y": {
                "field": "y",
                "type": "quantitative",
                "scale": _scale("y" in log) | fixed,
                "axis": {"title": None, "gridOpacity": 0.6} | TICKS,
            },
            "color": look | {"scale": {"range": COLOURS}, "legend": legend},
            "strokeDash": look | {"scale": {"range": DASHES}},
            **({"detail": {"field": "seed"}} if several else {}),
            "tooltip": _told(told),
        },
    }


def map_chart(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    value: Mapping[str, str],
    choose: Mapping[str, str | list[str]],
) -> dict:
    """The same for a map: columns `x` across and `y` down, and a positive column of `value` as colour on a logarithmic scale."""
    rows, params, conditions, sliders = controlled(table, choose, {})
    rows["x"], rows["down"] = table[x], table[y]
    return chart_of(table, value, rows, params, conditions, sliders) | {
        "description": f"A map of {' or '.join(value)}: {_plain(x)} across and {_plain(y)} down.",
        "mark": "rect",
        "encoding": {
            "x": {"field": "x", "type": "ordinal", "axis": {"labelAngle": 0, "title": _plain(x)}},
            "y": {"field": "down", "type": "ordinal", "axis": {"title": _plain(y)}},
            "color": {
                "field": "y",
                "type": "quantitative",
                "scale": {"type": "log", "scheme": "viridis"},
                "legend": {"orient": "bottom", "title": None, "gradientLength": 220, "format": ".1~g"},
            },
            "tooltip": _told({"down": y, "x": x}),
        },
    }


def controlled(table: pd.DataFrame, choose: Mapping, slide: Mapping) -> tuple[pd.DataFrame, list[dict], list[str], dict[str, list[str]]]:
    """The columns that controls choose by, the controls, what a row has to fulfil to be shown, and the words of each slider's places.

    A column with one value needs no control.
    """
    if table.empty:
        raise InputError("an interactive figure needs rows to show; its table is empty.")
    rows, params, sliders = pd.DataFrame(index=table.index), [], {}
    for words, columns in choose.items():
        values = _words(table, columns)
        if values.nunique() > 1:
            rows[name := f"choice{len(params)}"] = values
            params.append(_list(name, words, list(dict.fromkeys(values))))
    for words, column in slide.items():
        places = sorted(table[column].unique().tolist())
        rows[name := f"choice{len(params)}"] = table[column].map(places.index)  # its place: a slider has equal steps
        bind = {"input": "range", "min": 0, "max": len(places) - 1, "step": 1, "name": words}
        params.append({"name": name, "value": len(places) // 2, "bind": bind})
        sliders[name] = [f"{place:g}" for place in places]
    return rows, params, [f"datum.{param['name']} === {param['name']}" for param in params], sliders


def chart_of(table: pd.DataFrame, y: Mapping[str, str], rows: pd.DataFrame, params: list, conditions: list, sliders: dict) -> dict:
    """What all charts have: the rows, the controls, and the measure that is shown as ``y``."""
    measured = {words: f"y{number}" for number, words in enumerate(y)}
    rows = rows.assign(**{name: table[y[words]] for words, name in measured.items()})
    measure = json.dumps(next(iter(y)))
    if len(y) > 1:
        params = [*params, _list("measure", "measure", list(y))]
        measure = "measure"
    kinds = {name: "number" if pd.api.types.is_numeric_dtype(rows[name]) else "string" for name in rows}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": 280,
        "title": {"text": {"expr": measure}, "anchor": "start", "fontSize": 13},
        "data": {"values": rows.to_csv(index=False, float_format=FORM), "format": {"type": "csv", "parse": kinds}},
        "params": params,
        "transform": [
            *({"filter": condition} for condition in conditions),
            {"calculate": f"datum[({json.dumps(measured)})[{measure}]]", "as": "y"},
        ],
        "usermeta": {"sliders": sliders},
    }


def _list(name: str, words: str, values: list) -> dict:
    """A control with the values of a list: buttons where these are few and short, else a menu."""
    few = len(values) <= 3 and sum(len(str(value)) for value in values) <= 40
    return {"name": name, "value": values[0], "bind": {"input": "radio" if few else "select", "options": values, "name": words}}


def _words(table: pd.DataFrame, columns: str | list[str]) -> pd.Series:
    """The values of a column, or of several together, as they are called in a sentence."""
    columns = [columns] if isinstance(columns, str) else columns
    told = [table[column].map(lambda value, column=column: setting(column, value)) for column in columns]
    return told[0].str.cat(told[1:], sep=", ") if len(told) > 1 else told[0]


def _scale(log: bool) -> dict:
    return {"type": "log", "nice": False} if log else {"zero": False}


def _plain(column: str) -> str:
    return AXES.get(column, column.replace("_", " "))


def _told(fields: Mapping[str, str]) -> list[dict]:
    """What pointing at a mark tells."""
    shown = [{"field": field, "type": "nominal", "title": _plain(column)} for field, column in fields.items()]
    return [*shown, {"field": "y", "type": "quantitative", "format": ".3~g", "title": "value"}]
