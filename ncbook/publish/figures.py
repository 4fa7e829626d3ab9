"""One figure style, and `show`: every figure is saved as SVG, PNG and CSV, with a caption and an alt text computed from the run."""

import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ncbook import paths
from ncbook.errors import InputError

FIGURE_MIME = "application/vnd.ncbook.figure+json"
WIDTH = 7.5  # inches: the text column of the page, so that labels print at their own size

# Split and loss are told apart by colour, line and marker at once: legible in grey and to colour-blind readers (Okabe & Ito's colours).
SPLITS = {"train": {"color": "#0072B2", "linestyle": "-", "marker": "o"}, "test": {"color": "#D55E00", "linestyle": "--", "marker": "s"}}

LABELS = {
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
    "mlp": "MLP",
    "cnn": "CNN",
    "resnet18": "ResNet-18",
    "mlp_deep": "MLP, 8 hidden layers",
    "cnn_deep": "CNN, 6 layers",
    "resnet_small": "small ResNet",
    "cross_entropy": "cross-entropy",
    "squared": "squared loss",
    "epoch": "epoch",
    "train_size": "training images",
    "logistic": "logistic, raw",
    "standardised": "logistic, standardised",
    "whitened": "logistic, whitened",
    "neighbours": "nearest neighbours",
    "centre": "nearest class centre",
    "two_layer": "two layers",
    "resnet20": "ResNet-20",
    "kappa_means": r"$\kappa$ of the class means",
    "balancedness": "relative imbalance",
    "alignment": "cosine to the class's row",
    "smooth_leaky": "smooth leaky ReLU",
}


def label(name: str) -> str:
    """What a column or value is called in a figure. In a name that is not ours, such as a folder's, a dollar sign begins no formula."""
    return LABELS.get(name, str(name).replace("_", " ").replace("$", r"\$"))


def style() -> None:
    """The look of every figure. An SVG is the same byte for byte from the same data."""
    sns.set_theme(context="paper", style="whitegrid", font="DejaVu Sans")
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",  # a page in dark mode keeps a white card behind the figure
            "svg.fonttype": "path",
            "svg.hashsalt": "ncbook",
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.labelsize": 9,
            "legend.fontsize": 8.5,
            "lines.markersize": 3.5,
            "lines.linewidth": 1.5,
            "grid.linewidth": 0.5,
            "figure.constrained_layout.use": True,
        }
    )


def panels(rows: int, columns: int, *, height: float = 2.6, width: float = WIDTH, **kwargs):
    """A figure of page width with `rows` × `columns` axes, always as a 2-D array: ``figure, axes = panels(1, 2)``."""
    style()
    return plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, **kwargs)


def facets(table: pd.DataFrame, *, rows: list[str], columns: str, **kwargs):
    """One panel a value of `columns` and a combination of the columns `rows`, each titled: the figure, and pairs of axes and their rows."""
    down, across = list(table[rows].drop_duplicates().itertuples(index=False)), list(table[columns].drop_duplicates())
    figure, axes = panels(len(down), len(across), **kwargs)
    pairs = []
    for i, values in enumerate(down):
        for j, value in enumerate(across):
            part = table[(table[rows] == list(values)).all(axis=1) & (table[columns] == value)]
            axes[i, j].set_title(", ".join(label(v) for v in (value, *values)))
            pairs.append((axes[i, j], part))
    return figure, pairs


def geometric_mean(table: pd.DataFrame, column: str, by: list[str]) -> pd.Series:
    """Geometric mean of a positive column within each group: what a log axis shows as the middle."""
    return table.groupby(by, sort=False)[column].apply(lambda v: float(10 ** np.log10(v).mean()))


def band(axes, table: pd.DataFrame, x: str, y: str, *, name: str | None = None, log: bool = True, **look) -> None:
    """The mean over seeds of column `y` against `x`, with the range of the seeds as a band. On a log axis the mean is geometric.

    The band is the whole range: with five seeds nothing hides, and an interval is only shown where a claim is judged.
    """
    counts = table.groupby(x)["seed"].transform("nunique")  # the start of the terminal phase is an epoch of one seed's own: not a mean
    points = table[(counts == table["seed"].nunique()) & (table[x] > 0)].dropna(subset=[y])
    points = points[points[y] > 0] if log else points
    seeds = points.groupby(x)[y]
    centre = seeds.apply(lambda v: 10 ** np.log10(v).mean()) if log else seeds.mean()
    axes.plot(centre.index, centre, label=name, markevery=1, **look)
    axes.fill_between(centre.index, seeds.min(), seeds.max(), color=look.get("color"), alpha=0.18, linewidth=0)
    if log:
        axes.set_yscale("log")


def terminal_phase(axes, table: pd.DataFrame) -> None:
    """Shade the terminal phase: from the epoch at which the median seed first had no training error."""
    begins = table.groupby("seed")["terminal_epoch"].max()
    if begins.notna().all():
        axes.axvspan(begins.median(), table["epoch"].max(), color="0.5", alpha=0.12, linewidth=0)


def show(figure: Figure, name: str, *, caption: str, alt: str, table: pd.DataFrame) -> None:
    """Save a figure as ``<name>.svg``, ``.png`` and ``.csv`` (what it draws) and display it with caption and alt text.

    Both are plain text, in which Markdown and formulas stay as they are written: they are made of parameters, such as the name of a folder.
    The build refuses a figure without one of these, so they are checked here, where the notebook's author sees it (`InputError`).
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise InputError(f"figure name {name!r}: use small letters, digits and single hyphens.")
    for what, text in (("caption", caption), ("alt text", alt)):
        if not text.strip():
            raise InputError(f"figure {name}: the {what} is empty.")
    if table.empty:
        raise InputError(f"figure {name}: its table is empty.")
    from IPython.display import display

    folder = paths.writable(paths.output() / "figures")
    with plt.rc_context({"figure.constrained_layout.use": False}):  # laid out once, here: savefig would do it again for each file
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine(None)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
    (folder / f"{name}.svg").write_text(svg.getvalue(), encoding="utf-8")
    table.to_csv(folder / f"{name}.csv", index=False)
    plt.close(figure)
    bundle = {
        "image/svg+xml": svg.getvalue(),
        "text/plain": caption,
        FIGURE_MIME: {"name": name, "caption": " ".join(caption.split()), "alt": " ".join(alt.split())},
    }
    display(bundle, raw=True)
