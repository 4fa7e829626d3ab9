"""One folder a chapter, and what the others ask of them: their claims and their profiles. Imports no torch.

- ``experiment.py``: functions ``experiment(**parameters, device)`` that return a tidy table of one run; ``grid(**chapter_parameters)`` says
  which to run (see `ncbook.runs.grid.expand`); ``TABLES`` names the tables; ``UNDEFINED``, where it is there, the columns (or patterns of
  them) that runs may lack.
- ``quantities.py``: functions from one seed's rows of a table to the number that a claim is about.
- ``claims.yml``: the claims, written before they are tested (see `ncbook.claims.entries`).
- ``profiles.yml``: the parameters of each profile but ``quick``, which are those of the notebook. First the ``short`` runs of verification,
  so short that rounding cannot grow (`ncbook.publish.verify`); then the smallest profile: ``laptop``, real
  images at a size that two CPU cores finish in about ten minutes (it needs `ncbook data fetch mnist fashion_mnist cifar10`); ``paper``, the
  main grid, for one GPU; ``paper-full``, more data sets and settings and all training images, for days on one GPU.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import yaml

from ncbook import paths
from ncbook.claims.entries import LOADER, read
from ncbook.errors import InputError

PROFILE = re.compile("[a-z][a-z0-9-]*")
DEEPEST = 1000  # lists in lists in a file
SHORT = "short"  # runs for verification, not a profile of the book


def experiment(chapter: str) -> ModuleType:
    """The module ``experiment.py`` of a chapter."""
    return import_module(f"{__name__}.{chapter}.experiment")


def claims(chapter: str | None = None) -> list:
    """The claims of all chapters, or of one, each a `ncbook.claims.registry.Claim`; what is wrong with an entry is an `InputError`."""
    from ncbook.claims import registry  # imports pandas, which whoever asks for entries or profiles does not need

    listed = registry.load(entries(), module=f"{__name__}.{{chapter}}.quantities")
    return [claim for claim in listed if chapter in (None, claim.chapter)]


def entries(chapter: str | None = None) -> list[dict]:
    """The claims of all chapters, or of one, as they stand in ``claims.yml``; none for a chapter without that file."""
    listed = []
    for path in sorted(paths.chapters().glob(f"{chapter or '[!_]*'}/claims.yml")):
        of_chapter = _read(path, read)
        for entry in of_chapter:
            if entry.get("chapter") != path.parent.name:
                raise InputError(
                    f"{path}: claim {entry.get('id')} is of the chapter {entry.get('chapter')!r}; it lies in the folder of another."
                )
        listed += of_chapter
    return listed


def profiles(chapter: str | None = None) -> list[str]:
    """All profiles, the smallest first: ``quick``, and those of the files, in the order that they have there.

    Asked for a chapter, its own file has to be whole; one of another chapter that cannot be read is left out.
    """
    order = TopologicalSorter()
    for path in sorted(paths.chapters().glob("[!_]*/profiles.yml")):
        try:
            names = [name for name in _profiles(path) if name != SHORT]
        except InputError:
            if chapter in (None, path.parent.name):
                raise
            continue
        for name in names:
            order.add(name)
        for smaller, larger in pairwise(names):
            order.add(larger, smaller)
    try:
        return ["quick", *order.static_order()]
    except CycleError as error:
        raise InputError(f"the files profiles.yml do not agree which of {', '.join(sorted(set(error.args[1])))} is larger.") from None


def profile(chapter: str, name: str) -> dict:
    """The parameters that a profile sets for a chapter; none where its ``profiles.yml`` lacks it, or is not there."""
    path = paths.chapters() / chapter / "profiles.yml"
    return (_profiles(path).get(name) or {}) if path.exists() else {}


def _profiles(path: Path) -> dict[str, dict]:
    given = read_yaml(path) or {}
    if not isinstance(given, dict) or not all(isinstance(k, str) and isinstance(v, dict | None) for k, v in given.items()):
        raise InputError(f"{path} must hold, for each profile, its parameters as `name: value`.")
    if wrong := [name for name in given if not PROFILE.fullmatch(name)]:  # it becomes a folder's name
        raise InputError(f"{path}: a profile is called by small letters, digits and hyphens, not {wrong[0]!r}.")
    return given


def read_yaml(path: Path) -> object:
    """What a YAML file says; an `InputError` where it cannot be read."""
    return _read(path, _load)


def _load(path: Path) -> object:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)


def _read(path: Path, reader: Callable):
    """What a reader makes of a file; an `InputError` for whatever is no YAML: a folder, letters that are not UTF-8, endless brackets."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, a device never ends
            raise InputError(f"{path} is not readable YAML: it is no ordinary file")
        return deepcopy(_parsed(path, reader, path.read_text(encoding="utf-8")))
    except InputError:
        raise
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path} is not readable YAML: {why}") from error


@lru_cache(maxsize=256)
def _parsed(path: Path, reader: Callable, text: str):
    """What a reader makes of a file that holds `text`: a build asks for the same files hundreds of times."""
    _check_depth(text)
    return reader(path)


def _check_depth(text: str) -> None:
    """A YAMLError for lists nested so deep that the C library, which calls itself for each, would end the process."""
    if sum(map(text.count, "[{-?")) < DEEPEST:
        return
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} deep")
