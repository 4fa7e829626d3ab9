"""`interactive`: a chart with controls, the twin of a still figure; `chart`, which makes one from a tidy table. Both are Vega-Lite.

The numbers stand in the page, so that a control needs no server; ``explore.js`` draws them when they come into view.
"""

import html
import json
from collections.abc import Mapping

import pandas as pd

from ncbook.claims.names import setting
from ncbook.claims.text import typeset
from ncbook.errors import InputError
from ncbook.publish.figures.style import LOOKS

TWIN_MIME = "application/vnd.ncbook.twin+json"  # of which figure a cell shows the twin
VEGA_MIME = "application/vnd.vegalite.v5+json"  # what JupyterLab draws
FORM = "%.4g"  # of a number: finer than a pixel
ALL = "all of them"
DECADES = "abs(log(domain('{0}')[1] / domain('{0}')[0])) / LN10"  # of an axis
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
        f'<form class="nc-explore-controls"></form><div class="nc-explore-chart"></div>'
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
    along: Mapping[str, str] | None = None,
    log: str = "xy",
    falling: bool = False,
    verdicts: pd.DataFrame | None = None,
) -> dict:
    """The Vega-Lite specification of lines against column `x`, told apart by column `colour`, with controls.

    `y` names columns in words; of several, one is chosen. `choose` and `slide` are the controls, each its name in words and a column: one
    of its values is chosen from a list, or with a slider (numbers). Several columns of `choose` are chosen together. Of a table with
    several seeds each is a line, and one of them can be chosen; of many lines one seed's are shown first. Lines are drawn along the column
    of `along`, a name in words and a column of numbers, up to the one chosen with a slider. `log` holds the letters of the logarithmic
    axes; `falling` turns x round. `verdicts` (of `Session.readings`, over the columns of `choose`) stand below the chart, those of what is
    chosen.
    """
    rows, params, conditions, sliders = controlled(table, choose, slide or {}, along or {})
    rows["x"], rows["series"] = table[x], _words(table, colour)
    told = {"series": colour, "x": x}
    for column in (along or {}).values():
        rows["along"] = table[column]
        told["along"] = column
    if several := table.get("seed", pd.Series()).nunique() > 1:
        rows["seed"] = table["seed"]
        told["seed"] = "seed"
        seeds = sorted(table["seed"].unique().tolist())
        params.append(_list("seed", "seed", [ALL, *seeds]) | ({"value": seeds[0]} if len(seeds) * rows["series"].nunique() > MANY else {}))
        conditions.append(f"seed === '{ALL}' || datum.seed === seed")
    spec = chart_of(table, y, rows, params, conditions, sliders)
    fixed = {  # one scale for all places of a slider
        "x": _domain(table[x], "x" in log) if along else {},
        "y": _domain(table[next(iter(y.values()))], "y" in log) if (slide or along) and len(y) == 1 else {},
    }
    spec["transform"].append({"filter": " && ".join(["isValid(datum.y)", *(f"datum.{axis} > 0" for axis in log)])})
    look = {"field": "series", "type": "nominal", "sort": None, "title": None}
    entry = SYMBOL + LETTER * rows["series"].str.len().max()
    if verdicts is not None:
        spec["usermeta"]["verdicts"] = _verdicts(verdicts, choose)
    columns = {"expr": f"clamp(floor((width - {BESIDE}) / {entry:.0f}), 1, 3)"}  # as many as there is room for
    legend = {"orient": "bottom", "columns": columns, "symbolType": "stroke", "symbolSize": 400}
    whole = {"tickMinStep": 1} if "x" not in log and (table[x] % 1 == 0).all() else {}  # there is no layer 1.5
    axis = {"title": _plain(x), "grid": False} | ticks("x", "x" in log) | whole
    return spec | {
        "description": f"Lines of {' or '.join(y)} against {_plain(x)}: {', '.join(dict.fromkeys(rows['series']))}.",
        "mark": {"type": "line", "point": {"size": 28}, "strokeWidth": 1.6},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "scale": _scale("x" in log) | fixed["x"] | {"reverse": falling}, "axis": axis},
            "y": {
                "field": "y",
                "type": "quantitative",
                "scale": _scale("y" in log) | fixed["y"],
                "axis": {"title": None, "gridOpacity": 0.6} | ticks("y", "y" in log),
            },
            "color": look | {"scale": {"range": COLOURS}, "legend": legend},
            "strokeDash": look | {"scale": {"range": DASHES}},
            **({"detail": {"field": "seed"}} if several else {}),
            **({"order": {"field": "along"}} if along else {}),
            "tooltip": _told(rows, told),
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
    rows, params, conditions, sliders = controlled(table, choose, {}, {})
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
                "legend": {"orient": "bottom", "title": None, "gradientLength": 220, "tickCount": 3},
            },
            "tooltip": _told(rows, {"down": y, "x": x}),
        },
    }


def controlled(
    table: pd.DataFrame, choose: Mapping, slide: Mapping, along: Mapping
) -> tuple[pd.DataFrame, list[dict], list[str], dict[str, list[str]]]:
    """The columns that controls choose by, the controls, what a row has to fulfil to be shown, and the words of each slider's places.

    A column with one value needs no control.
    """
    if table.empty:
        raise InputError("an interactive figure needs rows to show; its table is empty.")
    rows, params, conditions, sliders = pd.DataFrame(index=table.index), [], [], {}
    for words, columns in choose.items():
        values = _words(table, columns)
        if values.nunique() > 1:
            rows[name := f"choice{len(params)}"] = values
            params.append(_list(name, words, list(dict.fromkeys(values))))
            conditions.append(f"datum.{name} === {name}")
    for words, column in [*slide.items(), *along.items()]:
        places = sorted(table[column].unique().tolist())
        rows[name := f"choice{len(params)}"] = table[column].map(places.index)  # its place: a slider has equal steps
        bind = {"input": "range", "min": 0, "max": len(places) - 1, "step": 1, "name": words}
        params.append({"name": name, "value": len(places) - 1 if words in along else len(places) // 2, "bind": bind})
        conditions.append(f"datum.{name} {'<=' if words in along else '==='} {name}")
        sliders[name] = [typeset(f"{place:g}") for place in places]
    return rows, params, conditions, sliders


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


def ticks(axis: str, log: bool) -> dict:
    """Which places of an axis are told: of a logarithmic one over two decades or more, powers of ten alone; of places fewer than its
    decades, Vega takes those."""
    return {"labelSeparation": 8} | ({"tickCount": {"expr": f"max(2, {DECADES.format(axis)} - 0.01)"}} if log else {})


def _list(name: str, words: str, values: list) -> dict:
    """A control with the values of a list: buttons where these are few and short, else a menu. A value does not say the control's name
    once more."""
    labels = [str(value).removeprefix(f"{words} ") for value in values]
    kind = "radio" if len(values) <= 3 and sum(map(len, labels)) <= 40 else "select"
    return {"name": name, "value": values[0], "bind": {"input": kind, "options": values, "labels": labels, "name": words}}


def _words(table: pd.DataFrame, columns: str | list[str]) -> pd.Series:
    """The values of a column, or of several together, as they are called in a sentence."""
    columns = [columns] if isinstance(columns, str) else columns
    told = [table[column].map(lambda value, column=column: typeset(setting(column, value))) for column in columns]
    return told[0].str.cat(told[1:], sep=", ") if len(told) > 1 else told[0]


def _verdicts(table: pd.DataFrame, choose: Mapping) -> list[dict]:
    """For each thing that can be chosen: the claims there, each with estimate and verdict, and the declared reading that it stands for."""
    table = table.reset_index(drop=True)
    chosen = pd.DataFrame({words: _words(table, columns) for words, columns in choose.items()})
    return [
        {
            "when": dict(zip(choose, values, strict=True)),
            "instead_of": table.loc[part.index, "instead_of"].iloc[0],
            "rows": table.loc[part.index, ["claim", "estimate", "verdict"]].to_numpy().tolist(),
        }
        for values, part in chosen.groupby(list(choose), sort=False)
    ]


def _scale(log: bool) -> dict:
    return {"type": "log", "nice": False} if log else {"zero": False}


def _domain(values: pd.Series, log: bool) -> dict:
    shown = values[values > 0] if log else values
    return {"domain": [float(FORM % end) for end in (shown.min(), shown.max())]}


def _plain(column: str) -> str:
    return AXES.get(column, column.replace("_", " "))


def _told(rows: pd.DataFrame, fields: Mapping[str, str]) -> list[dict]:
    """What pointing at a mark tells; how numbers are written is the page's (``explore.js``)."""
    kinds = {field: "quantitative" if pd.api.types.is_numeric_dtype(rows[field]) else "nominal" for field in fields}
    shown = [{"field": field, "type": kinds[field], "title": _plain(column)} for field, column in fields.items()]
    return [*shown, {"field": "y", "type": "quantitative", "title": "value"}]
