"""Plots that recur: curves with the range of the seeds, both splits, a map of layers and epochs, estimates with intervals."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from ncbook.publish.figures.style import LOOKS, REFERENCE, SHADE, SPLITS
from ncbook.publish.figures.words import geometric_mean


def band(axes: Axes, table: pd.DataFrame, x: str, y: str, *, name: str | None = None, log: bool = True, **look) -> None:
    """The mean over seeds of column `y` against `x` where `x` is positive, with the range of the seeds as a band.

    On a log axis the mean is geometric. The band is the whole range: with five seeds nothing hides, and an interval is only shown where a
    claim is judged.
    """
    counts = table.groupby(x)["seed"].transform("nunique")  # the start of the terminal phase is an epoch of one seed's own: not a mean
    points = table[(counts == table["seed"].nunique()) & (table[x] > 0)].dropna(subset=[y])
    points = points[points[y] > 0] if log else points
    curve(axes, points, x, y, name=name, geometric=log, **look)
    if log:
        axes.set_yscale("log")


def curve(axes: Axes, table: pd.DataFrame, x: str, y: str, *, name: str | None = None, geometric: bool = False, **look) -> None:
    """The mean and the range of column `y` at each value of `x`, 0 included."""
    values = table.groupby(x)[y]
    centre = values.apply(lambda v: 10 ** np.log10(v).mean()) if geometric else values.mean()
    axes.plot(centre.index, centre, label=name, **look)
    axes.fill_between(centre.index, values.min(), values.max(), color=look.get("color"), alpha=0.18, linewidth=0)


def splits(axes: Axes, table: pd.DataFrame, x: str, y: str, *, log: bool = True) -> None:
    """A band for the training and one for the test set; against epoch on a log axis, and with the terminal phase shaded."""
    for split, look in SPLITS.items():
        band(axes, table[table["split"] == split], x, y, name=split, log=log, **look)
    if x == "epoch":
        terminal_phase(axes, table)
        axes.set(xscale="log", xlabel="epoch" if _is_lowest(axes) else "")


def _is_lowest(axes: Axes) -> bool:
    """Whether no panel below it shares its horizontal axis."""
    place = axes.get_subplotspec()
    return place is None or place.is_last_row() or len(axes.get_shared_x_axes().get_siblings(axes)) == 1


def terminal_phase(axes: Axes, table: pd.DataFrame) -> None:
    """Shade the terminal phase: from the epoch at which the median seed first had no training error."""
    begins = table.groupby("seed")["terminal_epoch"].max()
    if begins.notna().all():
        axes.axvspan(begins.median(), table["epoch"].max(), **SHADE)


def layer_map(axes: Axes, table: pd.DataFrame, column: str, **limits):
    """The logarithm of a column, layers (``depth``) down and epochs across, geometric mean of the seeds; lines join values a decade apart.

    Returns the coloured mesh, for a colour bar, and what was drawn: layers by epochs.
    """
    seeds = table.groupby("epoch")["seed"].transform("nunique")
    shared = table[seeds == seeds.max()]  # not the one epoch of a seed's own where its terminal phase begins
    v = np.log10(geometric_mean(shared, column, ["depth", "epoch"])).unstack("epoch").sort_index().sort_index(axis=1)
    mesh = axes.pcolormesh(range(v.shape[1]), v.index, v, cmap="viridis", shading="nearest", rasterized=True, **limits)
    if levels := [k for k in range(-6, 4) if v.min().min() < k < v.max().max()]:
        lines = axes.contour(range(v.shape[1]), v.index, v, levels=levels, colors="white", linewidths=1.4, linestyles="solid")
        lines.set_path_effects([withStroke(linewidth=3, foreground="black")])
        for text in axes.clabel(lines, fmt=lambda k: f"{10.0**k:g}", fontsize=8):
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    axes.set(yticks=v.index, xlabel="epoch")
    each = 1 + (sum(len(str(epoch)) for epoch in v.columns) > 24)  # of long numbers every second: all would run together
    axes.set_xticks(range(v.shape[1])[::-1][::each], [str(epoch) for epoch in v.columns[::-1][::each]])
    axes.invert_yaxis()
    axes.grid(False)
    return mesh, v


def intervals(axes: Axes, table: pd.DataFrame, *, name: str, control: str = "control", note: str | None = None) -> None:
    """Estimates with their intervals, one row of the table a line from the top: columns ``estimate``, ``low`` and ``high``.

    `name` is the column with the names of the lines, `control` one that is true where there can be no effect, `note` one with a text for
    the end of each line. Controls are drawn in another colour.
    """
    for i, row in enumerate(table.to_dict("records")):
        look = LOOKS[0] if row[control] else LOOKS[1]
        axes.plot([row["low"], row["high"]], [i, i], color=look["color"], linestyle=look["linestyle"], linewidth=2)
        axes.plot(row["estimate"], i, marker=look["marker"], color=look["color"], markersize=6)
        if note:
            axes.text(0.98, i - 0.18, row[note], transform=axes.get_yaxis_transform(), ha="right", fontsize=8)
    axes.set(yticks=range(len(table)), yticklabels=table[name], ylim=(len(table) - 0.5, -0.6))


def points_of(axes: Axes, table: pd.DataFrame, value: str, *, name: str, control: str = "control") -> None:
    """All values of a column, one line a `name` from the top, with a bar at their mean; controls in another colour."""
    names = list(dict.fromkeys(table[name]))
    for i, (_, part) in enumerate(table.groupby(name, sort=False)):
        look = LOOKS[0] if part[control].all() else LOOKS[1]
        axes.plot(part[value], [i] * len(part), linestyle="none", marker=look["marker"], color=look["color"], alpha=0.8)
        axes.plot(part[value].mean(), i, marker="|", markersize=14, color="black")
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))


def level(axes: Axes, at: float, *, vertical: bool = False, **look) -> None:
    """A line at a level to compare with."""
    (axes.axvline if vertical else axes.axhline)(at, **{**REFERENCE, **look})
