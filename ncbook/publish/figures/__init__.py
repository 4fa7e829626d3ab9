"""Figures: the look (`style`), plots that recur (`plots`), spherical codes (`sketches`), numbers in words (`words`), `show`; twins
with controls (`interactive`, `codes`, `laws`). The menu."""

from ncbook.publish.figures.codes import circle_chart, sphere_chart
from ncbook.publish.figures.interactive import chart, interactive, map_chart
from ncbook.publish.figures.laws import line_chart
from ncbook.publish.figures.plots import band, curve, intervals, layer_map, level, points_of, splits, terminal_phase
from ncbook.publish.figures.show import FIGURE_MIME, show
from ncbook.publish.figures.sketches import circle, sphere
from ncbook.publish.figures.style import (
    BASELINE,
    LOOKS,
    REFERENCE,
    SHADE,
    SPLITS,
    facets,
    label,
    labels,
    legend_below,
    multiples,
    panel_each,
    panels,
    plain_log,
    style,
)
from ncbook.publish.figures.words import geometric_mean, last_epoch, only, told

__all__ = [
    "BASELINE",
    "FIGURE_MIME",
    "LOOKS",
    "REFERENCE",
    "SHADE",
    "SPLITS",
    "band",
    "chart",
    "circle",
    "circle_chart",
    "curve",
    "facets",
    "geometric_mean",
    "interactive",
    "intervals",
    "label",
    "labels",
    "last_epoch",
    "layer_map",
    "legend_below",
    "level",
    "line_chart",
    "map_chart",
    "multiples",
    "only",
    "panel_each",
    "panels",
    "plain_log",
    "points_of",
    "show",
    "sphere",
    "sphere_chart",
    "splits",
    "style",
    "terminal_phase",
    "told",
]
