"""`ncbook new chapter`: what it refuses, that it leaves nothing half done, that what it makes runs; the rest is in the contract test."""

import json
import os
import shutil
from pathlib import Path

import pytest
from checkouts import BOOK, CHAPTERS

from ncbook.errors import InputError
from ncbook.publish import new_chapter, notebooks


def test_a_chapter_is_written_under_its_name(here):
    before = here.contents()
    folder, notebook, contents = new_chapter.create("label_noise")
    assert notebooks.names()[-1] == "label_noise"
    assert notebooks.title("label_noise") == "Label noise"
    changed = {name for name, content in here.contents().items() if before.get(name) != content}
    files = {f"{CHAPTERS}/label_noise/{file.name}" for file in folder.iterdir()}
    assert changed == files | {"book/chapters/label_noise.ipynb", "book/_toc.yml"}
    for path in (*folder.iterdir(), notebook):
        assert "new_chapter" not in path.read_text()
        assert "new-chapter" not in path.read_text()
    was, now = before["book/_toc.yml"].decode().splitlines(), contents.read_text().splitlines()
    assert [line for line in now if line not in was] == ["      - file: chapters/label_noise"]
    assert now.index("      - file: chapters/label_noise") == was.index("  - caption: Judging")


@pytest.mark.parametrize(
    "name", ["", "Label", "label noise", "../label", "label-noise", "_label", "label__noise", "2labels", "class", "étiquette", "a/b"]
)
def test_a_name_that_is_no_module_is_refused(here, name):
    before = here.contents()
    with pytest.raises(InputError, match="use words of small letters and digits") as caught:
        new_chapter.create(name)
    assert "\n" not in str(caught.value)
    assert here.contents() == before


@pytest.mark.parametrize("taken", [CHAPTERS / "label_noise", Path("book/chapters/label_noise.ipynb")])
def test_a_chapter_that_is_there_is_left_alone(here, taken):
    (here.root / taken).mkdir()
    before = here.contents()
    with pytest.raises(InputError, match="there is a chapter 'label_noise' already"):
        new_chapter.create("label_noise")
    assert here.contents() == before


def test_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    with pytest.raises(InputError, match="is no checkout of the book"):
        new_chapter.create("label_noise")
    assert not list(tmp_path.iterdir())


def test_contents_without_chapters(here):
    (here.root / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    with pytest.raises(InputError, match="lists no chapter after which 'label_noise' could come"):
        new_chapter.create("label_noise")


@pytest.mark.parametrize("fails", ["rename", "replace", "write_text"])
def test_a_disk_that_fails_leaves_nothing_half_done(here, monkeypatch, fails):
    before, works, calls = here.contents(), getattr(Path, fails), []

    def failing(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == {"rename": 2, "replace": 1, "write_text": 4}[fails]:
            raise OSError(28, "No space left on device")
        return works(self, *args, **kwargs)

    monkeypatch.setattr(Path, fails, failing)
    with pytest.raises(InputError, match="the chapter 'label_noise' could not be written: .*No space left on device"):
        new_chapter.create("label_noise")
    monkeypatch.undo()
    assert here.contents() == before
    assert not (here.root / CHAPTERS / "label_noise").exists()


@pytest.mark.slow
def test_it_runs_as_it_is(checkout):
    shutil.copytree(BOOK / "ncbook", checkout.root / "ncbook", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    own = {"PYTHONPATH": str(checkout.root), "OMP_NUM_THREADS": "1", "JOBS": str(os.cpu_count())}
    made = checkout.ncbook("new", "chapter", "label_noise", **own)
    assert made.returncode == 0, made.stderr
    done = checkout.ncbook("run", "label_noise", **own)
    assert done.returncode == 0, done.stderr
    folder = checkout.root / "book" / "_build" / "quick" / "label_noise"
    kinds = ("svg", "png", "csv", "panel.png")
    assert {path.name for path in (folder / "figures").iterdir()} == {f"label-noise-over-epochs.{kind}" for kind in kinds}
    verdicts = {v["id"]: v["verdict"] for v in json.loads((folder / "verdicts.json").read_text())["verdicts"]}
    assert verdicts == {"label-noise-train-collapse": "supported", "label-noise-no-collapse-without-learning": "supported"}
