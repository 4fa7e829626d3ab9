import re
import shutil
from pathlib import Path

import pytest
from checkouts import Checkout

CHAPTER = "train_test_collapse"
TINY = {"loss": ["squared"], "train_size": [50], "epochs": 8, "measurements": 3, "batch_size": 20, "seeds": 2}
TINY |= {"linear_size": 50, "generated_size": 50, "generated_test_size": 50}


class OneChapter(Checkout):
    """A checkout with one chapter, whose profile `laptop` is over in seconds."""

    def __init__(self, root: Path):
        super().__init__(root, chapters=[CHAPTER])
        self.laptop(**TINY)

    def laptop(self, **values) -> None:
        self.profile("laptop", **{CHAPTER: values})

    def says(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Output and errors of a command, which must end with `code`."""
        done = self.ncbook(*arguments, **environment)  # with one job: to start a second worker takes longer than all the runs
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        assert done.returncode == code, text
        return text

    @property
    def of_laptop(self) -> Path:
        """The record."""
        return self.root / "data" / "results" / "laptop" / CHAPTER


@pytest.fixture(scope="session")
def recorded(tmp_path_factory) -> OneChapter:
    """A checkout whose chapter was run and recorded. Tests leave it as they found it."""
    checkout = OneChapter(tmp_path_factory.mktemp("recorded"))
    checkout.says("run", "--profile", "laptop")
    checkout.first = checkout.drawn("laptop", CHAPTER)
    checkout.said = checkout.says("record", "--profile", "laptop")
    return checkout


@pytest.fixture
def copy(recorded, tmp_path) -> OneChapter:
    """A copy of the recorded checkout, without its cache of runs and without what was built."""
    other = object.__new__(OneChapter)
    other.root, other.first = tmp_path / "copy", recorded.first
    shutil.copytree(recorded.root, other.root, ignore=shutil.ignore_patterns("_build", "runs"))
    return other
