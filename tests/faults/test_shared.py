"""Two checkouts that share their data sets, and perhaps their finished runs: commands at once, and kills, of real processes."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkouts import Checkout
from PIL import Image

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("NCBOOK_ROUNDS", "1"))
REAL = "train_test_collapse"
TINY = {"dataset": ["folder:pictures"], "model": ["mlp"], "loss": ["squared"], "train_size": [50], "epochs": 8, "measurements": 3}
TINY |= {"batch_size": 20, "seeds": 2, "learning_rate_squared": 0.1, "linear_size": 50, "generated_size": 50, "generated_test_size": 50}
# a download that takes a second, of files that stand for the published ones
FETCH = """
import hashlib, shutil, sys, time
from dataclasses import replace
from pathlib import Path

from ncbook.data import presets
from ncbook.torchvision_compat import torchvision
from ncbook import cli

source = Path(sys.argv.pop(1))
paths = sorted(path for path in source.rglob("*") if path.is_file())


def slowly(aside, **_):
    for path in paths:
        time.sleep(0.3)
        (target := Path(aside, path.relative_to(source))).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


digest = lambda path: hashlib.md5(path.read_bytes()).hexdigest()
files = tuple(presets.DataFile(str(path.relative_to(source)), path.stat().st_size, digest(path)) for path in paths)
presets.PRESETS = {**presets.PRESETS, "mnist": replace(presets.PRESETS["mnist"], files=files)}
torchvision.datasets.MNIST = slowly
cli.main()
"""


class Sharing(Checkout):
    """A checkout with one chapter, whose images, and runs if `shared` says so, lie beside it."""

    def __init__(self, root: Path, *, shared: bool = False):
        super().__init__(root, chapters=[REAL])
        self.profile("laptop", **{REAL: TINY})
        self.runs = root.parent / "runs" if shared else root / "data" / "runs"

    def env(self) -> dict:
        return {**super().env(), "NCBOOK_DATA": str(self.root.parent / "datasets"), "NCBOOK_RUNS": str(self.runs)}

    def tables(self) -> dict[str, bytes]:
        return {path.parent.name: path.read_bytes() for path in self.runs.glob("*/[!.]*/table.csv")}


def pictures(place: Path) -> None:
    """Twelve images of each of five classes in either split: noise, brighter from class to class."""
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for brightness, label in enumerate("abcde"):
            (folder := place / split / label).mkdir(parents=True)
            for number in range(12):
                Image.fromarray(draw.integers(0, 100, (12, 12), dtype=np.uint8) + 30 * brightness).save(folder / f"{number}.png")


def race(start, longest: float, draw: random.Random) -> tuple[int, bool]:
    """Start two commands at once and kill one of them, with all that it started, after a random time: which one, and whether it was killed.
    The other ends as if nothing had happened."""
    pair = [start(0), start(1)]
    victim = draw.randrange(2)
    killed = False
    try:
        pair[victim].wait(draw.uniform(0.5, longest))
    except subprocess.TimeoutExpired:
        os.killpg(pair[victim].pid, signal.SIGKILL)
        killed = True
    said = [process.communicate(timeout=300)[1].decode() for process in pair]
    assert pair[1 - victim].returncode == 0, said[1 - victim]
    return victim, killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("undisturbed")
    pictures(place / "datasets" / "pictures")
    checkout = Sharing(place / "one")
    done = checkout.ncbook("train", "--profile", "laptop")
    assert done.returncode == 0, done.stderr
    return checkout.tables()


@pytest.mark.parametrize("shared", [False, True], ids=["data", "data and runs"])
def test_two_checkouts_train_from_one_folder_of_images(tmp_path, undisturbed, shared, told):
    pictures(tmp_path / "datasets" / "pictures")
    pair, draw, killed = [Sharing(tmp_path / name, shared=shared) for name in ("one", "two")], random.Random(5), 0
    for _ in range(ROUNDS):
        for checkout in pair:
            for table in checkout.runs.glob("*/*/table.csv"):
                table.unlink()
        victim, hit = race(lambda number: pair[number].start("train", "--profile", "laptop"), 8, draw)
        done = pair[victim].ncbook("train", "--profile", "laptop")
        assert done.returncode == 0, done.stderr
        for checkout in pair:
            assert checkout.tables() == undisturbed
            assert not list(checkout.runs.glob("*/.*-*"))
        killed += hit
    (known,) = json.loads((tmp_path / "datasets" / ".fingerprints.json").read_text()).values()
    assert len(known) == 2
    assert sorted(path.name for path in (tmp_path / "datasets").iterdir()) == [".fingerprints.json", "pictures"]
    told(f"two checkouts on one folder of images{' and one of runs' if shared else ''}: {killed} of {ROUNDS} killed; all tables the same")


def test_two_checkouts_fetch_one_set(tmp_path, told):
    source, data, draw, killed = tmp_path / "source", tmp_path / "datasets", random.Random(6), 0
    for number in range(4):
        (file := source / "MNIST" / "raw" / str(number)).parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number]) * 10_000)
    pair = [Sharing(tmp_path / name) for name in ("one", "two")]

    def fetch(number: int) -> subprocess.Popen:
        command = [sys.executable, "-c", FETCH, str(source), "data", "fetch", "mnist"]
        return subprocess.Popen(command, env=pair[number].env(), cwd=pair[number].root, start_new_session=True, stderr=subprocess.PIPE)

    whole = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    for _ in range(2 * ROUNDS):
        for path in data.rglob("MNIST/raw/*"):
            path.unlink() if draw.random() < 0.6 else path.write_bytes(b"half")
        killed += race(fetch, 8, draw)[1]
        assert {path.relative_to(data): path.read_bytes() for path in data.rglob("MNIST/raw/*")} == whole
        assert sorted(path.name for path in data.iterdir()) == [".fetch.lock", "MNIST"]
    told(f"two checkouts that fetch one set: {killed} of {2 * ROUNDS} killed; the set is whole")
