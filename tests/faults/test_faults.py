"""Real faults on a real system: the run that has one is named, the others finish, and what is cured goes on from there."""

import shutil
from pathlib import Path

import pytest
from checkouts import TINY, Checkout, Toy, disk

pytestmark = pytest.mark.slow
REAL = "train_test_collapse"

WALK = """
import os, signal, time
from pathlib import Path

import numpy as np
import pandas as pd

from ncbook.publish.figures import panels
from ncbook.publish.session import open_chapter
from ncbook.runs import sweep


def walk(*, how, seed, rows, device):
    if not Path(os.environ["NCBOOK_ROOT"], "cured").exists():
        if how == "memory":
            np.ones(10**15)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            time.sleep(600)
        if how == "NaN":
            raise FloatingPointError("the loss is nan in epoch 3")
    time.sleep(0.2)
    return pd.DataFrame({"step": range(rows), "value": np.random.default_rng(seed).normal(size=rows).cumsum()})


table = sweep(walk, [{"how": h, "seed": s, "rows": rows} for h in how for s in range(seeds)], timeout=8)
"""
SHOW = """
figure, axes = panels(1, 1)
axes[0][0].plot(table.step, table.value, ".")
open_chapter("toy", globals()).show(figure, "walks", what="Walks.", finding="They are random.", table=table.head())
"""


def toy(root: Path, how: list[str], *, seeds: int, rows: int = 20) -> Toy:
    """A book whose only chapter trains random walks, some of them into a fault."""
    return Toy(root, WALK, SHOW, how=how, seeds=seeds, rows=rows)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    book = toy(tmp_path_factory.mktemp("undisturbed"), ["fine"], seeds=8, rows=2500)
    done = book.ncbook("run")
    assert done.returncode == 0, done.stderr
    return book.tables()


def test_each_fault_is_named_with_its_run_and_the_others_finish(tmp_path):
    book = toy(tmp_path, ["fine", "memory", "killed", "hang", "NaN"], seeds=2)
    done = book.ncbook("run")
    assert done.returncode == 1
    for error in (
        "Unable to allocate",
        "its process was killed by SIGKILL; did the memory run out?",
        "it ran past its time limit of 8 s",
        "the loss is nan in epoch 3",
    ):
        assert error in done.stderr
    for how in ("memory", "killed", "hang", "NaN"):
        for seed in (0, 1):
            assert f"walk(how='{how}', seed={seed}, rows=20)" in done.stderr
    assert "8 of 10 runs failed; the others are kept" in done.stderr
    kept = book.tables()
    assert len(kept) == 2
    assert not list((tmp_path / "book" / "_build").rglob("stamp"))
    (tmp_path / "cured").touch()
    assert book.ncbook("run").returncode == 0
    assert len(book.tables()) == 10 and kept.items() <= book.tables().items()


def test_a_loss_that_is_no_number(tmp_path):
    checkout = Checkout(tmp_path, chapters=[REAL])
    checkout.profile("laptop", **{REAL: {**TINY, "train_size": [50], "loss": ["squared", "cross_entropy"], "learning_rate_squared": 1e6}})
    done = checkout.ncbook("run", "--profile", "laptop")
    assert done.returncode == 1
    assert "6 of 14 runs failed; the others are kept. the loss is " in done.stderr
    assert "a smaller learning rate than 1e+06 may help" in done.stderr
    assert done.stderr.count("learning_rate=1000000.0") == 6 and "Traceback" not in done.stderr
    assert len(list((tmp_path / "data" / "runs").glob("*/*/table.csv"))) == 8


def test_a_full_disk_while_training(tmp_path, undisturbed):
    book = toy(tmp_path, ["fine"], seeds=8, rows=2500)
    with disk(tmp_path / "data", "300k") as remount:
        done = book.ncbook("run")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr and "walk(how='fine', seed=" in done.stderr
        kept = book.tables()
        assert 0 < len(kept) < 8 and kept.items() <= undisturbed.items()
        remount("size=50m")
        assert book.ncbook("run").returncode == 0
        assert book.tables() == undisturbed


@pytest.mark.parametrize("size", ["64k", "400k"])
def test_a_full_disk_while_executing(tmp_path, size):
    book = toy(tmp_path, ["fine"], seeds=2, rows=30_000)
    with disk(tmp_path / "book" / "_build", size) as remount:
        done = book.ncbook("run")
        assert done.returncode == 1 and "No space left on device" in done.stderr, done.stderr
        assert not list((tmp_path / "book" / "_build").rglob("stamp"))
        remount("size=50m")
        assert book.ncbook("run").returncode == 0


def test_a_full_disk_while_rendering_leaves_the_book_that_was(tmp_path):
    book = toy(tmp_path, ["fine"], seeds=2)
    with disk(tmp_path / "book" / "_build", "100m") as remount:
        assert book.ncbook("book").returncode == 0
        site = tmp_path / "book" / "_build" / "html"
        before = {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()}
        (tmp_path / "book" / "intro.md").write_text("# A book\n\nOf one chapter, worded anew.\n")
        used = shutil.disk_usage(tmp_path / "book" / "_build").used
        remount(f"size={used + 200_000}")
        done = book.ncbook("book")
        assert done.returncode != 0 and "No space left on device" in done.stderr, done.stderr
        assert {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()} == before
        remount("size=100m")
        assert book.ncbook("book").returncode == 0
        assert "worded anew" in (site / "intro.html").read_text()


def test_a_folder_that_only_can_be_read(tmp_path, undisturbed):
    book = toy(tmp_path, ["fine"], seeds=8, rows=2500)
    with disk(tmp_path / "data", "50m") as remount:
        assert book.ncbook("run").returncode == 0
        remount("ro")
        shutil.rmtree(tmp_path / "book" / "_build")
        done = book.ncbook("run")
        assert done.returncode == 2 and "Read-only file system" in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert book.tables() == undisturbed
