"""The check of a built book finds each fault that a reader would meet."""

import pytest

from ncbook.errors import InputError
from ncbook.publish import ledger
from ncbook.publish.render import check

FIGURE = (
    '<figure id="a-figure"><img src="../_images/x.svg" alt="It falls."><a href="../_downloads/1/a-figure.csv">CSV</a>'
    '<a href="../_downloads/2/a-figure.svg">SVG</a><a href="../_downloads/3/a-figure.png">PNG</a></figure>'
)
GOOD = {
    "index.html": '<a href="chapters/one.html#a-figure">see</a><a href="#here">up</a><p id="here"></p><a href="https://example.org">out</a>',
    "ledger.html": '<h2 id="claim-it-falls">It falls</h2>',
    "chapters/one.html": FIGURE,
}
FILES = ["_images/x.svg", "_downloads/1/a-figure.csv", "_downloads/2/a-figure.svg", "_downloads/3/a-figure.png"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "entries", lambda: [{"id": "it-falls", "chapter": "one"}, {"id": "other", "chapter": "two"}])

    def write(pages=GOOD, files=FILES):
        for name, text in {**pages, **dict.fromkeys(files, "x")}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_a_whole_book_passes(site):
    assert check(site(), {"one": ["a-figure"]}) is None


@pytest.mark.parametrize(
    ("page", "old", "new", "says"),
    [
        ("chapters/one.html", 'id="a-figure"', "", "figure a-figure is missing"),
        ("chapters/one.html", 'alt="It falls."', 'alt=" "', "no alt text"),
        ("chapters/one.html", "a-figure.csv", "other.csv", "no link to its CSV"),
        ("chapters/one.html", "../_images/x.svg", "../_images/y.svg", "broken link ../_images/y.svg"),
        ("index.html", "#a-figure", "#b-figure", "broken link chapters/one.html#b-figure"),
        ("index.html", "#here", "#there", "broken link #there"),
        ("ledger.html", "claim-it-falls", "claim-it-rises", "lacks claim it-falls"),
        ("index.html", "<p", '<script src="https://cdn.example.org/x.js"></script><p', "loads from the network"),
    ],
)
def test_each_fault_is_named(site, page, old, new, says):
    assert old in GOOD[page]
    with pytest.raises(InputError, match=says):
        check(site({**GOOD, page: GOOD[page].replace(old, new)}), {"one": ["a-figure"]})


def test_a_missing_page_and_a_chapter_without_figures_are_faults(site):
    with pytest.raises(InputError, match="the page of two is missing"):
        check(site(), {"one": ["a-figure"], "two": ["b"]})
    with pytest.raises(InputError, match="one has no figure"):
        check(site(), {"one": []})
