"""A session: what a notebook knows of its chapter, by hand and in a build."""

import json

import pandas as pd
import pytest

from ncbook import paths, settings
from ncbook.errors import InputError
from ncbook.publish import execute, notebooks
from ncbook.publish.figures import panels
from ncbook.publish.parameters import parameters
from ncbook.publish.session import open_chapter

CHAPTER = "train_test_collapse"
TINY = {"loss": ["squared"], "train_size": [20], "epochs": 2, "measurements": 1, "batch_size": 10, "seeds": 1}
TINY |= {"linear_size": 20, "generated_size": 50, "generated_test_size": 50}


@pytest.fixture
def namespace(here) -> dict:
    """The globals of a notebook whose cell of parameters was run."""
    return {**parameters(CHAPTER), **TINY, "unrelated": object()}


@pytest.fixture
def session_file(here, tmp_path, monkeypatch):
    """What a build tells the notebook that it executes."""
    path = tmp_path / "session.json"
    path.write_text(json.dumps({"profile": "laptop", "output": str(tmp_path / "output"), "record": None}))
    monkeypatch.setenv("NCBOOK_SESSION", str(path))
    return path


def test_a_notebook_opened_by_hand_trains_its_tables(namespace, monkeypatch):
    chapter = open_chapter(CHAPTER, namespace)
    assert (chapter.profile, chapter.output, chapter.record) == ("by hand", paths.build() / "by-hand", None)
    assert set(chapter.parameters) == set(notebooks.defaults(CHAPTER)) and chapter.parameters["epochs"] == 2
    table = chapter.table("collapse")
    assert {0, 2} <= set(table.epoch) and not table.attrs
    table["mine"] = 1  # the session's own copy stays as it is
    assert list(chapter.tables()) == ["collapse", "linear", "apart", "overlapping"] and "mine" not in chapter.tables()["collapse"]
    assert {verdict.verdict for verdict in chapter.judge()} == {"not measured"}
    assert json.loads((chapter.output / "verdicts.json").read_text())["profile"] == "by hand"
    assert "| profile | `by hand` |" in chapter.provenance()._repr_markdown_()
    with pytest.raises(InputError, match="table of train_test_collapse 'colapse'; did you mean 'collapse'"):
        chapter.table("colapse")


def test_a_build_says_profile_and_output(namespace, session_file, tmp_path, monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: None)
    chapter = open_chapter(CHAPTER, namespace)
    assert (chapter.profile, chapter.output) == ("laptop", tmp_path / "output")
    figure, axes = panels(1, 1)
    axes[0][0].plot([1, 2, 3], [1, 2, 3])
    chapter.show(figure, "a-figure", what="A line", finding="It rises", table=pd.DataFrame({"x": [1]}))
    assert (tmp_path / "output" / "figures" / "a-figure.svg").is_file()


def test_a_record_takes_the_place_of_training(here, session_file, tmp_path):
    here.record("quick", CHAPTER)
    session_file.write_text(json.dumps({"profile": "quick", "output": str(tmp_path), "record": str(paths.record("quick", CHAPTER))}))
    chapter = open_chapter(CHAPTER, parameters(CHAPTER))
    assert len(chapter.table("collapse")) > 100 and not paths.runs().exists()
    assert list(chapter.table("collapse"))[:2] == ["dataset", "model"]
    assert "| record | of 20" in chapter.provenance()
    with pytest.raises(InputError, match="does not hold the runs"):
        open_chapter(CHAPTER, {**parameters(CHAPTER), **TINY}).table("collapse")


def test_a_notebook_opened_by_hand_reads_the_record_of_its_parameters(here, monkeypatch):
    """As Binder opens it."""
    monkeypatch.setenv("FROM", "record")
    here.record("quick", CHAPTER)
    chapter = open_chapter(CHAPTER, parameters(CHAPTER))
    assert (chapter.profile, chapter.output) == ("by hand", paths.build() / "by-hand")
    assert len(chapter.table("collapse")) > 100 and not paths.runs().exists()
    with pytest.raises(InputError, match="has a record of its profiles quick only"):
        open_chapter(CHAPTER, {**parameters(CHAPTER), **TINY})
    monkeypatch.setenv("FROM", "somewhere")
    with pytest.raises(InputError, match="FROM='somewhere': the only other source is FROM=record"):
        open_chapter(CHAPTER, parameters(CHAPTER))


def test_parameters_that_the_notebook_lacks_are_named(namespace):
    del namespace["epochs"], namespace["seeds"]
    with pytest.raises(InputError, match="does not define epochs, seeds; run its cell of parameters first"):
        open_chapter(CHAPTER, namespace)


@pytest.mark.parametrize("content", [None, "no JSON", "[1, 2]", "3"])
def test_a_session_file_that_is_none(namespace, session_file, content):
    session_file.unlink() if content is None else session_file.write_text(content)
    with pytest.raises(InputError, match="NCBOOK_SESSION is .*session.json', which is no session of a build"):
        open_chapter(CHAPTER, namespace)


def test_the_source_of_the_experiment_as_a_notebook_shows_it(namespace):
    text = open_chapter(CHAPTER, namespace).source("experiment")
    assert text.startswith("```python\n@in_stacks(10)\n@takes_recipe\ndef experiment(recipe: Recipe,") and text.endswith("```")


def test_the_stamp_follows_what_the_notebook_imports(here, monkeypatch):
    """A module of the user's own that a cell imports counts, and so does the package that it uses; prose in the cells' output does not."""
    (here.root / "mine.py").write_text("factor = 1\n")
    monkeypatch.syspath_prepend(str(here.root))
    here.chapter("toy", "import mine\nfrom ncbook.publish.figures import show", "%matplotlib inline", seeds=1)
    assert notebooks.imports("toy") == ["mine", "ncbook.publish.figures.show"]
    (toy,) = execute.prepare(["toy"], "quick", {})
    before = toy.stamp()
    assert toy.stamp() == before
    (here.root / "mine.py").write_text("factor = 2\n")
    assert toy.stamp() != before


def test_settings_are_read_from_the_environment_as_it_is_now(monkeypatch, tmp_path):
    monkeypatch.setenv("NCBOOK_RUNS", "~/runs")
    monkeypatch.setenv("JOBS", "")
    before = settings.current()
    assert before.runs.name == "runs" and before.runs.is_absolute() and before.jobs is None
    with settings.within({"NCBOOK_RUNS": str(tmp_path), "JOBS": "3"}):
        assert (settings.current().runs, settings.jobs()) == (tmp_path, 3)
    assert settings.current() == before
