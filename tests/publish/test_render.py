"""A page that changed is built anew and the others stay as they are; the book is the one that a build from nothing gives."""

import json
import os
import shutil
import time

import pytest
from checkouts import Toy

from ncbook.publish import render, sealed

# --- what a build may go on from ------------------------------------------------------------------------------------------------------

STAGED = ("_config.yml", "_static/book.css", "_static/cards/one.webp", "chapters/one.ipynb", "references.bib", "text.md")
MADE = ("_build/html/text.html", "_build/html/_static/book.css", "_build/html/_images/x.svg", "_build/html/_downloads/1/x.csv")
KEPT = {"_build/html/text.html", "stamp"}


@pytest.fixture
def last(tmp_path):
    """The output of a last build and the sources that it was made from, as they are staged again."""
    stage, output = tmp_path / "stage", tmp_path / "output"
    for path in [*(stage / name for name in STAGED), *(output / name for name in MADE)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    sealed.close(output, json.dumps(render._sources(stage)))
    return output, stage


def left(output, stage, **other: str) -> set[str]:
    render._prepare(output, stage, {**render._sources(stage), **other})
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["text.md", "chapters/one.ipynb", "_static/cards/one.webp", "chapters/figures/new.svg", "_generated/new.md"]
)
def test_what_changed_is_dated_after_the_last_build_and_the_rest_before_it(last, name):
    output, stage = last
    (stage / name).parent.mkdir(parents=True, exist_ok=True)
    (stage / name).write_text("new")
    assert left(output, stage) == KEPT  # what Sphinx copies is copied anew
    dates = {path.relative_to(stage).as_posix(): path.stat().st_mtime for path in stage.rglob("*") if path.is_file()}
    assert dates.pop(name) > time.time() > max(dates.values())


def test_a_page_that_is_gone_takes_nothing_else_with_it(last):
    output, stage = last
    (stage / "text.md").unlink()
    assert left(output, stage) == KEPT and sealed.made_from(output) is None
    assert max(path.stat().st_mtime for path in stage.rglob("*")) < time.time()


@pytest.mark.parametrize("name", ["_config.yml", "_static/book.css", "references.bib", "_toc.yml"])
def test_a_change_that_concerns_all_pages_leaves_nothing_to_go_on_from(last, name):
    output, stage = last
    (stage / name).write_text("new")
    assert left(output, stage) == set()


@pytest.mark.parametrize("other", ["the extension", "installed"])
def test_nor_does_another_program(last, other):
    assert left(*last, **{other: "new"}) == set()


@pytest.mark.parametrize("fault", ["killed", "edited", "lost"])
def test_nor_does_a_build_that_was_killed_or_whose_output_was_touched(last, fault):
    output, stage = last
    (stage / "text.md").write_text("new")
    if fault == "killed":
        left(output, stage)
    elif fault == "edited":
        (output / MADE[0]).write_text("edited")
    else:
        (output / MADE[0]).unlink()
    assert left(output, stage) == set()


def test_the_page_of_docstrings_is_made_from_them_too(last, tmp_path, monkeypatch):
    _, stage = last
    (stage / "api.md").write_text("# Python interface\n")
    package = tmp_path / "package"
    for name in ("metrics/collapse.py", "publish/site.py"):
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text('"""One."""\n')
    monkeypatch.setattr(render, "PACKAGE", package)
    before = render._sources(stage)
    (package / "publish" / "site.py").write_text('"""Two."""\n')
    assert render._sources(stage) == before
    (package / "metrics" / "collapse.py").write_text('"""Two."""\n')
    assert {name for name, found in render._sources(stage).items() if found != before[name]} == {"api.md"}


# --- with Jupyter Book ----------------------------------------------------------------------------------------------------------------

SHOW = """
import pandas as pd

from ncbook.publish.figures import panels
from ncbook.publish.session import open_chapter

table = pd.DataFrame({"step": range(3), "value": range(3)})
figure, axes = panels(1, 1)
axes[0][0].plot(table.step, table.value, ".")
open_chapter("toy", globals()).show(figure, "counts", what="Counts.", finding="They count.", table=table)
"""
PAGES = {
    "glossary": "# Glossary\n\n```{glossary}\nfeature\n  What a layer gives.\n```\n",
    "one": "# One\n\nA platypus.\n\n![A dot](_static/favicon.svg)\n",
    "two": "# Two\n\nAfter [](one.md), a {term}`feature`.\n",
}


class Book(Toy):
    """A toy chapter beside three pages, and what became of them."""

    def __init__(self, root):
        super().__init__(root, SHOW)
        contents = root / "book" / "_toc.yml"
        contents.write_text(contents.read_text() + "".join(f"- file: {name}\n" for name in PAGES))
        for name, text in PAGES.items():
            self.write(name, text)
        self.html, self.output = root / "book" / "_build" / "html", root / "book" / "_build" / "jupyter-book"
        self.build()

    def write(self, name: str, text: str) -> None:
        (self.root / "book" / f"{name}.md").write_text(text)

    def build(self) -> set[str]:
        """Build the book; the pages that were written."""
        before = self._dates()
        done = self.ncbook("book")
        assert done.returncode == 0, done.stderr
        return {name for name, date in self._dates().items() if date != before.get(name)}

    def page(self, name: str) -> str:
        return (self.html / f"{name}.html").read_text()

    def _dates(self) -> dict[str, int]:
        html = self.output / "_build" / "html"
        pages = (path for path in html.rglob("*.html") if "_static" not in path.parts)
        return {path.relative_to(html).with_suffix("").as_posix(): path.stat().st_mtime_ns for path in pages}


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Book:
    return Book(tmp_path_factory.mktemp("book"))


ALWAYS = {"genindex", "glossary", "index", "intro", "search"}  # the lists, the opening page, and a page with words in the index


@pytest.mark.slow
@pytest.mark.parametrize("days", [365, -365])
def test_a_page_that_changed_is_built_anew_and_no_other(book, days):
    book.write("one", PAGES["one"].replace("platypus", f"wombat {days}"))
    made = book.output / "_build" / "html"  # a page that is older than the templates of the theme is written again, as it was
    for path in (path for path in book.root.rglob("*") if not path.is_relative_to(made)):
        os.utime(path, (time.time() + days * 86_400,) * 2, follow_symlinks=False)
    assert book.build() <= ALWAYS | {"one"}
    assert f"wombat {days}" in book.page("one")
    assert set(book._dates()) >= {"two", "ledger", "chapters/toy"}


@pytest.mark.slow
def test_what_pages_say_of_others_is_new_on_all_of_them(book):
    book.write("one", PAGES["one"].replace("# One", "# Number one").replace("![A dot](_static/favicon.svg)", ""))
    book.write("glossary", PAGES["glossary"].replace("What a layer", "All that a layer"))
    assert book.build() >= {"one", "two", "ledger", "chapters/toy"}
    assert "Number one" in book.page("two") and "Number one" in book.page("chapters/toy")
    assert 'title="All that a layer gives."' in book.page("two")
    book.write("glossary", PAGES["glossary"])
    assert book.build() <= ALWAYS | {"two"}  # the word is where it was, and means something else
    assert 'title="What a layer gives."' in book.page("two")


@pytest.mark.slow
def test_a_site_that_is_gone_is_put_back(book):
    before = book.contents("book/_build/html")
    shutil.rmtree(book.html)
    assert book.build() <= ALWAYS
    assert book.contents("book/_build/html") == before


@pytest.mark.slow
def test_after_a_build_that_is_refused_all_pages_are_built(book):
    before = book.page("one")
    book.write("one", PAGES["one"] + "\nSee {numref}`nothing`.\n")
    done = book.ncbook("book")
    assert done.returncode == 2 and "nothing" in done.stderr
    assert book.page("one") == before
    book.write("one", PAGES["one"])
    assert book.build() >= {"one", "two", "ledger", "chapters/toy"}


@pytest.mark.slow
def test_it_is_the_book_that_a_build_from_nothing_gives(book):
    for text in ("# One\n\nA wombat.\n", "# One\n\nA quokka.\n"):  # an image and an animal less
        book.write("one", text)
        book.build()
    found = book.contents("book/_build/html")
    shutil.rmtree(book.output)
    shutil.rmtree(book.html)
    book.build()
    fresh, index = book.contents("book/_build/html"), "book/_build/html/searchindex.js"
    assert _index(found.pop(index)) == _index(fresh.pop(index))
    assert found == fresh and not any("favicon" in name for name in found if "_images" in name)


def _index(script: bytes) -> dict:
    """The search index, without the words that no page has any more, which Sphinx keeps."""
    index = json.loads(script.removeprefix(b"Search.setIndex(").removesuffix(b")"))
    return index | {"terms": {word: pages for word, pages in index["terms"].items() if pages != []}}
