"""A new chapter from the template ``ncbook/chapters/_template``: its folder, its notebook, a line in the table of contents."""

import re
import shutil
from keyword import iskeyword
from pathlib import Path

from ncbook import chapters, paths
from ncbook.errors import InputError

TEMPLATE = Path(chapters.__file__).parent / "_template"


def create(name: str) -> list[Path]:
    """Write the chapter `name`, which passes the contract test and runs as it is; returns its folder, notebook and the table of contents.

    Raises `InputError` for a name that is no module's or that is taken, and outside a checkout. A chapter is there whole or not at all.
    """
    root = paths.checkout()
    folder, notebook, contents = (root / p for p in (f"ncbook/chapters/{name}", f"book/chapters/{name}.ipynb", "book/_toc.yml"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or iskeyword(name):
        raise InputError(f"chapter name {name!r}: use words of small letters and digits joined by single underscores, as in wide_networks.")
    if not contents.is_file() or not folder.parent.is_dir():
        raise InputError(f"{root} lacks {contents.relative_to(root)} or ncbook/chapters; restore them with git.")
    if taken := [path for path in (folder, notebook) if path.exists()]:
        raise InputError(f"there is a chapter {name!r} already: {taken[0]}.")
    listing = _listed(contents.read_text(encoding="utf-8"), name, contents)

    aside, listed = paths.writable(folder.with_name(f"_{name}.new")), contents.with_name(".toc.new")
    try:
        for file in sorted(TEMPLATE.iterdir()):
            if file.is_file():
                (aside / file.name).write_text(_named(file.read_text(encoding="utf-8"), name), encoding="utf-8")
        listed.write_text(listing, encoding="utf-8")
        (aside / "new_chapter.ipynb").rename(notebook)
        aside.rename(folder)
        listed.replace(contents)
    except OSError as error:
        notebook.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"the chapter {name!r} could not be written: {error}.") from error
    finally:
        listed.unlink(missing_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
    return [folder, notebook, contents]


def _named(text: str, name: str) -> str:
    """The template's text with the chapter's name in place of the template's, as a module, in ids and as a title."""
    title = name.replace("_", " ")
    for old, new in {
        "new_chapter": name,
        "new-chapter": name.replace("_", "-"),
        "New chapter": title.capitalize(),
        "new chapter": title,
    }.items():
        text = text.replace(old, new)
    return text


def _listed(contents: str, name: str, path: Path) -> str:
    """The table of contents with the chapter after the last one."""
    lines = contents.splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if re.match(r"\s*- file: chapters/", line)]
    if not places:
        raise InputError(f"{path} lists no chapter after which {name!r} could come.")
    after = lines[places[-1]]
    return "".join([*lines[: places[-1] + 1], after[: after.index("chapters/")] + f"chapters/{name}\n", *lines[places[-1] + 1 :]])
