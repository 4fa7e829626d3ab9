import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHAPTER = "train_test_collapse"
TINY = {"loss": ["squared"], "train_size": [50], "epochs": 8, "measurements": 3, "batch_size": 20, "seeds": 2}


class Checkout:
    """A checkout with one chapter, whose profile `laptop` is over in seconds."""

    def __init__(self, root: Path):
        self.root = root
        shutil.copytree(REPOSITORY / "book", root / "book", ignore=shutil.ignore_patterns("_build", ".ipynb_checkpoints"))
        shutil.copy(REPOSITORY / "_config.yml", root)
        for notebook in (root / "book" / "chapters").glob("*.ipynb"):
            if notebook.stem != CHAPTER:
                notebook.unlink()
        self.profile(**TINY)

    def profile(self, **values) -> None:
        (self.root / "book" / "profiles" / "laptop.yml").write_text(yaml.safe_dump({CHAPTER: values}))

    def ncbook(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Output and errors of a command, which must end with `code`."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NCBOOK_") and k not in ("PROFILE", "SEEDS", "FROM")}
        known = {"NCBOOK_ROOT": str(self.root), "DEVICE": "cpu", "JOBS": "2", "COLUMNS": "250", "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [sys.executable, "-m", "ncbook", *arguments],
            env={**kept, **known, **environment},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        assert done.returncode == code, text
        return text

    @property
    def record(self) -> Path:
        return self.root / "data" / "results" / "laptop" / CHAPTER

    def executed(self, suffix: str) -> dict[str, bytes]:
        """The files of the executed chapter that end so."""
        folder = self.root / "book" / "_build" / "laptop" / CHAPTER
        return {p.name: p.read_bytes() for p in folder.rglob(f"*{suffix}")}


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> Checkout:
    """A checkout whose chapter was run and recorded. Tests leave it as they found it."""
    checkout = Checkout(tmp_path_factory.mktemp("recorded"))
    checkout.ncbook("run", "--profile", "laptop")
    checkout.first = {**checkout.executed(".csv"), **checkout.executed("verdicts.json")}
    checkout.said = checkout.ncbook("record", "--profile", "laptop")
    return checkout


@pytest.fixture
def copy(recorded, tmp_path) -> Checkout:
    """A copy of the recorded checkout, without its cache of runs and without what was built."""
    other = object.__new__(Checkout)
    other.root, other.first = tmp_path / "copy", recorded.first
    shutil.copytree(recorded.root, other.root, ignore=shutil.ignore_patterns("_build", "runs"))
    return other
