"""Real processes, killed at random moments: no finished run is lost, no table differs, and the same command ends what was begun."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = "train_test_collapse"
TINY = {"loss": ["squared"], "train_size": [50], "epochs": 8, "measurements": 3, "batch_size": 20, "seeds": 4}
TOY = {
    "parameters": "seeds = 6\n",
    "experiment": (
        "import time\n\nimport numpy as np\nimport pandas as pd\n\nfrom ncbook.figures import panels, show\nfrom ncbook.sweeps import sweep\n\n\n"
        "def walk(*, seed, device):\n    time.sleep(0.15)\n    return pd.DataFrame({'step': range(20), 'value': np.random.default_rng(seed).normal(size=20).cumsum()})\n\n\n"
        "table = sweep(walk, [{'seed': s} for s in range(seeds)])\n"
    ),
    "figure": (
        "figure, axes = panels(1, 1)\naxes[0][0].plot(table.step, table.value, '.')\n"
        "show(figure, 'walks', caption='Walks.', alt='Random walks.', table=table)\n"
    ),
}


class Book:
    """A book of one chapter: a toy that trains in its notebook, or a real one, which trains before."""

    def __init__(self, root: Path, chapter: str):
        self.root, self.chapter = root, chapter
        (root / "book" / "chapters").mkdir(parents=True)
        shutil.copy(REPOSITORY / "_config.yml", root)
        shutil.copy(REPOSITORY / "book" / "references.bib", root / "book")
        (root / "book" / "profiles").mkdir()
        if chapter == "toy":
            (root / "book" / "claims.yml").write_text("[]\n")
            cells = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A toy\n"}]
            cells += [_code(name, text) for name, text in TOY.items()]
            kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
            text = json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
            (root / "book" / "chapters" / "toy.ipynb").write_text(text)
            (root / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n- file: chapters/toy\n- file: ledger\n")
            (root / "book" / "intro.md").write_text("# A book\n\nOf one chapter.\n")
            (root / "book" / "ledger.md").write_text("# Ledger\n\nNothing is claimed.\n")
            (root / "book" / "profiles" / "laptop.yml").write_text("{}\n")
        else:
            shutil.copy(REPOSITORY / "book" / "claims.yml", root / "book")
            shutil.copy(REPOSITORY / "book" / "chapters" / f"{chapter}.ipynb", root / "book" / "chapters")
            (root / "book" / "profiles" / "laptop.yml").write_text(yaml.safe_dump({chapter: TINY}))

    def start(self, command: str) -> subprocess.Popen:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NCBOOK_") and k not in ("PROFILE", "SEEDS", "FROM")}
        known = {"NCBOOK_ROOT": str(self.root), "DEVICE": "cpu", "JOBS": "2", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "ncbook", command, "--profile", "laptop"],
            env={**kept, **known}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def finish(self, command: str) -> None:
        process = self.start(command)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()

    def runs(self) -> dict[str, bytes]:
        """The tables of finished runs, by their keys."""
        found = (self.root / "data" / "runs").glob("*/[!.]*/table.csv")
        return {path.parent.name: path.read_bytes() for path in found}

    def figures(self) -> dict[str, bytes]:
        """What the executed chapter draws and judges."""
        folder = self.root / "book" / "_build" / "laptop" / self.chapter
        return {path.name: path.read_bytes() for pattern in ("figures/*.csv", "verdicts.json") for path in folder.glob(pattern)}

    def forget(self) -> None:
        for folder in ("data", "book/_build"):
            shutil.rmtree(self.root / folder, ignore_errors=True)


def _code(name: str, text: str) -> dict:
    tags = {"tags": ["parameters"]} if name == "parameters" else {}
    return {"cell_type": "code", "execution_count": None, "id": name, "metadata": tags, "outputs": [], "source": text}


def kill_someone(process: subprocess.Popen, draw: random.Random) -> str:
    """SIGKILL for the command itself or for one of the processes that it started; what was killed."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        victim = draw.choice([psutil.Process(process.pid), *below])
        name = "command" if victim.pid == process.pid else "kernel" if "ipykernel" in " ".join(victim.cmdline()) else "worker"
        os.kill(victim.pid, signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):
        return "nobody"
    if name == "command" and draw.random() < 0.5:  # what it had started goes with it, as with a terminal, or lives on for a moment
        os.killpg(process.pid, signal.SIGKILL)
    return name


def wait_for_a_child(process: subprocess.Popen) -> None:
    while process.poll() is None and not psutil.Process(process.pid).children():
        time.sleep(0.02)


def shoot(book: Book, command: str, rounds: int, longest: float, seed: int, want: dict, figures: dict) -> list[str]:
    """Start the command `rounds` times and kill something at a random moment of each; who was killed. Fails at the first loss."""
    draw, killed = random.Random(seed), []
    for _ in range(rounds):
        before = book.runs()
        process = book.start(command)
        if draw.random() < 0.7:  # the rest falls on its first seconds, when there is nothing to kill but itself
            wait_for_a_child(process)
        try:
            process.wait(draw.uniform(0.0, longest))
            killed.append("nobody")
        except subprocess.TimeoutExpired:
            killed.append(kill_someone(process, draw))
        process.communicate(timeout=300)
        after = book.runs()
        assert all(after.get(key) == table for key, table in before.items()), "a finished run was lost"
        assert all(want[key] == table for key, table in after.items()), "a table differs"
        site = book.root / "book" / "_build" / "html"
        assert not site.exists() or (site / ".stamp").is_file(), "half a book was published"
        if process.returncode == 0:
            assert after == want and book.figures() == figures
            book.forget()
    return killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    """What runs and figures are when nobody interferes, by chapter."""
    found = {}
    for chapter in ("toy", REAL):
        book = Book(tmp_path_factory.mktemp(chapter), chapter)
        book.finish("run")
        found[chapter] = book.runs(), book.figures()
    assert len(found["toy"][0]) == 6 and len(found[REAL][0]) == 4
    return found


def test_kills_while_training_and_executing(tmp_path, undisturbed, capsys):
    wanted = [("toy", "run", 20, 7.0, 1), ("toy", "run", 20, 7.0, 2), (REAL, "run", 4, 12.0, 3)]
    books = [Book(tmp_path / str(number), chapter) for number, (chapter, *_) in enumerate(wanted)]
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(shoot, book, *rest, *undisturbed[chapter]) for book, (chapter, *rest) in zip(books, wanted, strict=True)]
        killed = [name for future in waiting for name in future.result()]
    for book in books:
        book.finish("run")
        assert (book.runs(), book.figures()) == undisturbed[book.chapter]
    counts = {name: killed.count(name) for name in ("command", "kernel", "worker", "nobody")}
    with capsys.disabled():
        print(f"\nkilled while training or executing: {counts}; no finished run lost, no table differs")
    assert len(killed) - counts["nobody"] >= 25 and counts["kernel"] + counts["worker"] >= 5


def test_kills_while_rendering(tmp_path, undisturbed, capsys):
    book = Book(tmp_path, "toy")
    book.finish("run")
    killed = shoot(book, "book", 6, 9.0, 4, *undisturbed["toy"])
    book.finish("book")
    assert "A toy" in (tmp_path / "book" / "_build" / "html" / "chapters" / "toy.html").read_text()
    assert sorted(p.name for p in (tmp_path / "book" / "_build").glob("html*")) == ["html"]
    with capsys.disabled():
        print(f"\nkilled while rendering: {len([k for k in killed if k != 'nobody'])} of {len(killed)}; the book is whole")


def test_two_at_once(tmp_path, undisturbed):
    book = Book(tmp_path, "toy")
    first = book.start("run")
    time.sleep(2.5)
    second = book.start("run")
    errors = [process.communicate(timeout=300)[1].decode() for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), errors
    assert "another ncbook is at work in this checkout; waiting for it to finish" in errors[0] + errors[1]
    assert (book.runs(), book.figures()) == undisturbed["toy"]
