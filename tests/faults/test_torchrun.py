"""`ncbook train` by two processes of torchrun: the tables of one process, kept once; one that is killed costs the run at work alone."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from checkouts import TINY, Checkout

from ncbook.runs import store

pytestmark = pytest.mark.slow

CHAPTER = "train_test_collapse"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "ncbook"]


def begin(checkout: Checkout, *arguments: str) -> subprocess.Popen:
    environment = {**checkout.env(), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TORCHRUN, *arguments], cwd=checkout.root, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def finish(checkout: Checkout, *arguments: str) -> tuple[int, str, str]:
    process = begin(checkout, *arguments)
    printed, said = process.communicate(timeout=300)
    return process.returncode, printed, said


def finished(checkout: Checkout) -> dict[str, tuple]:
    """Table and ``run.json`` of each finished run, by its key."""
    folders = (path.parent for path in (checkout.root / "data" / "runs").glob("*/[!.]*/table.csv"))
    return {here.name: (store.from_csv((here / "table.csv").read_text()), json.loads((here / "run.json").read_text())) for here in folders}


def test_tables_are_those_of_one_process(tmp_path):
    checkouts = []
    for name in ("one", "two"):
        checkouts.append(Checkout(tmp_path / name, chapters=[CHAPTER]))
        checkouts[-1].profile("laptop", **{CHAPTER: TINY | {"epochs": 4}})
    one, two = checkouts
    alone = one.ncbook("train", "--profile", "laptop")
    assert alone.returncode == 0, alone.stderr
    code, printed, said = finish(two, "train", "--profile", "laptop")
    assert code == 0, said
    wanted, found = finished(one), finished(two)
    assert printed == f"{len(wanted)} of {len(wanted)} runs are finished\n"  # by one of them
    assert wanted.keys() == found.keys()
    for key, (table, info) in wanted.items():
        other, of = found[key]
        assert of["cpu"] == f"2 × {info['cpu']}"
        numbers = table.select_dtypes("number")
        assert table.drop(columns=numbers).equals(other.drop(columns=numbers))
        for column in numbers:  # what is near 0, such as an angle of a simplex, to what float32 tells apart
            np.testing.assert_allclose(other[column], table[column], rtol=1e-4, atol=1e-6, err_msg=f"{info['parameters']} {column}")


def test_a_killed_process_loses_nothing_that_was_finished(tmp_path):
    checkout = Checkout(tmp_path, chapters=[CHAPTER])
    checkout.profile("laptop", **{CHAPTER: TINY | {"epochs": 8, "measurements": 2}})
    process = begin(checkout, "train", "--profile", "laptop")
    while process.poll() is None and not checkout.tables():
        time.sleep(0.01)
    before = checkout.tables()
    (last,) = [p for p in psutil.Process(process.pid).children() if p.environ()["RANK"] == "1"]
    os.kill(last.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "SIGKILL" in said and "rank      : 1" in said  # as torchrun tells it
    after = checkout.tables()
    assert before.items() <= after.items()
    code, printed, said = finish(checkout, "train", "--profile", "laptop")
    assert code == 0 and "runs are finished" in printed, said
    assert after.items() <= checkout.tables().items()


def test_what_processes_cannot_share_is_refused(tmp_path):
    checkout = Checkout(tmp_path, chapters=["shallow_convergence"])
    code, _, said = finish(checkout, "train")
    assert code == 1 and "descent of many networks at once cannot be shared by several processes" in said
    assert "failed: shallow_convergence" in said
    done = checkout.ncbook("run", TORCHELASTIC_RUN_ID="none", RANK="1", LOCAL_RANK="1", WORLD_SIZE="2")  # as torchrun starts each of them
    assert done.returncode == 2 and "torchrun is for `ncbook train`" in done.stderr
    code, _, said = finish(checkout, "train", "--executor", "builtins:list")
    assert code == 1 and "leave one of the two out" in said
