"""Where things are. Papermill and Jupyter start in different folders, so every path comes from here."""

from pathlib import Path
from tempfile import TemporaryFile

from ncbook import settings
from ncbook.errors import InputError


def root() -> Path:
    """The repository: ``NCBOOK_ROOT``, else the nearest folder above this one, or above the package, that holds ``_config.yml``.

    Outside a checkout (``pip install ncbook``, a training machine) it is the current folder, so that runs are cached beside the work.
    """
    if given := settings.current().root:
        path = given.resolve()
        if not path.is_dir():
            raise InputError(f"NCBOOK_ROOT is {str(given)!r}, which is not a folder; unset it or point it at a checkout of ncbook.")
        return path
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "_config.yml").is_file() and (folder / "book").is_dir():
            return folder
    return here


def checkout() -> Path:
    """The repository, where there is one; an `InputError` says how to name it where there is none."""
    here = root()
    if not ((here / "_config.yml").is_file() and (here / "book").is_dir()):
        raise InputError(f"{here} is no checkout of the book; go to one, or set NCBOOK_ROOT to it.")
    return here


def runs() -> Path:
    """The cache of finished runs, one folder a run: ``data/runs``, or ``NCBOOK_RUNS`` (a clean place to verify in)."""
    return given.resolve() if (given := settings.current().runs) else root() / "data" / "runs"


def results() -> Path:
    """The records of all profiles and chapters."""
    return root() / "data" / "results"


def record(profile: str, chapter: str) -> Path:
    """The record of a chapter under a profile, whether or not there is one."""
    return results() / profile / chapter


def chapters() -> Path:
    """The folder that holds a folder a chapter: the checkout's, or the package's outside a checkout."""
    here = root() / "ncbook" / "chapters"
    return here if here.is_dir() else Path(__file__).resolve().parent / "chapters"


def build() -> Path:
    """Everything that a build makes: executed notebooks, the staged book, the HTML."""
    return root() / "book" / "_build"


def writable(folder: Path) -> Path:
    """`folder`, made if need be; an `InputError` where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()  # it has no name, so that a kill leaves nothing
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror or error}); make it writable, or set NCBOOK_ROOT to a checkout that is."
        ) from error
    return folder
