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
from checkouts import Checkout, Toy

from ncbook.chapters.train_test_collapse.experiment import grid
from ncbook.publish.parameters import parameters as parameters_of

pytestmark = pytest.mark.slow

REAL = "train_test_collapse"
TINY = {"loss": ["squared"], "train_size": [50], "epochs": 8, "measurements": 3, "batch_size": 20, "seeds": 4}
TINY |= {"linear_size": 50, "generated_size": 50, "generated_test_size": 50}
WALK = """
import time

import numpy as np
import pandas as pd

from ncbook.publish.figures import panels
from ncbook.publish.session import open_chapter
from ncbook.runs import sweep


def walk(*, seed, device):
    time.sleep(0.15)
    return pd.DataFrame({"step": range(20), "value": np.random.default_rng(seed).normal(size=20).cumsum()})


table = sweep(walk, [{"seed": s} for s in range(seeds)])
"""
SHOW = """
figure, axes = panels(1, 1)
axes[0][0].plot(table.step, table.value, ".")
open_chapter("toy", globals()).show(figure, "walks", what="Walks.", finding="They are random.", table=table)
"""


class Book:
    """A book of one chapter: a toy that trains in its notebook, or a real one, which trains before."""

    def __init__(self, root: Path, chapter: str, jobs: int = 2):
        self.root, self.chapter, self.jobs = root, chapter, str(jobs)
        if chapter == "toy":
            self.checkout, self.profile = Toy(root, WALK, SHOW, seeds=6), "quick"
        else:
            self.checkout, self.profile = Checkout(root, chapters=[chapter]), "laptop"
            self.checkout.profile("laptop", **{chapter: TINY})
            self.checkout.cut(chapter)

    def start(self, command: str) -> subprocess.Popen:
        return self.checkout.start(command, "--profile", self.profile, "--jobs", self.jobs)

    def finish(self, command: str) -> None:
        done = self.checkout.ncbook(command, "--profile", self.profile, "--jobs", self.jobs)
        assert done.returncode == 0, done.stderr

    def runs(self) -> dict[str, bytes]:
        return self.checkout.tables()

    def figures(self) -> dict[str, bytes]:
        return self.checkout.drawn(self.profile, self.chapter)

    def forget(self) -> None:
        for folder in (self.root / "data", *(self.root / "book" / "_build").glob("*/")):
            if folder.name != ".home":  # the fonts that there are
                shutil.rmtree(folder)


def kill_someone(process: subprocess.Popen, draw: random.Random) -> str:
    """SIGKILL for the command itself or for one of the processes that it started; what was killed."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        victim = draw.choice([psutil.Process(process.pid), *below])
        name = "command" if victim.pid == process.pid else "kernel" if "ncbook.publish.kernels" in " ".join(victim.cmdline()) else "worker"
        os.kill(victim.pid, signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):
        return "nobody"
    if name == "command" and draw.random() < 0.5:  # what it had started goes with it, as with a terminal, or lives on for a moment
        os.killpg(process.pid, signal.SIGKILL)
    return name


def wait_for_a_child(process: subprocess.Popen) -> None:
    while process.poll() is None and not psutil.Process(process.pid).children():
        time.sleep(0.02)


def shoot(book: Book, command: str, rounds: int, longest: float, seed: int, want: dict, figures: dict, took: float) -> list[str]:
    """Start the command until `rounds` of them were hit, each at a random moment; who was killed. Fails at the first loss.

    The moment is within `longest` seconds and within what it `took` undisturbed. A command that was over before counts as nobody, and later
    moments come sooner.
    """
    draw, killed, longest = random.Random(seed), [], min(longest, 0.8 * took)
    while len(killed) - killed.count("nobody") < rounds and len(killed) < 2 * rounds:
        before = book.runs()
        process = book.start(command)
        if draw.random() < 0.7:  # the rest falls on its first seconds, when there is nothing to kill but itself
            wait_for_a_child(process)
        try:
            process.wait(draw.uniform(0.0, longest))
            killed.append("nobody")
            longest *= 0.7
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
    """What runs and figures are when nobody interferes, by chapter, and how many seconds it took."""
    found = {}
    for chapter in ("toy", REAL):
        book, start = Book(tmp_path_factory.mktemp(chapter), chapter, jobs=1), time.monotonic()
        book.finish("run")
        found[chapter] = book.runs(), book.figures(), time.monotonic() - start
    assert len(found["toy"][0]) == 6 and len(found[REAL][0]) == 16  # with the controls
    return found


def test_kills_while_training_and_executing(tmp_path, undisturbed, told):
    # with one worker and with two: to start one takes seconds
    wanted = [("toy", 1, "run", 18, 6.0, 1), ("toy", 2, "run", 18, 6.0, 2), (REAL, 2, "run", 5, 12.0, 3)]
    books = [Book(tmp_path / str(number), chapter, jobs) for number, (chapter, jobs, *_) in enumerate(wanted)]
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(shoot, book, *rest, *undisturbed[book.chapter]) for book, (_, _, *rest) in zip(books, wanted, strict=True)]
        killed = [name for future in waiting for name in future.result()]
    for book in books:
        book.finish("run")
        assert (book.runs(), book.figures()) == undisturbed[book.chapter][:2]
    counts = {name: killed.count(name) for name in ("command", "kernel", "worker", "nobody")}
    told(f"killed while training or executing: {counts}; no finished run lost, no table differs")
    real = len(waiting[-1].result()) - waiting[-1].result().count("nobody")
    assert len(killed) - counts["nobody"] >= 40 and real >= 3 and counts["kernel"] + counts["worker"] >= 5


def test_kills_while_rendering(tmp_path, undisturbed, told):
    book = Book(tmp_path, "toy")
    book.finish("run")
    killed = shoot(book, "book", 6, 9.0, 4, *undisturbed["toy"])
    book.finish("book")
    assert "A toy" in (tmp_path / "book" / "_build" / "html" / "chapters" / "toy.html").read_text()
    assert sorted(p.name for p in (tmp_path / "book" / "_build").glob("html*")) == ["html"]
    count = len(killed) - killed.count("nobody")
    told(f"killed while rendering: {count} of {len(killed)}; the book is whole")
    assert count >= 3


def test_two_at_once(tmp_path, undisturbed):
    book = Book(tmp_path, "toy")
    first = book.start("run")
    wait_for_a_child(first)  # it is at work by then
    second = book.start("run")
    errors = [process.communicate(timeout=300)[1].decode() for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), errors
    assert "another ncbook is at work in this checkout; waiting for it to finish" in errors[0] + errors[1]
    assert (book.runs(), book.figures()) == undisturbed["toy"][:2]


LONG = """
import json, sys

from ncbook.chapters.train_test_collapse.experiment import experiment
from ncbook.runs import Run, finish

if __name__ == "__main__":
    finish([Run(experiment, json.loads(sys.argv[1]), "cpu", seconds=float(sys.argv[2]))], jobs=1)
"""


def test_a_long_run_that_is_killed_goes_on_from_its_checkpoint(tmp_path):
    (tmp_path / "long.py").write_text(LONG)
    settings = {"loss": ["squared"], "train_size": [100], "epochs": 500, "measurements": 12, "seeds": 1}
    (parameters,) = grid(**{**parameters_of(REAL), **settings})

    def start(name: str, seconds: float) -> subprocess.Popen:
        env = {**os.environ, "NCBOOK_RUNS": str(tmp_path / name), "DEVICE": "cpu"}
        command = [sys.executable, str(tmp_path / "long.py"), json.dumps(parameters), str(seconds)]
        return subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, start_new_session=True)

    assert start("undisturbed", 1.0).wait(300) == 0
    assert not (tmp_path / "undisturbed" / ".checkpoints").exists()  # a short run keeps none
    process, below = start("killed", 1e4), tmp_path / "killed" / ".checkpoints"
    while process.poll() is None and len(list(below.rglob("epoch-*.pt"))) < 6:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and list(below.rglob("latest.pt"))
    assert not list((tmp_path / "killed").glob("[!.]*/*/table.csv"))
    assert start("killed", 1e4).wait(300) == 0
    assert not list(below.rglob("*.pt"))  # nothing of it is left
    (whole,), (resumed,) = ([p.read_bytes() for p in (tmp_path / n).glob("[!.]*/*/table.csv")] for n in ("undisturbed", "killed"))
    assert whole == resumed
