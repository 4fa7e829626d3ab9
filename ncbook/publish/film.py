"""The moving picture of the opening page: where the features of a recorded run lie, epoch after epoch, with a still picture in its place
where no script runs.

The coordinates are those of the figure's table, as the chapter that draws it left it; ``film.js`` moves the points between them.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ncbook.publish.execute import Chapter
from ncbook.publish.ledger import raw, shown

CHAPTER, FIGURE = "watching_collapse", "features-gather"
STEPS = 1000  # whole numbers a unit of length: a third of a pixel
SYMBOLS = "●■▲"  # of the classes, as film.js draws them


def page(requested: Sequence[Chapter], stage: Path) -> str:
    """The moving picture in Markdown, its still laid in `stage`; nothing where no such chapter is among those `requested`."""
    chapter = next((one for one in requested if one.name == CHAPTER), None)
    table = chapter.folder / "figures" / f"{FIGURE}.csv" if chapter else None
    if table is None or not table.is_file():
        return ""
    still = stage / "_static" / "film"
    still.mkdir(parents=True, exist_ok=True)
    shutil.copy(table.with_suffix(".svg"), still / "still.svg")
    return raw(markup(pd.read_csv(table), f"chapters/{CHAPTER}.html"))


def markup(table: pd.DataFrame, link: str) -> str:
    """The player as HTML, hidden until its script has run, with the points inside; `link` leads to the chapter that they are from."""
    content = frames(table)
    names = content["classes"]
    marks = " ".join(f'<b class="nc-class{i}">{SYMBOLS[i]} {shown(name)}</b>' for i, name in enumerate(names))
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    choices = "".join(
        f'<label><input type="radio" name="nc-film-split" value="{value}"{" checked" * (value == "both")}> {words}</label>'
        for value, words in (("both", "both"), ("train", "training"), ("test", "new"))
    )
    alt = (
        f"Features of the digits {shown(listed)} at some epochs: those of training images gather in three points, those of new images less."
    )
    return f"""<figure class="nc-film" id="film">
<noscript><img src="_static/film/still.svg" alt="{alt}" width="540" height="252"></noscript>
<div class="nc-film-player" hidden>
<div class="nc-film-panels"></div>
<div class="nc-film-controls"><button type="button">Play</button>
<label class="nc-film-scrub">epoch <input type="range" min="0" max="{len(content["epochs"]) - 1}" value="0" step="1"></label>
<fieldset><legend>show</legend>{choices}</fieldset></div>
<p class="nc-film-said" aria-live="off"></p>
</div>
<script type="application/json">{json.dumps(content, separators=(",", ":"))}</script>
<figcaption>One network learns handwritten digits. Its last-layer <b>features</b> of {marks}, in one plane, the same all the time;
✕ is taken for another digit. V compares the spread within classes with that between them. Each point is an image of a recorded run:
<a href="{shown(link)}">how it was made, data and code</a>.</figcaption>
</figure>"""


def frames(table: pd.DataFrame) -> dict:
    """The content of the player: epochs, classes, the start of the terminal phase, and for each split V, error and the points by epoch.

    A point is its class, and at each epoch x, y (whole numbers, see `STEPS`) and whether the network is right about it (1 or 0).
    """
    epochs, labels = sorted(table["epoch"].unique().tolist()), list(dict.fromkeys(table["label"].tolist()))
    begins = table["terminal_epoch"].max()
    splits = {}
    for split, rows in table.sort_values("epoch").groupby("split", sort=False):
        measured = rows.drop_duplicates("epoch")
        points = [
            [labels.index(label), *((one[axis] * STEPS).round().astype(int).tolist() for axis in "xy"), one["right"].astype(int).tolist()]
            for label, one in ((one["label"].iloc[0], one) for _, one in rows.groupby("image"))
        ]
        splits[split] = {"v": measured["variance_ratio"].tolist(), "error": measured["error"].tolist(), "points": points}
    ends = (table[["x", "y"]].agg(["min", "max"]) * STEPS).round().astype(int)
    return {
        "epochs": epochs,
        "classes": [str(label) for label in labels],
        "terminal": None if pd.isna(begins) else int(begins),
        "ends": {axis: ends[axis].tolist() for axis in "xy"},  # lowest and highest
        "splits": splits,
    }
