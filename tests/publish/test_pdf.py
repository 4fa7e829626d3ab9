"""The printed edition: all pages in their order, by a Chromium that is here; one sentence where something is not."""

import pytest
from checkouts import BOOK

from ncbook import paths
from ncbook.errors import InputError
from ncbook.publish import pdf


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setenv("NCBOOK_ROOT", str(BOOK))


def test_the_pages_are_those_of_the_table_of_contents():
    found = pdf.contents()
    assert found[0] == "intro" and found[-1] == "bibliography"
    assert {page.removeprefix("chapters/") for page in found if "/" in page} == {
        path.stem for path in (BOOK / "book" / "chapters").glob("*.ipynb")
    }


def test_without_a_book_or_a_browser_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "which", lambda name: None)
    with pytest.raises(InputError, match="not built yet"):
        pdf.write(tmp_path)
    (tmp_path / "index.html").touch()
    with pytest.raises(InputError, match="apt install chromium"):
        pdf.write(tmp_path)


def test_a_browser_that_prints_nothing_is_named(tmp_path, monkeypatch):
    for name in ("index", "intro"):
        (tmp_path / f"{name}.html").touch()
    monkeypatch.setattr(pdf, "which", lambda name: "/bin/false")
    with pytest.raises(InputError, match=r"the built book lacks chapters/.*bibliography"):
        pdf.write(tmp_path)
    monkeypatch.setattr(pdf, "contents", lambda: ["intro"])
    monkeypatch.setattr(paths, "build", lambda: tmp_path)
    with pytest.raises(InputError, match="/bin/false did not print intro.html"):
        pdf.write(tmp_path)
    assert not list(tmp_path.glob("*.pdf*"))


@pytest.mark.slow
def test_two_pages_are_printed_and_joined(site, tmp_path, monkeypatch):
    pypdf = pytest.importorskip("pypdf")
    monkeypatch.setattr(pdf, "contents", lambda: ["intro", "metrics"])
    monkeypatch.setattr(paths, "build", lambda: tmp_path)
    book = pypdf.PdfReader(pdf.write(site))
    assert [mark.title for mark in book.outline] == ["Neural collapse and its limits", "Metrics"]
    first, last = (book.pages[i].extract_text() for i in (0, book.get_destination_page_number(book.outline[1])))
    assert first.startswith("Neural collapse") and last.startswith("Metrics")
    assert [path.name for path in tmp_path.iterdir()] == ["book.pdf"]
