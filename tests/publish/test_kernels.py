"""Kernels that are forks of one process: what they share, and what becomes of them when it ends."""

import json
import subprocess
import sys

import pytest
from checkouts import Toy

LOOK = """
import json, os, signal, subprocess, sys
import psutil, seaborn
print(json.dumps({
    "parent": os.getppid(),
    "served": "serve()" in " ".join(psutil.Process(os.getppid()).cmdline()),
    "leads": os.getpgid(0) == os.getpid(),
    "left": hasattr(seaborn, "left"),
    "session": os.environ["NCBOOK_SESSION"],
    "read": sys.stdin.read(),
    "failed": subprocess.run(["false"]).returncode,
    "interrupts": signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
}))
seaborn.left = True
"""


@pytest.fixture
def toy(tmp_path) -> Toy:
    book = Toy(tmp_path, LOOK, endless=True)
    book.chapter("other", LOOK, endless=True)
    return book


def looked(book: Toy) -> list[dict]:
    found = []
    for name in ("toy", "other"):
        notebook = json.loads((book.root / f"book/_build/quick/{name}/{name}.ipynb").read_text())
        found.append(json.loads("".join(notebook["cells"][-1]["outputs"][0]["text"])))
    return found


def test_kernels_share_a_parent_and_nothing_else(toy):
    done = toy.ncbook("run")
    assert done.returncode == 0, done.stderr
    one, other = looked(toy)
    assert one["parent"] == other["parent"] and one["session"] != other["session"]
    for kernel in (one, other):
        assert kernel["served"] and kernel["leads"] and kernel["interrupts"] and not kernel["left"]
        assert kernel["read"] == "" and kernel["failed"] == 1  # as in a kernel that Jupyter starts


def test_where_nothing_can_be_forked_jupyter_starts_them(toy):
    elsewhere = "from types import SimpleNamespace as S; from ncbook.publish import kernels; kernels.sys = S(platform='darwin')"
    command = [sys.executable, "-c", f"{elsewhere}; from ncbook.cli import main; main()", "run"]
    done = subprocess.run(command, env=toy.env(), cwd=toy.root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for kernel in looked(toy):
        assert not kernel["served"] and not kernel["left"]


def test_when_their_parent_is_killed_chapters_fail_with_their_reason_and_the_next_command_goes_on(toy):
    toy.chapter("other", "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(100)", endless=True)
    toy.chapter("third", "import time\ntime.sleep(8)", endless=True)
    done = toy.ncbook("run", "other", "third", JOBS="1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for name in ("other", "third"):
        assert f"{name} failed: DeadKernelError" in done.stderr or f"{name} failed: RuntimeError: the process that starts" in done.stderr
    assert toy.ncbook("run", "third").returncode == 0
