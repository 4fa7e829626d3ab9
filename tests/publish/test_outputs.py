"""The check of outputs finds what must not be published, names chapter and cell, and lets ordinary outputs pass."""

import pytest

from ncbook.errors import InputError
from ncbook.publish import outputs


def cells(output: dict) -> list[dict]:
    return [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [output]}]


def stream(text) -> dict:
    return {"output_type": "stream", "name": "stderr", "text": text}


def data(**shown) -> dict:
    return {"output_type": "display_data", "data": {mime.replace("_", "/"): text for mime, text in shown.items()}}


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (
            stream(["/home/someone/plots.py:81: UserWarning: constrained_layout not applied\n", "  figure.draw()"]),
            r"a warning \('UserWarning'\)",
        ),
        (stream("WARNING: no GPU"), "a warning"),
        (stream("Traceback (most recent call last):\n  File"), "a traceback"),
        ({"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}, "a traceback"),
        (data(text_plain="PosixPath('/home/someone/data')"), "an absolute path"),
        (data(text_html='<img src="/srv/figures/x.svg">'), "an absolute path"),
        (data(text_markdown=["saved in ", "C:\\runs"]), "an absolute path"),
        ({"output_type": "execute_result", "data": {"text/plain": "DeprecationWarning: x"}}, "a warning"),
    ],
)
def test_each_fault_is_named_with_its_chapter_and_cell(output, says):
    with pytest.raises(InputError, match=rf"^a_chapter: an output of cell 2 shows {says}"):
        outputs.check(cells(output), "a_chapter")


@pytest.mark.parametrize(
    "output",
    [
        stream("finished 3/4 runs"),
        data(text_plain="V = Tr/Tr, and/or 1/2", text_html="<table><tr><td>a/b/c</td></tr></table>"),
        data(text_markdown="[here](../intro.md), https://example.org/a/b, `ncbook/chapters/x/claims.yml`, NC1 / NC2"),
        data(text_plain="no warning was given"),
        data(**{"application_vnd.x+json": {"name": "x"}}),
    ],
)
def test_ordinary_outputs_pass(output):
    assert outputs.check(cells(output), "a_chapter") is None
