"""The front door, wherever the checkout lies."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import BOOK

NAMES = [
    "with spaces",
    "`touch executed`",
    "$(touch executed)",
    "$HOME $$",
    "it's",
    'a "quote"',
    "100% [ac]",
    "naïve-ß-数",
    "#1; touch executed",
]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_a_checkout_in_a_folder_of_any_name(tmp_path, name):
    """What make calls gets the checkout's path letter by letter, and no letter of it is run; so does the path of the interpreter."""
    checkout = tmp_path / name
    checkout.mkdir()
    shutil.copy(BOOK / "Makefile", checkout)
    python = checkout / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$PYTHONPATH" "$@" > said\nexec {sys.executable} -c "" \n')
    python.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"PYTHON": str(python)}
    done = subprocess.run(["make", "figure-a"], cwd=checkout, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (checkout / "said").read_text().splitlines() == [str(checkout), "-m", "ncbook", "run", "a"]
    assert not list(Path(tmp_path).rglob("executed"))


def test_the_path_of_the_data_is_printed_letter_by_letter(tmp_path, monkeypatch, capsys):
    from ncbook.cli.data import data_list

    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path / "a [ac] [/] [red]b"))
    data_list()
    assert "/a [ac] [/] [red]b (another one" in capsys.readouterr().out
