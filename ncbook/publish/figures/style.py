"""The look of every figure: one palette, the names of columns and values, the size of a page, and axes."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ncbook.claims.names import NAMES

WIDTH = 7.5  # inches, of every figure: the text column of the page, so that labels print at their own size

# Told apart by colour, line and marker at once: legible in grey and to colour-blind readers (Okabe & Ito's colours).
LOOKS = [
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#D55E00", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "v"},
    {"color": "#E69F00", "linestyle": "-", "marker": "D"},
    {"color": "#56B4E9", "linestyle": "--", "marker": "x"},
]
SPLITS = dict(zip(("train", "test"), LOOKS, strict=False))
BASELINE = {"color": "0.35", "linestyle": ":", "marker": "v"}  # what there was before training
REFERENCE: dict = {"color": "0.35", "linewidth": 0.9}  # a level or a law to compare with
SHADE: dict = {"color": "0.5", "alpha": 0.12, "linewidth": 0}

LABELS = NAMES | {
    "variance_ratio": r"$V = \mathrm{Tr}\,\Sigma_W / \mathrm{Tr}\,\Sigma_B$",
    "variance_ratio_common": r"$V = \mathrm{Tr}\,\Sigma_W / \mathrm{Tr}\,\Sigma_B$",
    "nc1": "NC1",
    "nc2_equinorm": "NC2: norms",
    "nc2_equiangularity": "NC2: angles",
    "nc2_max_angle": "NC2: max. angle",
    "nc3_self_duality": "NC3: duality",
    "nc4_ncc_mismatch": "NC4: mismatch",
    "weak_nearest_mean": r"(b) distance$^2$ to the nearest train mean / $\mathrm{Tr}\,\Sigma_B$",
    "weak_kmeans": "(c) k-means: within / between",
    "epoch": "epoch",
    "train_size": "training images",
    "kappa_means": r"$\kappa$ of the class means",
    "balancedness": "relative imbalance",
    "alignment": "cosine to the class's row",
    "smooth_leaky": "smooth leaky ReLU",
}


def label(name: str) -> str:
    """What a column or value is called in a figure. In a name that is not ours, such as a folder's, a dollar sign begins no formula."""
    return LABELS.get(name, str(name).replace("_", " ").replace("$", r"\$"))


def labels(values) -> str:
    """Several values in one text, such as a data set and a network."""
    return ", ".join(label(value) for value in values)


def style() -> None:
    """Set the look of the figures that follow. An SVG is the same byte for byte from the same data."""
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",  # a page in dark mode keeps a white card behind the figure
            "figure.constrained_layout.use": True,
            "svg.fonttype": "path",
            "svg.hashsalt": "ncbook",
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.labelsize": 9,
            "legend.fontsize": 8.5,
            "legend.title_fontsize": 9.6,
            "lines.markersize": 3.5,
            "lines.linewidth": 1.5,
            "lines.solid_capstyle": "round",
            "patch.edgecolor": "white",
            "patch.force_edgecolor": True,
            "patch.linewidth": 0.8,
            # a light grid on white, below the curves, and dark grey letters: seaborn's "whitegrid" at the size "paper"
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.edgecolor": "0.8",
            "axes.linewidth": 1.0,
            "grid.color": "0.8",
            "grid.linewidth": 0.5,
            "text.color": "0.15",
            "axes.labelcolor": "0.15",
            "xtick.bottom": False,
            "ytick.left": False,
            # ticks are not drawn, but what labels keep their distance by
            "xtick.color": "0.15",
            "xtick.labelsize": 8.8,
            "xtick.major.size": 4.8,
            "xtick.major.width": 1.0,
            "xtick.minor.size": 3.2,
            "xtick.minor.width": 0.8,
            "ytick.color": "0.15",
            "ytick.labelsize": 8.8,
            "ytick.major.size": 4.8,
            "ytick.major.width": 1.0,
            "ytick.minor.size": 3.2,
            "ytick.minor.width": 0.8,
        }
    )


def panels(rows: int, columns: int, *, height: float = 2.6, width: float = WIDTH, **kwargs):
    """A figure of page width with `rows` × `columns` axes, always as a 2-D array: ``figure, axes = panels(1, 2)``."""
    style()
    return plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, **kwargs)


def panel_each(values, *, columns: int = 2, **kwargs):
    """A figure with one panel for each of some values, `columns` beside one another: the figure, and pairs of axes and value."""
    values = list(values)
    figure, axes = panels(-(-len(values) // columns), columns, **kwargs)
    for unused in axes.flat[len(values) :]:
        unused.remove()
    return figure, list(zip(axes.flat, values, strict=False))


def facets(table: pd.DataFrame, *, rows: list[str], columns: str, ylabel: str = "", **kwargs):
    """One panel a value of `columns` and a combination of the columns `rows`: the figure, and pairs of axes and their rows of the table.

    Each panel is titled with its value; what tells the rows from one another stands at the left, above the `ylabel`.
    """
    down, across = list(table[rows].drop_duplicates().itertuples(index=False)), list(table[columns].drop_duplicates())
    figure, axes = panels(len(down), len(across), **kwargs)
    pairs = []
    for i, values in enumerate(down):
        names = _telling_apart(table, rows, values)
        for j, value in enumerate(across):
            part = table[(table[rows] == list(values)).all(axis=1) & (table[columns] == value)]
            axes[i, j].set_title(label(value))
            axes[i, j].set_ylabel("\n".join([*names, *[ylabel] * bool(ylabel)]) if j == 0 else "")
            pairs.append((axes[i, j], part))
    return figure, pairs


def multiples(table: pd.DataFrame, *, rows: list[str], columns: dict[str, str] | list[str], **kwargs):
    """One panel a combination of the columns `rows` and a measured column: the figure, and triples of axes, their rows, and the column.

    `columns` may say what each is called. The columns are titles above; what tells the rows apart stands at the left.
    """
    names = columns if isinstance(columns, dict) else {column: label(column) for column in columns}
    down = list(table[rows].drop_duplicates().itertuples(index=False))
    figure, axes = panels(len(down), len(names), **kwargs)
    triples = []
    for i, values in enumerate(down):
        part = table[(table[rows] == list(values)).all(axis=1)]
        axes[i, 0].set_ylabel("\n".join(_telling_apart(table, rows, values)))
        for j, column in enumerate(names):
            axes[i, j].set_title(names[column] if i == 0 else "")
            triples.append((axes[i, j], part, column))
    return figure, triples


def _telling_apart(table: pd.DataFrame, columns: list[str], values) -> list[str]:
    """The names of those values of which their column has several."""
    return [label(value) for column, value in zip(columns, values, strict=True) if table[column].nunique() > 1]


def legend_below(figure: Figure, axes, **kwargs) -> None:
    """One legend for all panels, below them, with what is drawn in `axes`."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", **kwargs)


def plain_log(axis: Axis, ticks=(1, 2, 5)) -> None:
    """Make an axis logarithmic with its numbers written out, for one that spans little more than a decade."""
    scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    scale("log")
    axis.set_major_locator(LogLocator(subs=ticks))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
