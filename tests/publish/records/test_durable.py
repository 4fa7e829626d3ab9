"""A record is replaced whole: real processes are killed before and after each step of it, and of the recovery."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkouts import BOOK

from ncbook import durable
from ncbook.errors import InputError

# Each case is a process of its own, forked from one that has imported everything: it kills itself before or after its n-th step.
SHOOT = '''
import hashlib, json, os, shutil, signal, sys
from pathlib import Path

from ncbook import paths
from ncbook.cli import app as cli
from ncbook.publish import records

STEPS = ("rename", "replace", "fsync", "mkdir", "rmdir", "unlink", "open")
root = Path(os.environ["NCBOOK_ROOT"])
target = paths.record("laptop", "toy")
texts = {f"table{i}.csv.gz": "a,b\\n1,2\\n" * 50 for i in range(3)}


def write(commit):
    records._put(target, texts, {"chapter": "toy", "commit": commit})


def next_command():
    with cli._alone():
        pass


def seen():
    """What the record holds, after it was checked that nothing lies beside it."""
    assert [p.name for p in target.parent.iterdir()] == (["toy"] if target.exists() else []), list(target.parent.iterdir())
    if not target.exists():
        return None
    known = json.loads((target / "provenance.json").read_text())
    content = {k: v for k, v in known.items() if k != "sha256"}
    assert known["sha256"] == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert sorted(p.name for p in target.iterdir()) == sorted([*texts, "provenance.json"])
    assert all((target / name).read_bytes() == records._packed(text) for name, text in texts.items())
    return known["commit"]


def killed(action, n, after):
    """Whether `action`, in a process of its own, was killed at its n-th step; not when it has fewer."""
    if not (child := os.fork()):
        count = 0

        def step(real):
            def call(*args, **kwargs):
                nonlocal count
                count += 1
                this = count == n
                if this and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                try:
                    return real(*args, **kwargs)
                finally:
                    if this:
                        os.kill(os.getpid(), signal.SIGKILL)

            return call

        for name in STEPS:
            setattr(os, name, step(getattr(os, name)))
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def fresh(begin):
    shutil.rmtree(root / "data", ignore_errors=True)
    if begin:
        write("old")
    target.parent.mkdir(parents=True, exist_ok=True)


found = []
for begin in (True, False):
    for after in (False, True):
        n = 1
        while True:
            fresh(begin)
            if not killed(lambda: write("new"), n, after):
                assert seen() == "new"
                break
            m = 1
            while killed(next_command, m, after):  # and the recovery is killed as well, again and again
                m += 1
            next_command()
            found.append([begin, after, n, m, seen()])
            assert found[-1][-1] in (("old", "new") if begin else (None, "new")), found[-1]
            write("newer")
            assert seen() == "newer"
            n += 1
print(json.dumps(found))
'''


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").touch()
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_a_kill_at_any_step_leaves_the_old_record_or_the_new_one(root):
    env = {k: v for k, v in os.environ.items() if not k.startswith("NCBOOK_")} | {"NCBOOK_ROOT": str(root), "PYTHONPATH": str(BOOK)}
    done = subprocess.run([sys.executable, "-c", SHOOT], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 60
    for begin, after in ((b, a) for b in (True, False) for a in (True, False)):  # the kills met both sides of the exchange
        states = {state for began, when, _, _, state in found if (began, when) == (begin, after)}
        assert states == {"old" if begin else None, "new"}
    assert max(m for _, _, _, m, _ in found) > 5  # and several steps of the recovery


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_error_leaves_the_old_folder_and_nothing_beside_it(tmp_path, monkeypatch):
    target = tmp_path / "profile" / "toy"
    target.parent.mkdir()
    durable.replace(target, {"a": b"1"})
    real, calls = Path.rename, []
    for failing in (1, 2):
        calls.clear()

        def rename(self, to, failing=failing):
            calls.append(self)
            if len(calls) == failing:
                raise OSError(28, "No space left on device")
            return real(self, to)

        monkeypatch.setattr(Path, "rename", rename)
        with pytest.raises(OSError, match="No space left"):
            durable.replace(target, {"a": b"2"})
        monkeypatch.undo()
        assert files(tmp_path) == {"profile/toy/a": b"1"} and [p.name for p in target.parent.iterdir()] == ["toy"]


def test_recovery_touches_nothing_else(tmp_path):
    for name in (".DS_Store", ".hidden", "toy/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = files(tmp_path)
    durable.recover(tmp_path)
    durable.recover(tmp_path / "not there")
    assert files(tmp_path) == before


def test_a_record_that_cannot_be_put_back_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / ".toy.old").mkdir()

    def rename(self, to):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match=r"toy was being replaced .* cannot be put back: rename .*\.toy\.old by hand"):
        durable.recover(tmp_path)
