"""Dates that lie: files from the future, and edits that are older than what was made from them, as after a clock that was set back."""

import os
import time

import pytest
from checkouts import Toy

TRAIN = """
import pandas as pd

from ncbook.runs import sweep


def count(*, seed, device):
    return pd.DataFrame({"step": range(3), "value": seed + 0.1})


table = sweep(count, [{"seed": s} for s in range(seeds)])
"""
SHOW = """
from ncbook.publish.figures import panels
from ncbook.publish.session import open_chapter

figure, axes = panels(1, 1)
axes[0][0].plot(table.step, table.value, ".")
open_chapter("toy", globals()).show(figure, "counts", what="WHAT", finding="They count.", table=table)
"""


@pytest.mark.slow
def test_what_is_stale_is_told_by_content_and_not_by_dates(tmp_path):
    book = Toy(tmp_path, TRAIN, SHOW.replace("WHAT", "Counts."), seeds=2)

    def built() -> str:
        done = book.ncbook("book")
        assert done.returncode == 0, done.stderr
        return done.stderr

    def dated(days: float) -> None:
        """Give every file of the checkout this date, as seen from now."""
        for path in tmp_path.rglob("*"):
            os.utime(path, (time.time() + days * 86_400,) * 2, follow_symlinks=False)

    page, contents = tmp_path / "book" / "gone.md", tmp_path / "book" / "_toc.yml"
    page.write_text("# A page\n\nFor now.\n")
    contents.write_text(contents.read_text() + "- file: gone\n")
    dated(365)
    assert "toy (quick): executed" in built() and built().count("up to date") == 2
    runs, html = book.contents("data/runs"), tmp_path / "book" / "_build" / "html"
    assert len(runs) == 4 and (html / "gone.html").exists()

    book.chapter("toy", TRAIN, SHOW.replace("WHAT", "Counted anew."), seeds=2)
    (tmp_path / "book" / "intro.md").write_text("# A book\n\nOf one chapter, worded anew.\n")
    page.unlink()
    contents.write_text(contents.read_text().replace("- file: gone\n", ""))
    dated(-365)
    assert "toy (quick): executed" in built() and built().count("up to date") == 2
    assert "worded anew" in (html / "intro.html").read_text() and not (html / "gone.html").exists()
    assert "Counted anew." in (html / "chapters" / "toy.html").read_text()
    assert book.contents("data/runs") == runs  # with the time that each was finished at
