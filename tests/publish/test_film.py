"""The moving picture: the points of the record, class by class and epoch by epoch, and a still picture beside them."""

import json
import re

import pandas as pd
import pytest

from ncbook.publish import film
from ncbook.publish.execute import Chapter

TABLE = pd.DataFrame(
    [
        (split, epoch, terminal, label, image, right, x, y, error, v)
        for split, error, terminal in (("train", 0.5, None), ("test", 0.25, 3.0))
        for epoch, v in ((0, 4.0), (3, 0.5))
        for label, image, right, x, y in ((8, 0, False, 0.5, -1.0), (3, 1, epoch > 0, epoch / 3, 0.1234))
    ],
    columns=["split", "epoch", "terminal_epoch", "label", "image", "right", "x", "y", "error", "variance_ratio"],
)


def test_the_points_are_those_of_the_table():
    content = film.frames(TABLE)
    assert content["epochs"] == [0, 3] and content["classes"] == ["8", "3"] and content["terminal"] == 3
    assert content["ends"] == {"x": [0, 1000], "y": [-1000, 123]}
    assert content["splits"]["test"] == {
        "v": [4.0, 0.5],
        "error": [0.25, 0.25],
        "points": [[0, [500, 500], [-1000, -1000], [0, 0]], [1, [0, 1000], [123, 123], [0, 1]]],
    }
    assert list(content["splits"]) == ["train", "test"]


def test_a_run_may_never_reach_its_terminal_phase():
    assert film.frames(TABLE.assign(terminal_epoch=float("nan")))["terminal"] is None


def test_the_player_waits_for_its_script_and_a_still_picture_needs_none():
    markup = film.markup(TABLE, "chapters/a.html")
    assert '<div class="nc-film-player" hidden>' in markup and 'href="chapters/a.html"' in markup
    still = re.search(r"<noscript><img ([^>]*)></noscript>", markup)[1]
    assert 'src="_static/film/still.svg"' in still and "digits 8 and 3" in still
    assert json.loads(re.search(r'<script type="application/json">(.*?)</script>', markup)[1]) == film.frames(TABLE)
    assert 'max="1"' in markup and all(f'value="{choice}"' in markup for choice in ("both", "train", "test"))


@pytest.mark.parametrize("drawn", [True, False])
def test_the_picture_is_made_from_the_figure_of_its_chapter(tmp_path, monkeypatch, drawn):
    monkeypatch.setattr("ncbook.publish.execute.paths.build", lambda: tmp_path / "build")
    chapter = Chapter(film.CHAPTER, "quick", {})
    if drawn:
        (chapter.folder / "figures").mkdir(parents=True)
        TABLE.to_csv(chapter.folder / "figures" / f"{film.FIGURE}.csv")
        (chapter.folder / "figures" / f"{film.FIGURE}.svg").write_text("<svg/>")
    page = film.page([Chapter("another", "quick", {}), chapter], tmp_path / "stage")
    assert ("nc-film" in page) == drawn == (tmp_path / "stage" / "_static" / "film" / "still.svg").is_file()
    assert film.page([Chapter("another", "quick", {})], tmp_path) == ""
