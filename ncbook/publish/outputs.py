"""What must not stand on a page: a warning, a traceback, or a path of the machine that made it, in an output of an executed notebook; nor
more than a browser opens."""

import json
import re
from collections.abc import Callable

from ncbook.errors import InputError

MOST = 10_000_000  # letters of all outputs of a notebook, pictures among them
FAULTS = {
    "a traceback": re.compile(r"Traceback \(most recent call last\)"),
    "a warning": re.compile(r"\b\w*Warning\b|\bWARNING\b"),
    # /home/me/x and C:\x, but neither a half of a link or of a fraction nor the end of an HTML element
    "an absolute path": re.compile(r"(?<![\w:/.<>)\]}])/[\w.+-]+(?:/[\w.+-]+)+|\b[A-Z]:\\\w"),
}


class Printed:
    """A file for what a kernel prints, as papermill hands it on: calls `stop` when that is more than `MOST` letters."""

    def __init__(self, stop: Callable[[], None]):
        self.letters, self.stop = 0, stop

    def write(self, text: str) -> None:
        """Count the letters of a text."""
        if self.letters <= MOST < self.letters + len(text):
            self.stop()
        self.letters += len(text)

    def flush(self) -> None:
        """Nothing waits to be written."""

    def fault(self) -> str:
        """What to say where it was too much; nothing where it was not."""
        return f"its cells print more than {MOST:,} letters, which no page can show; print less." if self.letters > MOST else ""


def check_size(cells: list[dict]) -> None:
    """An `InputError` where the outputs of executed `cells` are too large for a page: it names the cell that shows most."""
    sizes = [len(json.dumps(cell.get("outputs", []))) for cell in cells]
    if sum(sizes) > MOST:
        most = max(sizes)
        raise InputError(
            f"its outputs have {sum(sizes):,} letters, {most:,} of them in cell {sizes.index(most) + 1}, and a page can show {MOST:,}; "
            "show less, or draw fewer points."
        )


def check(cells: list[dict], chapter: str) -> None:
    """Raise an `InputError` that names chapter and cell of the first output of executed `cells` with one of these faults in it."""
    for number, cell in enumerate(cells, start=1):
        for output in cell.get("outputs", []):
            if what := fault(output):
                raise InputError(f"{chapter}: an output of cell {number} shows {what}; mend what causes it, the page is not published.")


def fault(output: dict) -> str | None:
    """What is wrong with one output, quoted; None where nothing is.

    >>> fault({"output_type": "stream", "text": "UserWarning: constrained_layout not applied"})
    "a warning ('UserWarning')"
    """
    if output["output_type"] == "error":
        return f"a traceback ({output.get('ename')!r})"
    for text in _texts(output):
        for what, pattern in FAULTS.items():
            if found := pattern.search(text):
                return f"{what} ({found[0]!r})"
    return None


def _texts(output: dict) -> list[str]:
    """All that an output lets a reader see as text. Of a drawing, whose letters are shapes, only the marks of an error can be told."""
    shown = {"text/plain": output["text"]} if "text" in output else output.get("data", {})
    return ["".join(text) for mime, text in shown.items() if mime.startswith("text/") and isinstance(text, str | list)]
