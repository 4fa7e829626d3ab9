"""A chapter opened elsewhere, in a browser: what its page says of that, and what drawing it from its record needs there."""

import subprocess
import sys

import pytest
from checkouts import BOOK

from ncbook.publish import launch, records, sources

CHAPTER = "wide_networks"
LACKING = ["torchmetrics", "pebble", "papermill", "mlxtend", "typer", "jupyter_book"]  # some of them Colab has; what PyTorch needs, it has


@pytest.fixture
def repository(monkeypatch):
    monkeypatch.setenv("NCBOOK_ROOT", str(BOOK))

    def at(url: str) -> None:
        monkeypatch.setattr(sources, "repository", lambda: url)

    return at


def test_nothing_is_said_without_a_repository_or_a_record(repository, monkeypatch):
    repository("")
    assert launch.text(CHAPTER) == ""
    repository("https://github.com/someone/book")
    assert launch.text(CHAPTER)
    monkeypatch.setattr(records, "on_record", lambda chapter: ["laptop"])  # which the notebook's own parameters are not of
    assert launch.text(CHAPTER) == ""


def test_a_chapter_on_github_opens_in_colab_and_one_elsewhere_in_binder_alone(repository):
    repository("https://github.com/someone/book")
    text = launch.text(CHAPTER)
    assert (
        f"https://colab.research.google.com/github/someone/book/blob/main/book/chapters/{CHAPTER}.ipynb" in text and launch.setup() in text
    )
    repository("https://codeberg.org/someone/book")
    assert "Colab" not in launch.text(CHAPTER) and "Binder" in launch.text(CHAPTER)


def test_the_lines_for_colab_make_a_checkout_and_read_its_records(repository, tmp_path):
    repository(BOOK.as_uri())
    clone, folder, install, variable = launch.setup().splitlines()
    if (BOOK / ".git").exists():
        subprocess.run(clone.removeprefix("!"), shell=True, cwd=tmp_path, check=True)
        assert (tmp_path / folder.removeprefix("%cd ") / "_config.yml").is_file()
    assert "--no-deps" in install and variable == "%env FROM=record"


def test_drawing_from_a_record_needs_what_colab_has(checkout):
    """The package is installed there without its dependencies: what trains, and what builds the book, is not."""
    checkout.record("quick", CHAPTER)
    script = f"""
import sys
sys.modules.update(dict.fromkeys({LACKING!r}))  # to import one of them is an error
from ncbook.publish import notebooks
from ncbook.publish.figures import band, chart, interactive, panels
from ncbook.publish.session import open_chapter
chapter = open_chapter({CHAPTER!r}, notebooks.defaults({CHAPTER!r}))
print(len(chapter.tables()), len(chapter.judge()), chapter.provenance())
"""
    env = {name: value for name, value in checkout.env().items() if name != "NCBOOK_ROOT"}
    done = subprocess.run([sys.executable, "-c", script], cwd=checkout.root, env=env | {"FROM": "record"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (checkout.root / "data" / "runs").exists()
