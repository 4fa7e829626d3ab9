"""The command line from a fresh checkout to executed chapters: the real one at tiny scale beside toys that work, fail and die."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from checkouts import TINY
from filelock import FileLock

from ncbook import cli
from ncbook.chapters import claims as claims_of
from ncbook.publish import execute
from ncbook.runs import finish

REAL = "train_test_collapse"


# --- what a user types wrong ----------------------------------------------------------------------------------------------------------


def typed(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command line, called in this process."""
    monkeypatch.setattr(sys, "argv", ["ncbook", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_an_unwritable_data_folder(here, monkeypatch, capsys):
    (here.root / "data").write_text("in the way")
    before = here.contents()
    code, _, err = typed(monkeypatch, capsys, "run", REAL)
    assert code == 2
    assert re.fullmatch(
        r"ncbook: cannot write to .*/data/runs \([^)]*\); make it writable, or set NCBOOK_ROOT to a checkout that is\.\n", err
    )
    assert here.contents() == before


def test_a_truncated_image(here, monkeypatch, capsys):
    from PIL import Image

    top = here.root / "pictures"
    for split in ("train", "test"):
        for label in ("cats", "dogs"):
            (top / split / label).mkdir(parents=True)
            for i in range(6):
                Image.effect_noise((16, 16), 50 + i).save(top / split / label / f"{i}.png")
    broken = top / "test" / "dogs" / "3.png"
    broken.write_bytes(broken.read_bytes()[:100])
    before = here.contents("pictures")
    code, _, err = typed(
        monkeypatch,
        capsys,
        "run",
        REAL,
        "-p",
        f"dataset=folder:{top}",
        "-p",
        "train_size=10",
        "-p",
        "loss=squared",
        "-p",
        "seeds=2",
        "-p",
        "epochs=4",
    )
    assert code != 0
    assert err.count(str(broken)) == 1  # one sentence for both seeds
    assert "Traceback" not in err
    assert "training failed: 2 of 8 runs failed" in err  # the controls have data of their own
    assert here.contents("pictures") == before
    assert not list((here.root / "book").rglob("stamp"))


def test_the_module_and_its_exit_code(checkout):
    done = checkout.ncbook("run", REAL, "-p", "bogus=1")
    assert done.returncode == 2
    assert done.stderr.startswith("ncbook: unknown parameter of train_test_collapse 'bogus'")
    assert done.stderr.count("\n") == 1


# --- from nothing to executed chapters ------------------------------------------------------------------------------------------------

WORKS = (
    "import os, pathlib\nfrom ncbook import settings\n"
    "note = pathlib.Path(settings.session()['output']) / 'note.txt'\nnote.write_text(f'{seeds} seeds, {os.getpid()}')"
)


@pytest.fixture(scope="module")
def built(lasting_checkout):
    """A checkout in which all chapters were asked for, and one of them failed."""
    book = lasting_checkout
    book.chapter("toy_fails", WORKS, "secret = 'the sky'\nif fail:\n    raise ValueError(secret + ' fell')", seeds=5, fail=False)
    book.chapter("toy_works", WORKS, seeds=5)
    for notebook in (book.root / "book" / "chapters").glob("*.ipynb"):
        if notebook.stem != REAL and not notebook.stem.startswith("toy"):
            notebook.unlink()  # one real chapter says it all, and the others would run at full length
    book.profile("tiny", **{REAL: TINY, "toy_fails": {"fail": True}})
    book.first = book.ncbook("run", "--profile", "tiny")
    return book


@pytest.fixture
def folder(built) -> Path:
    return built.root / "book" / "_build" / "tiny"


def test_a_notebook_that_fails_is_shown_and_the_others_finish(built, folder):
    assert built.first.returncode == 1
    errors = re.sub(r"\x1b\[[0-9;]*m", "", built.first.stderr)
    assert "toy_fails failed in cell" in errors
    assert "raise ValueError(secret + ' fell')" in errors
    assert "ValueError: the sky fell" in errors
    assert "failed: toy_fails" in errors
    assert (folder / "toy_fails.failed" / "toy_fails.ipynb").is_file()  # the notebook, up to there
    assert not (folder / "toy_fails").exists()
    for name in (REAL, "toy_works"):
        assert (folder / name / f"{name}.ipynb").is_file()
        assert f"{name} (tiny): executed" in errors
    assert not list(folder.glob(".*"))  # nothing half done is left


def test_the_real_chapter_has_its_figures_captions_and_verdicts(built, folder):
    notebook = json.loads((folder / REAL / f"{REAL}.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    figures = [
        o["data"]["application/vnd.ncbook.figure+json"] for o in outputs if "application/vnd.ncbook.figure+json" in o.get("data", {})
    ]
    assert len(figures) >= 5
    for figure in figures:
        assert figure["finding"].strip() and figure["what"].strip()
        assert figure["alt"].strip()
        for kind in ("svg", "png", "csv"):
            assert (folder / REAL / "figures" / f"{figure['name']}.{kind}").stat().st_size > 100
        assert len(pd.read_csv(folder / REAL / "figures" / f"{figure['name']}.csv")) > 0
    assert not [o for o in outputs if o.get("name") == "stderr"]  # no warning on the page
    kept = json.loads((folder / REAL / "verdicts.json").read_text())
    assert kept["profile"] == "tiny"
    claims = [claim.id for claim in claims_of(REAL)]
    assert [v["id"] for v in kept["verdicts"]] == claims
    assert {v["verdict"] for v in kept["verdicts"]} == {"not measured"}  # two seeds give no verdict


@pytest.mark.slow
def test_results_that_were_edited_are_made_again(built, folder):
    path = folder / REAL / "verdicts.json"
    whole = path.read_text()
    path.write_text(whole.replace("not measured", "supported"))
    done = built.ncbook("run", REAL, "--profile", "tiny")
    assert f"{REAL} (tiny): executed" in done.stderr and "training" not in done.stderr
    assert path.read_text() == whole


@pytest.mark.slow
def test_the_same_tables_whatever_jobs_is(built, tmp_path, monkeypatch):
    """The real experiment again, in another checkout and two runs at a time: byte for byte the same."""
    first = {p.relative_to(built.root): p.read_bytes() for p in (built.root / "data" / "runs").rglob("table.csv")}
    monkeypatch.setenv("DEVICE", "cpu")
    monkeypatch.setenv("NCBOOK_ROOT", str(built.root))
    (chapter,) = execute.prepare([REAL], "tiny", {})
    runs = [run for run in chapter.runs() if run.parameters["seed"] == 101]
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    assert len(runs) == 5 and finish(runs, jobs=2) == 5
    second = {p.relative_to(tmp_path): p.read_bytes() for p in (tmp_path / "data" / "runs").rglob("table.csv")}
    assert len(second) == 5
    assert second == {name: first[name] for name in second}


def test_with_nothing_to_do_no_torch_is_imported(built):
    before = built.contents("book/_build")
    snippet = (
        "import sys\nfrom ncbook.cli import main\n"
        f"sys.argv = ['ncbook', 'run', {REAL!r}, '--profile', 'tiny']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('exit', end.code)\n"
        "print('heavy:', sorted({'torch', 'papermill', 'matplotlib', 'pebble'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", snippet], env=built.env(), capture_output=True, text=True, check=True, timeout=60)
    assert f"{REAL} (tiny): up to date" in done.stderr
    assert "exit 0\nheavy: []" in done.stdout
    assert built.contents("book/_build") == before


def test_a_later_failure_leaves_the_previous_output_untouched(built, folder):
    built.profile("tiny", **{REAL: TINY})
    good = built.ncbook("run", "--profile", "tiny")
    assert good.returncode == 0, good.stderr
    assert good.stderr.count("up to date") == 2
    assert not (folder / "toy_fails.failed").exists()
    before = built.contents("book/_build/tiny/toy_fails")
    assert "book/_build/tiny/toy_fails/note.txt" in before

    built.profile("tiny", **{REAL: TINY, "toy_fails": {"fail": True}})
    bad = built.ncbook("run", "--profile", "tiny")
    assert bad.returncode == 1
    assert built.contents("book/_build/tiny/toy_fails") == before
    assert (folder / "toy_fails.failed" / "toy_fails.ipynb").is_file()


@pytest.mark.slow
def test_a_kernel_that_dies_loses_its_chapter_only(built, folder):
    built.chapter("toy_dies", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", seeds=5)
    built.chapter("toy_lives", WORKS, seeds=5)
    try:
        done = built.ncbook("run", "toy_dies", "toy_lives", "--profile", "tiny")
    finally:
        (built.root / "book" / "chapters" / "toy_dies.ipynb").unlink()
    assert done.returncode == 1
    assert "toy_dies" in done.stderr
    assert "failed: toy_dies" in done.stderr
    assert (folder / "toy_lives" / "toy_lives.ipynb").is_file()


@pytest.mark.slow
def test_a_second_ncbook_waits_and_says_so(checkout):
    checkout.chapter("toy", WORKS, seeds=5)
    (checkout.root / "data" / "runs").mkdir(parents=True)
    command = [sys.executable, "-m", "ncbook", "run", "--profile", "tiny", "toy"]
    checkout.profile("tiny")
    with FileLock(checkout.root / "data" / "runs" / ".lock"):
        second = subprocess.Popen(command, env=checkout.env(), stderr=subprocess.PIPE, text=True)
        killer = threading.Timer(60, second.kill)
        killer.start()
        assert "another ncbook is at work in this checkout; waiting for it to finish" in second.stderr.readline()
        assert not (checkout.root / "book" / "_build").exists()
        assert second.poll() is None
    errors = second.communicate(timeout=60)[1]
    killer.cancel()
    assert "toy (tiny): executed" in errors


def test_a_dry_run_trains_nothing(here, monkeypatch, capsys):
    before = here.contents()
    monkeypatch.setattr(sys, "argv", ["ncbook", "run", "--dry-run", "--profile", "paper"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert REAL in capsys.readouterr().out
    assert here.contents() == before
