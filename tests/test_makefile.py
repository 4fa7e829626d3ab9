"""The front door, wherever the checkout lies."""

import os
import re
import shutil
import subprocess
import sys
import time
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


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_environment_is_installed_anew_when_a_lock_has_changed_whatever_its_date(tmp_path):
    """A lock that was copied, or edited after the clock was set back, is older than the environment that was made from the one before."""
    shutil.copy(BOOK / "Makefile", tmp_path)
    for name in ("requirements.lock", "requirements-torch.lock", "requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).write_text("torch==1\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("pip", "python"):
        (tmp_path / ".venv" / "bin" / name).write_text('#!/bin/sh\necho "$@" >> said\n')
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "TORCH", "MAKEFLAGS", "MAKELEVEL")}

    def installs(target: str) -> list[str]:
        (tmp_path / "said").write_text("")
        done = subprocess.run(["make", target], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return re.findall(r"^-m pip .* install .*-r (\S+)$", (tmp_path / "said").read_text(), re.MULTILINE)

    whole = ["requirements.lock", "requirements-torch.lock"]
    assert installs("book") == whole and installs("environment") == []
    assert installs("style") == ["requirements-dev.lock"] and installs("style") == []
    for days in (-365, 365):
        for path in tmp_path.iterdir():
            os.utime(path, (time.time() + days * 86_400,) * 2)
        assert installs("book") == installs("style") == []
    (tmp_path / "requirements.lock").write_text("torch==2\n")
    os.utime(tmp_path / "requirements.lock", (1e9, 1e9))
    assert installs("style") == [*whole, "requirements-dev.lock"] and installs("style") == installs("book") == []
    (tmp_path / "requirements-dev.lock").write_text("ruff==2\n")
    os.utime(tmp_path / "requirements-dev.lock", (1e9, 1e9))
    assert installs("book") == [] and installs("style") == ["requirements-dev.lock"]


def test_the_path_of_the_data_is_printed_letter_by_letter(tmp_path, monkeypatch, capsys):
    from ncbook.cli.data import data_list

    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path / "a [ac] [/] [red]b"))
    data_list()
    assert "/a [ac] [/] [red]b (another one" in capsys.readouterr().out
