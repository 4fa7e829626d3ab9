"""The version is in the sources, so that a checkout knows it without being installed."""

import subprocess
import sys
import tomllib

from checkouts import BOOK

import ncbook

HIDDEN = """
import importlib.metadata as metadata
import sys
from pathlib import Path

found = metadata.distribution


def hidden(name):
    if name == "ncbook":
        raise metadata.PackageNotFoundError(name)
    return found(name)


metadata.distribution = hidden
try:
    metadata.version("ncbook")
except metadata.PackageNotFoundError:
    print("hidden")
import pandas as pd

from ncbook import __version__
from ncbook.publish import records
from ncbook.publish.provenance import provenance
from ncbook.runs.plan import Table

run = {"gpu": "A GPU", "seconds": 1.0, "peak_memory_mb": 9, "finished": "2026-01-01T00:00:00Z", "torch": "2.13.0", "python": "3.11.7"}
print(__version__, records.__version__)
print(provenance([Table(pd.DataFrame({"seed": [0]}), [run])], profile="quick", folder=Path(sys.argv[1])))
"""


def test_without_installed_metadata(tmp_path):
    env = {"PYTHONPATH": str(BOOK), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", HIDDEN, str(tmp_path)], env=env, cwd=BOOK, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    hidden, versions, *box = done.stdout.splitlines()
    assert hidden == "hidden" and versions == f"{ncbook.__version__} {ncbook.__version__}"
    assert any("page made by | ncbook" in line for line in box)


def test_the_package_is_built_with_this_version():
    from setuptools.config.pyprojecttoml import read_configuration

    assert f"\nversion: {ncbook.__version__}\n" in (BOOK / "CITATION.cff").read_text()
    declared = tomllib.loads((BOOK / "pyproject.toml").read_text())["project"]
    assert "version" not in declared and "version" in declared["dynamic"]
    assert read_configuration(BOOK / "pyproject.toml")["project"]["version"] == ncbook.__version__


def test_the_release_asks_the_sources_for_the_version():
    """The line of the workflow as it stands there, in this checkout."""
    workflow = (BOOK / ".github/workflows/release.yml").read_text()
    (line,) = [line.strip() for line in workflow.splitlines() if line.strip().startswith("version=$(python ")]
    script = line.replace("$(python ", f"$({sys.executable} ") + '; printf %s "$version"'
    done = subprocess.run(["sh", "-c", script], cwd=BOOK, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ncbook.__version__), done.stderr
