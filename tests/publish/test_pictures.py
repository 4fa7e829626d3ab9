"""The drawings on the page of metrics: they are what the package draws today, and each shows what it says."""

import pytest
from checkouts import BOOK

from ncbook.publish import pictures

DRAWN = {picture.name: picture for picture in pictures.pictures()}
SAME = {"nc1": "variance_ratio", "cdnv": "variance_ratio", "vci": "vci"}  # what does not move between two drawings


def test_the_file_is_what_is_drawn():
    assert (BOOK / "book" / "_pictures.html").read_text() == pictures.markup(), "python -m ncbook.publish.pictures writes it anew"


@pytest.mark.parametrize("name", DRAWN)
def test_what_moves_and_what_stays(name):
    first, second = (panel.numbers() for panel in DRAWN[name].panels)
    for column in DRAWN[name].columns:
        if SAME.get(name) == column:
            assert first[column] == pytest.approx(second[column], rel=0.01)
        else:
            assert max(first[column], second[column]) > 1.5 * min(first[column], second[column])


def test_the_spread_is_exact():
    (wide, _) = DRAWN["variance_ratio"].panels
    assert wide.numbers()["variance_ratio"] == pytest.approx(2 * 0.3**2)  # two directions, and means of length one
    assert wide.crossed().sum() == 0


def test_the_rings_are_the_mismatch():
    panel, without = DRAWN["nc4_ncc_mismatch"].panels
    assert panel.crossed().double().mean() == pytest.approx(panel.numbers()["nc4_ncc_mismatch"])
    assert pictures._svg(panel, arrows=False).count('r="3.4"') == int(panel.crossed().sum()) > 0
    assert 'r="3.4"' not in pictures._svg(without, arrows=False)
