"""Executing notebooks: what never ends, what a kill leaves, and machines that print ASCII or strip docstrings."""

import os
import re
import signal
import tempfile
import time
from pathlib import Path

import pytest
from checkouts import Toy

from ncbook import settings
from ncbook.publish import execute


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Toy:
    book = Toy(
        tmp_path / "a $HOME [ac] `book`",
        "from ncbook.paths import root\nprint(open('root', 'w').write(str(root())))",
        "while endless:\n    pass",
        endless=True,
    )
    for name in ("PROFILE", "SEEDS", "FROM", "NCBOOK_DATA", "NCBOOK_RUNS", "NCBOOK_SESSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in book.env().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    return book


def test_a_cell_that_never_ends_loses_its_chapter_and_leaves_nothing(toy, monkeypatch, capsys):
    monkeypatch.setattr(execute, "TRAINING_CELL", 6)
    requested = execute.prepare(["toy"], "quick", {})
    assert execute.run(requested) == requested
    said = capsys.readouterr().err
    assert "toy failed: CellTimeoutError: A cell timed out while it was being executed, after 6 seconds." in said
    assert "while endless:" in said
    assert (toy.root / "root").read_text() == str(toy.root)
    assert not list((toy.root / "book/_build").glob("[!.]*/*")) and not list(Path(tempfile.gettempdir()).iterdir())


def test_a_cell_that_shows_more_than_a_page_can_loses_its_chapter(toy):
    toy.chapter("toy", "print('a line')", endless=True)
    toy.chapter("printed", "print('x' * 11_000_000)", endless=True)
    toy.chapter("endless", "while endless:\n    print('x' * 10_000)", endless=True)
    toy.chapter("shown", "'x' * 11_000_000", endless=True)
    done = toy.ncbook("run", JOBS="2", TMPDIR=tempfile.gettempdir())
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    for name in ("printed", "endless"):
        assert f"{name} failed: its cells print more than 10,000,000 letters, which no page can show; print less.\n" in done.stderr
    assert re.search(
        "shown failed: its outputs have 11,000,... letters, 11,000,... of them in cell 3, and a page can show 10,000,000; ", done.stderr
    )
    assert [path.name for path in (toy.root / "book/_build/quick").iterdir()] == ["toy"]
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_nothing_of_the_readers_home_changes_a_notebook(toy, tmp_path):
    toy.chapter("toy", "import matplotlib\nprint(matplotlib.rcParams['lines.linewidth'], 'started' in globals())", endless=True)
    styles, starts = (".config/matplotlib/matplotlibrc", "mine/rc"), (".ipython/profile_default/startup/mine.py", "mine/start.py")
    for name in (*styles, *starts):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("lines.linewidth: 77" if name in styles else "started = 1")
    theirs = {"MATPLOTLIBRC": str(tmp_path / "mine/rc"), "PYTHONSTARTUP": str(tmp_path / "mine/start.py")}
    done = toy.ncbook("run", HOME=str(tmp_path), TMPDIR=tempfile.gettempdir(), **theirs)
    assert done.returncode == 0, done.stderr
    assert "1.5 False" in (toy.root / "book/_build/quick/toy/toy.ipynb").read_text()
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_what_a_kill_left_is_removed_by_the_next_run(toy, monkeypatch):
    """As `_execute` has it, stopped before its end."""
    left = []

    def killed(*_, cwd, **__):
        left.extend([*(toy.root / "book/_build/quick").iterdir(), *Path(tempfile.gettempdir()).iterdir()])
        raise SystemExit  # and none of what would clean up after it is done

    monkeypatch.setattr("papermill.execute_notebook", killed)
    with monkeypatch.context() as patch:
        patch.setattr(execute.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            execute._execute(*execute.prepare(["toy"], "quick", {}))
    assert len(left) == 2 and all(path.is_dir() for path in left)
    (others := Path(tempfile.gettempdir(), "ncbofothers")).mkdir()
    (toy.root / "book/_build/quick/.toy-ncb-").mkdir()  # of somebody's own: its name says no folder
    execute.run([])
    assert (toy.root / "book/_build/quick/.toy-ncb-").is_dir()
    assert [path for path in left if path.exists()] == [] and others.is_dir()


MACHINES = [{"PYTHONOPTIMIZE": "2"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "HOME": ""}]


@pytest.mark.parametrize("machine", MACHINES, ids=str)
@pytest.mark.parametrize("command", ["--help", "list", "data list"])
def test_commands_on_a_bare_machine(toy, machine, command):
    done = toy.ncbook(*command.split(), **machine)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() or "ascii" not in machine.values()
    assert ("A toy" in done.stdout) == (command == "list")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_that_the_kernels_do_not_get_ends_them_and_leaves_nothing(toy, number):
    listens = signal.signal(number, signal.SIG_DFL)  # a test run in the background, or under nohup, was told to ignore it
    with settings.within({"TMPDIR": tempfile.gettempdir()}):
        build = toy.start("run")
    signal.signal(number, listens)
    kernel = None
    try:
        for _ in range(600):
            time.sleep(0.1)
            if kernel := next(iter(Path(tempfile.gettempdir()).glob("ncb*/k-1")), None):
                break
        assert kernel, "no kernel started within a minute"
        time.sleep(2)  # into the cell that never ends
        os.kill(build.pid, number)
        _, said = build.communicate(timeout=30)
    finally:
        build.kill()  # where it lives on, which a failure is, it would take a core from all tests that follow
    assert build.returncode != 0 and b"toy failed: DeadKernelError" in said, said
    assert not list(Path(tempfile.gettempdir()).iterdir()) and not list((toy.root / "book/_build").glob("[!.]*/*"))


@pytest.mark.parametrize("command", ["book", "publish"])
def test_a_path_in_which_jupyter_book_finds_no_page_is_one_sentence_before_anything_is_trained(toy, command):
    done = toy.ncbook(command)
    assert done.returncode == 2 and "Jupyter Book finds no page in a folder with [ or ] in its path; rename or move " in done.stderr
    assert done.stderr.count("\n") == 1 and not (toy.root / "book/_build").exists()
