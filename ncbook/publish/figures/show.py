"""`show`: a figure is saved as SVG, PNG and CSV, and displayed with a caption and an alt text."""

import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ncbook import paths
from ncbook.errors import InputError

FIGURE_MIME = "application/vnd.ncbook.figure+json"


def show(figure: Figure, name: str, *, what: str, finding: str, table: pd.DataFrame, folder: Path) -> None:
    """Save a figure in `folder` as ``<name>.svg``, ``.png`` and ``.csv`` (the `table` that it draws), display it with caption and alt text.

    Its first panel alone is left there too, as ``<name>.panel.png``, for the card of the opening page.

    `what` says what is drawn, in sentences, `finding` what is to be seen, with the numbers of this run. The two are the caption; the alt
    text begins with the kind of figure. Both are plain text, in which Markdown and formulas stay as they are written. The build refuses a
    figure that lacks one of these, so that they are checked here, where the author sees it (`InputError`).
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise InputError(f"figure name {name!r}: use small letters, digits and single hyphens.")
    for part, text in (("what", what), ("finding", finding)):
        if not text.strip():
            raise InputError(f"figure {name}: its {part} is empty.")
    if table.empty:
        raise InputError(f"figure {name}: its table is empty.")
    from IPython.display import display

    alt = f"{kind(figure)}. {sentence(what)} {sentence(finding)}"
    folder = paths.writable(folder)
    with plt.rc_context({"figure.constrained_layout.use": False}):  # laid out once, here: savefig would do it again for each file
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine(None)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
        if figure.axes and (box := figure.axes[0].get_tightbbox()):
            # a legend may hang into the panel's corner; other panels would be drawn for nothing
            for other in [*figure.legends, *(axes for axes in figure.axes if not axes.bbox.overlaps(figure.axes[0].bbox))]:
                other.set_visible(False)
            panel = box.transformed(figure.dpi_scale_trans.inverted()).padded(0.05)
            figure.savefig(folder / f"{name}.panel.png", dpi=150, bbox_inches=panel, metadata={"Software": None})
    (folder / f"{name}.svg").write_text(svg.getvalue(), encoding="utf-8")
    table.to_csv(folder / f"{name}.csv", index=False)
    plt.close(figure)
    caption = f"{sentence(finding)} {sentence(what)}"
    told = {"name": name, "what": sentence(what), "finding": sentence(finding), "alt": alt}
    bundle = {"image/svg+xml": svg.getvalue(), "text/plain": caption, FIGURE_MIME: told}
    display(bundle, raw=True)


def sentence(text: str) -> str:
    """A text on one line, with a full stop at its end."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def kind(figure: Figure) -> str:
    """What a figure is, as far as its axes tell: ``2 line plots against epoch``."""
    drawn = [axes for axes in figure.axes if axes.has_data() and axes.get_label() != "<colorbar>"]
    if any(axes.images or any(type(drawing).__name__ == "QuadMesh" for drawing in axes.collections) for axes in drawn):
        what = "map"
    else:
        what = "line plot" if any(_is_curve(line) for axes in drawn for line in axes.lines) else "plot"
    x = {text for axes in drawn if (text := axes.get_xlabel())}
    against = f" against {_plain(x.pop())}" if len(x) == 1 else ""
    return f"{len(drawn)} {what}{'s' * (len(drawn) != 1)}{against}"


def _is_curve(line) -> bool:
    points = len(line.get_xdata())
    return line.get_linestyle() not in ("None", "none", "", " ") and (
        points > 2 or (points == 2 and line.get_marker() not in ("None", "none", "", None))
    )


def _plain(text: str) -> str:
    """A label without the marks of mathematics, which nobody reads aloud."""
    return " ".join(re.sub(r"\\[,;! ]|\\mathrm|[${}\\^_]", " ", text).split())
