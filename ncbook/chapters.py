"""Chapters and their parameters: what a notebook declares, what a profile sets, what the command line changes. Imports no torch."""

import ast
import json
from pathlib import Path

import yaml

from ncbook.errors import InputError, unknown
from ncbook.paths import root

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def notebook(chapter: str) -> Path:
    """The source notebook of a chapter; an unknown name is an `InputError`."""
    if chapter not in (known := names()):
        raise unknown("chapter", chapter, known)
    return root() / "book" / "chapters" / f"{chapter}.ipynb"


def names() -> list[str]:
    """All chapters, in the order of the book's table of contents; a notebook that it lacks comes last."""
    found = {path.stem for path in (root() / "book" / "chapters").glob("*.ipynb")}
    toc = root() / "book" / "_toc.yml"
    listed = [Path(f).stem for f in _files(yaml.safe_load(toc.read_text(encoding="utf-8")))] if toc.is_file() else []
    return [name for name in listed if name in found] + sorted(found - set(listed))


def _files(toc) -> list[str]:
    if isinstance(toc, dict):
        return [str(v) for k, v in toc.items() if k in ("root", "file")] + [f for v in toc.values() for f in _files(v)]
    return [f for item in toc for f in _files(item)] if isinstance(toc, list) else []


def title(chapter: str) -> str:
    """The first heading of a chapter."""
    for cell in _cells(chapter):
        for line in cell["source"].splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line.removeprefix("# ").strip()
    return chapter


def _cells(chapter: str) -> list[dict]:
    try:
        cells = json.loads(notebook(chapter).read_text(encoding="utf-8"))["cells"]
        return [{"cell_type": cell["cell_type"], "source": "".join(cell["source"]), "metadata": dict(cell["metadata"])} for cell in cells]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{notebook(chapter)} is not a readable notebook ({error}); restore it with git.") from error


def defaults(chapter: str) -> dict:
    """The parameters that a notebook declares, with their values: the cell tagged ``parameters``, which is the profile ``quick``."""
    for cell in _cells(chapter):
        if "parameters" in cell["metadata"].get("tags", []):
            try:
                tree = ast.parse(cell["source"])
                return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}
            except (SyntaxError, ValueError, AttributeError) as error:
                raise InputError(f"{notebook(chapter)}: the cell of parameters takes lines `name = value` only ({error}).") from error
    raise InputError(f"{notebook(chapter)} has no cell tagged 'parameters'.")


def profiles() -> list[str]:
    """All profiles: ``quick`` and the files of book/profiles."""
    return ["quick", *sorted(path.stem for path in (root() / "book" / "profiles").glob("*.yml"))]


def parameters(chapter: str, profile: str = "quick", changes: dict | None = None) -> dict:
    """A chapter's parameters: the notebook's own, then the profile's, then `changes` (values, or texts from the command line).

    A parameter declared as a list is swept: it takes one value or a list. Unknown names and values of the wrong type are `InputError`s.
    """
    if profile not in profiles():
        raise unknown("profile", profile, profiles())
    values = defaults(chapter)
    declared = dict(values)
    for source in (_profile(profile).get(chapter) or {}, changes or {}):
        for name, value in source.items():
            if name not in declared:
                raise unknown(f"parameter of {chapter}", name, declared)
            values[name] = _typed(name, value, declared[name])
    return values


def _profile(name: str) -> dict:
    """What a profile sets, by chapter."""
    if name == "quick":
        return {}
    path = root() / "book" / "profiles" / f"{name}.yml"
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict) or not all(isinstance(v, dict | None) for v in given.values()):
        raise InputError(f"{path} must hold, for each chapter, its parameters as `name: value`.")
    for chapter in given:
        if chapter not in names():
            raise unknown(f"chapter in {path.name}", chapter, names())
    return given


def _typed(name: str, value, default):
    """`value` as the type of `default`."""
    if isinstance(default, list):
        if isinstance(value, str):
            value = parse(value) if value.startswith("[") else [part.strip() for part in value.split(",")]
        return [_typed(name, v, default[0]) for v in (value if isinstance(value, list) else [value])]
    if default is None:  # an option that is off unless a text or a number turns it on
        return parse(value) if isinstance(value, str) else value
    kind = type(default)
    if isinstance(value, str) and kind is not str:
        value = parse(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise InputError(f"parameter {name} must be {KINDS[kind]}, like {default!r}, not {value!r}.")
    least = 1 if kind is int and default >= 1 else 0  # rates, sizes, counts: no chapter has a parameter that may be negative
    if kind in (int, float) and not least <= value < float("inf"):
        raise InputError(f"parameter {name} must be {KINDS[kind]} of at least {least}, like {default!r}, not {value!r}.")
    return value


def parse(text: str):
    """The value that a text on the command line stands for: a Python literal, null, true, false, or the text itself.

    >>> parse("1e-3"), parse("[1, 2]"), parse("null"), parse("mnist")
    (0.001, [1, 2], None, 'mnist')
    """
    constants = {"null": None, "none": None, "true": True, "false": False}
    if text.lower() in constants:
        return constants[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError):
        return [parse(part.strip()) for part in text[1:-1].split(",")] if text.startswith("[") and text.endswith("]") else text
