"""Spherical codes to be moved by controls, as Vega-Lite: classes rearranged on the circle, and points on the sphere that turn."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ncbook.publish.figures.interactive import COLOURS, chart_of, controlled
from ncbook.publish.figures.sketches import closest_pairs

SIDE = 280  # pixels
DEGREES = {"turn": (-180, 180, 20), "tilt": (-90, 90, 15)}  # lowest, highest, first
RADIANS = "datum.{} * {}({} * PI / 180)"


def circle_chart(
    table: pd.DataFrame, *, assignment: str, value: Mapping[str, str], choose: Mapping[str, str | list[str]], slide: Mapping[str, str]
) -> dict:
    """Classes on the circle, one arrangement a row of the table: column `assignment` holds each class's place, as ``"2 0 1"``.

    The one column of `value`, in words, is told in the middle. `choose` and `slide` are as in `chart`.
    """
    long = table.assign(place=table[assignment].str.split()).explode("place", ignore_index=True).astype({"place": int})
    rows, params, conditions, sliders = controlled(long, choose, slide, {})
    classes = long["place"].max() + 1
    angle = 2 * np.pi * long["place"] / classes
    rows["number"], rows["x"], rows["up"] = np.arange(len(long)) % classes, np.cos(angle), np.sin(angle)
    (words,) = value
    middle = {"x": {"datum": 0}, "y": {"datum": 0}}
    return chart_of(long, value, rows, params, conditions, sliders) | {
        "description": f"{classes} classes on a circle, with {words} in the middle.",
        "width": SIDE,
        "title": None,
        "layer": [
            {"mark": {"type": "point", "filled": True, "size": 70, "color": COLOURS[0]}, "encoding": _place("x", "up")},
            {
                "transform": [{"calculate": f"1.17 * datum.{axis}", "as": axis} for axis in ("x", "up")],
                "mark": {"type": "text", "fontSize": 14},
                "encoding": _place("x", "up") | {"text": {"field": "number"}},
            },
            {
                "transform": [{"aggregate": [{"op": "mean", "field": "y", "as": "y"}]}],
                "mark": {"type": "text", "fontSize": 24, "dy": -10},
                "encoding": middle | {"text": {"field": "y", "type": "quantitative", "format": ".1f"}},
            },
            {"data": {"values": [{}]}, "mark": {"type": "text", "fontSize": 12, "dy": 12}, "encoding": middle | {"text": {"value": words}}},
        ],
    }


def sphere_chart(vectors: np.ndarray) -> dict:
    """Unit vectors (C, 3) with their closest pairs joined, to be turned about the upright axis and tilted towards the reader."""
    edges = [{"pair": pair, **_point(vectors[end])} for pair, ends in enumerate(closest_pairs(vectors)) for end in ends]
    corners = [{"number": str(number), **_point(vector)} for number, vector in enumerate(vectors)]
    away = f"{RADIANS.format('x', 'sin', 'turn')} + {RADIANS.format('y', 'cos', 'turn')}"
    turned = [
        {"calculate": f"{RADIANS.format('x', 'cos', 'turn')} - {RADIANS.format('y', 'sin', 'turn')}", "as": "across"},
        {"calculate": away, "as": "away"},
        {"calculate": f"{RADIANS.format('z', 'cos', 'tilt')} + {RADIANS.format('away', 'sin', 'tilt')}", "as": "up"},
        {"calculate": f"{RADIANS.format('z', 'sin', 'tilt')} - {RADIANS.format('away', 'cos', 'tilt')}", "as": "near"},
    ]
    near = {"size": {"field": "near", "type": "quantitative", "scale": {"domain": [-1, 1], "range": [25, 160]}, "legend": None}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": f"The code of {len(vectors)} classes as points on a sphere, its closest pairs joined.",
        "width": SIDE,
        "height": SIDE,
        "params": [
            {"name": name, "value": first, "bind": {"input": "range", "min": low, "max": high, "step": 1, "name": f"{name}, degrees"}}
            for name, (low, high, first) in DEGREES.items()
        ],
        "layer": [
            {
                "data": {"values": edges},
                "transform": turned,
                "mark": {"type": "line", "color": "#808080", "strokeWidth": 1},
                "encoding": _place("across", "up") | {"detail": {"field": "pair"}, "order": {"value": 0}},
            },
            {
                "data": {"values": corners},
                "transform": turned,
                "mark": {"type": "point", "filled": True, "color": COLOURS[1], "opacity": 1},
                "encoding": _place("across", "up") | near,
            },
            {
                "data": {"values": corners},
                "transform": turned,
                "mark": {"type": "text", "fontSize": 13, "dx": 10, "dy": -8},
                "encoding": _place("across", "up") | {"text": {"field": "number"}},
            },
        ],
        "usermeta": {"sliders": {}},
    }


def _place(across: str, up: str) -> dict:
    axis = {"type": "quantitative", "scale": {"domain": [-1.3, 1.3]}, "axis": None}
    return {"x": {"field": across, **axis}, "y": {"field": up, **axis}}


def _point(vector: np.ndarray) -> dict:
    return dict(zip("xyz", vector.round(4).tolist(), strict=True))
