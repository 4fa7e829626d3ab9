"""The notebooks of the book: where they are, in which order, their titles, and the parameters that they declare. Imports no torch."""

import ast
import json
from contextlib import suppress
from pathlib import Path

from ncbook.chapters import read_yaml
from ncbook.errors import InputError, unknown
from ncbook.paths import root
from ncbook.runs.code import imports_of


def notebook(chapter: str) -> Path:
    """The source notebook of a chapter; an unknown name is an `InputError`."""
    if chapter not in (known := names()):
        raise unknown("chapter", chapter, known)
    return root() / "book" / "chapters" / f"{chapter}.ipynb"


def names() -> list[str]:
    """All chapters, in the order of the book's table of contents; a notebook that it lacks comes last."""
    stems = {path.stem for path in (root() / "book" / "chapters").glob("*.ipynb")}
    toc = root() / "book" / "_toc.yml"
    listed = [Path(f).stem for f in _files(read_yaml(toc))] if toc.exists() else []
    return [name for name in listed if name in stems] + sorted(stems - set(listed))


def _files(toc) -> list[str]:
    if isinstance(toc, dict):
        return [str(v) for k, v in toc.items() if k in ("root", "file")] + [f for v in toc.values() for f in _files(v)]
    return [f for item in toc for f in _files(item)] if isinstance(toc, list) else []


def title(chapter: str) -> str:
    """The first heading of a chapter."""
    for cell in cells(chapter):
        for line in cell["source"].splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line.removeprefix("# ").strip()
    return chapter


def cells(chapter: str) -> list[dict]:
    """The cells of a chapter's notebook: type, source and metadata; an `InputError` where it cannot be read."""
    try:
        listed = json.loads(notebook(chapter).read_text(encoding="utf-8"))["cells"]
        return [{"cell_type": cell["cell_type"], "source": "".join(cell["source"]), "metadata": dict(cell["metadata"])} for cell in listed]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{notebook(chapter)} is not a readable notebook ({error}); restore it with git.") from error


def defaults(chapter: str) -> dict:
    """The parameters that a notebook declares, with their values: the cell tagged ``parameters``, which is the profile ``quick``."""
    for cell in cells(chapter):
        if "parameters" in cell["metadata"].get("tags", []):
            try:
                tree = ast.parse(cell["source"])
                return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}
            except (SyntaxError, ValueError, AttributeError) as error:
                raise InputError(f"{notebook(chapter)}: the cell of parameters takes lines `name = value` only ({error}).") from error
    raise InputError(f"{notebook(chapter)} has no cell tagged 'parameters'.")


def imports(chapter: str) -> list[str]:
    """The names of the modules that the cells of a notebook import. A cell that is no plain Python is left out: its kernel says what is
    wrong."""
    names = []
    for cell in cells(chapter):
        if cell["cell_type"] == "code":
            with suppress(SyntaxError):
                names += imports_of(ast.parse(cell["source"]))
    return sorted(set(names))
