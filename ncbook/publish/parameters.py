"""A chapter's parameters: what its notebook declares, what a profile sets, what the command line changes. Imports no torch."""

import ast

from ncbook import chapters
from ncbook.errors import InputError, shown, unknown
from ncbook.publish.notebooks import defaults

MOST = 10**12  # a whole number that is larger counts nothing that a computer has
LONGEST = 10_000  # letters of a value
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def parameters(chapter: str, profile: str = "quick", changes: dict | None = None) -> dict:
    """A chapter's parameters: the notebook's own, then the profile's, then `changes` (values, or texts from the command line).

    A parameter declared as a list is swept: it takes one value or a list. Unknown names and values of the wrong type are `InputError`s.
    """
    if profile not in (known := chapters.profiles(chapter)) and profile != chapters.SHORT:
        raise unknown("profile", profile, known)
    values = defaults(chapter)
    declared = dict(values)
    for source in (chapters.profile(chapter, profile), changes or {}):
        for name, value in source.items():
            if name not in declared:
                raise unknown(f"parameter of {chapter}", name, declared)
            values[name] = _typed(name, value, declared[name])
    return values


def _typed(name: str, value, default):
    """`value` as the type of `default`."""
    if isinstance(value, str) and len(value) > LONGEST:
        raise InputError(f"parameter {name} has a value of {len(value):,} letters; {LONGEST:,} are the most.")
    if isinstance(default, list):
        if isinstance(value, str):
            value = parse(value) if value.startswith("[") else [part.strip() for part in value.split(",")]
        return [_typed(name, v, default[0]) for v in (value if isinstance(value, list) else [value])]
    if default is None:  # an option that is off unless a text or a number turns it on
        return parse(value) if isinstance(value, str) else value
    kind = type(default)
    if isinstance(value, str) and kind is not str:
        value = parse(value)
    if type(value) is int and abs(value) > MOST:
        raise InputError(f"parameter {name} must be {KINDS[kind]}, like {default!r}, and no larger than {MOST:,}.")
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise InputError(f"parameter {name} must be {KINDS[kind]}, like {default!r}, not {shown(value)}.")
    least = 1 if kind is int and default >= 1 else 0  # rates, sizes, counts: no chapter has a parameter that may be negative
    if kind in (int, float) and not least <= value < float("inf"):
        raise InputError(f"parameter {name} must be {KINDS[kind]} of at least {least}, like {default!r}, not {shown(value)}.")
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
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last of a hundred brackets and more
        return [parse(part.strip()) for part in text[1:-1].split(",")] if text.startswith("[") and text.endswith("]") else text
