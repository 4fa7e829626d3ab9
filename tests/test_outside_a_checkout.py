"""The package where there is no book around it, as a wheel brings it."""

import shutil
import subprocess
import sys

import pytest
from checkouts import BOOK


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package alone."""
    place = tmp_path_factory.mktemp("site")
    shutil.copytree(BOOK / "ncbook", place / "ncbook", ignore=shutil.ignore_patterns("__pycache__"))
    return place


COMMANDS = ["run", "run wide_networks", "run --dry-run", "book", "train", "record", "verify", "publish", "list", "new chapter of_mine"]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_needs_the_book_says_so_and_leaves_nothing(installed, tmp_path, command):
    done = subprocess.run(
        [sys.executable, "-m", "ncbook", *command.split()],
        env={"PYTHONPATH": str(installed), "PATH": "", "COLUMNS": "200"}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = f"ncbook: {tmp_path} is no checkout of the book; go to one, or set NCBOOK_ROOT to it.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert not list(tmp_path.iterdir())
