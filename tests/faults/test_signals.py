"""Commands that are told to end, or killed, at random moments: nothing is lost, and those that were told leave nothing.

A signal goes to the command alone, as of a batch system, or to its whole group, as of a terminal that is closed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from uuid import uuid4

import psutil
import pytest
from checkouts import Checkout
from filelock import FileLock

pytestmark = pytest.mark.slow
REAL = "train_test_collapse"
TINY = {"loss": ["squared"], "train_size": [50], "epochs": 8, "measurements": 3, "batch_size": 20, "seeds": 2}
TINY |= {"linear_size": 50, "generated_size": 50, "generated_test_size": 50}
ROUNDS = int(os.environ.get("NCBOOK_ROUNDS", "1"))
TOLD = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
# a download that goes on for a while
FETCH = """
import time
from pathlib import Path

from ncbook.torchvision_compat import torchvision
from ncbook import cli


def slowly(aside, **_):
    for part in range(100):
        Path(aside, str(part)).write_bytes(bytes(10_000))
        time.sleep(0.1)


torchvision.datasets.MNIST = slowly
cli.main()
"""


class Shot:
    """A checkout whose commands are shot at: each round starts one, sends it a signal after a while, and looks at what is left."""

    def __init__(self, checkout: Checkout, seed: int):
        self.checkout, self.draw, self.hits, self.mark = checkout, random.Random(seed), [], uuid4().hex
        self.sooner = 1.0
        self.temporary = checkout.root / "temporary"
        self.temporary.mkdir()

    def env(self) -> dict:
        return {**self.checkout.env(), "JOBS": self.draw.choice("12"), "TMPDIR": str(self.temporary), "NCBOOK_SHOT": self.mark}

    def below(self) -> list[psutil.Process]:
        """The processes that a command of this round has started, directly or not, and that are still there."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("NCBOOK_SHOT") == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def litter(self) -> list[str]:
        """What no command should leave in the folder of temporary files, the build and the cache of runs."""
        patterns = ("temporary/*", "book/_build/*/.*-ncb*", "book/_build/html.*", "book/_build/verification/*", "data/runs/*/.*",
                    "data/results/*/.*", "data/datasets/.fetch-*/")  # fmt: skip
        found = (path for pattern in patterns for path in self.checkout.root.glob(pattern))
        # PyTorch makes a folder for its compiler there, one a user, with the first optimiser
        return [str(path) for path in found if not path.name.startswith("torchinductor_")]

    def shoot(self, arguments: list[str], number: signal.Signals, longest: float) -> int:
        """One round; the exit code of the command, which may have been over before: then later signals come sooner."""
        process = subprocess.Popen(
            arguments, env=self.env(), cwd=self.checkout.root, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(self.draw.uniform(0.3, max(0.3, longest * self.sooner)))
            self.sooner *= 0.7
        except subprocess.TimeoutExpired:
            group = self.draw.random() < 0.4
            (os.killpg if group else os.kill)(process.pid, number)
            self.hits.append(number.name)
        process.communicate(timeout=120)
        deadline = time.monotonic() + 30
        while (left := self.below()) and time.monotonic() < deadline:  # those of a command that was killed notice it by themselves
            time.sleep(0.1)
        assert not left, f"{number.name} left {[p.cmdline() for p in left]}"
        lock = FileLock(self.checkout.root / "data" / "runs" / ".lock")
        lock.acquire(timeout=0)
        lock.release()
        if number in TOLD:
            assert not self.litter(), f"{number.name} left {self.litter()}"
        return process.returncode

    def count(self) -> dict[str, int]:
        return {name: self.hits.count(name) for name in sorted(set(self.hits))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Checkout:
    """A checkout whose only chapter was trained, executed and recorded; how many seconds the first of these `took`."""
    checkout = Checkout(tmp_path_factory.mktemp("finished") / "checkout", chapters=[REAL])
    checkout.profile("laptop", **{REAL: TINY})
    checkout.cut(REAL)
    start = time.monotonic()
    for command in ("run", "record"):
        done = checkout.ncbook(command, "--profile", "laptop")
        assert done.returncode == 0, done.stderr
        checkout.took = getattr(checkout, "took", time.monotonic() - start)
        checkout.trained = getattr(checkout, "trained", checkout.tables())  # without the short runs, which `record` adds
    return checkout


# what is deleted before a round, so that the command has something to do, and for how many seconds it works at most
COMMANDS = {
    "run": (["data/runs", "book/_build"], 14),
    "record": (["data/results"], 3),
    "verify": ([], 14),
    "publish": (["book/_build"], 14),
    "import": (["data/runs"], 1),
    "fetch": ([], 5),
}


def arguments(command: str, finished: Checkout) -> list[str]:
    if command == "fetch":
        return [sys.executable, "-c", FETCH, "data", "fetch", "mnist"]
    if command == "import":
        return [sys.executable, "-m", "ncbook", "runs", "import", str(finished.root / "data" / "runs")]
    return [sys.executable, "-m", "ncbook", command, *(["--profile", "laptop"] if command != "publish" else [])]


@pytest.mark.parametrize("command", COMMANDS)
def test_signals(finished, tmp_path, command, told):
    checkout = object.__new__(Checkout)
    checkout.root = tmp_path / "checkout"
    shutil.copytree(finished.root, checkout.root)
    remove, longest = COMMANDS[command]
    longest = min(longest, 0.9 * finished.took)  # where the machine is fast
    shot, tables, results = Shot(checkout, seed=7), checkout.tables(), checkout.contents("data/results")
    for number in [*TOLD, signal.SIGKILL] * ROUNDS:
        for folder in remove:
            shutil.rmtree(checkout.root / folder, ignore_errors=True)
        shot.shoot(arguments(command, finished), number, longest)
        assert checkout.tables().items() <= tables.items()
        if command != "record":
            assert checkout.contents("data/results") == results
    if command != "fetch":
        done = checkout.ncbook(*arguments(command, finished)[3:])
        assert done.returncode == 0, done.stderr
        assert not [path for path in shot.litter() if "temporary" not in path]
    assert finished.trained.items() <= checkout.tables().items() <= tables.items()
    kept = {name: content for name, content in results.items() if not name.endswith("provenance.json")}
    assert {name: content for name, content in checkout.contents("data/results").items() if name in kept} == kept
    told(f"{command}: {shot.count()} of {4 * ROUNDS} rounds hit; nothing lost, no orphan, no lock")
    assert len(shot.hits) >= ROUNDS
