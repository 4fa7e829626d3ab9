"""The page of costs: it says what was measured, computes what follows from it, and its picture is of the same measurement."""

import json

import pytest
from checkouts import BOOK

from ncbook.publish import cost
from ncbook.runs.digest import digest

ROW = {"what": "training | it", "instead": "a bare loop", "ratio": 1.0449, "seconds": 0.25}
FOUND = {
    "when": "2026-01-02", "machine": "a CPU, 2 cores, AVX2", "load": 0.04, "versions": {"torch": "2.13.0", "python": "3.11.7"},
    "ratios": [
        ROW | {"goal": {"ratio": 1.05}}, ROW | {"goal": {"seconds": 0.2}}, ROW | {"goal": None, "seconds": 1234.0},
    ],
    "growth": [
        {"over": "N", "what": "a table", "at": [1, 2, 4, 8], "seconds": [3, 6, 12, 24]},
        {"over": "d", "what": "another", "at": [1, 10, 100], "seconds": [1, 100, 10_000]},
    ],
}  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "book" / "images").mkdir(parents=True)
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    return tmp_path


def test_a_copy_without_a_measurement_says_so(root):
    assert "`make bench` makes one" in cost.page() and "figure" not in cost.page()


def test_the_page_says_what_was_measured(root):
    cost.keep(FOUND)
    page = cost.page()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| training")]
    assert [row[1:] for row in rows] == [
        ["250 ms", "a bare loop", "1.04", "≤ 1.05: met |"],
        ["250 ms", "a bare loop", "1.04", "≤ 200 ms: not met |"],
        ["1,234 s", "a bare loop", "1.04", "– |"],
    ]
    assert r"training \| it" in page and "2026" in page and "AVX2" in page and "2\\.13\\.0" in page
    of_ratios, of_growth = (line for line in page.splitlines() if line.startswith(":alt: "))
    assert "3 ratios" in of_ratios and "From 1 (training | it, over a bare loop) to 1 (" in of_ratios
    assert "against N, d. Slopes: N (a table): 1.00; d (another): 2.00." in of_growth


@pytest.mark.parametrize("of", ["ratios", "growth"])
def test_a_picture_is_the_same_each_time_and_says_what_it_shows(root, of):
    cost.keep(FOUND)
    drawn = cost.picture(of).read_bytes()
    assert digest(FOUND[of]).encode() in drawn
    cost.draw(json.loads(cost.measurement().read_text()))
    assert cost.picture(of).read_bytes() == drawn


@pytest.mark.parametrize("of", ["ratios", "growth"])
def test_the_pictures_in_the_book_are_of_the_measurement_in_the_repository(of):
    found = json.loads((BOOK / "data" / "cost.json").read_text())
    drawn = (BOOK / "book" / "images" / f"cost-{of}.svg").read_text()
    assert digest(found[of]) in drawn, "python -m ncbook.publish.cost draws it again"
    assert {row["over"] for row in found["growth"]} == {"N", "d", "C", "layers", "runs"}
