"""Records and verification, through the command line: what is kept, what is refused, and what a reviewer is told."""

import gzip
import json
import re
import shutil
from itertools import chain
from pathlib import Path

import pytest
from checkouts import BOOK, disk
from conftest import CHAPTER, TINY

from ncbook.chapters.train_test_collapse.experiment import TABLES
from ncbook.publish import records
from ncbook.publish.parameters import parameters as parameters_of
from ncbook.runs import store
from ncbook.settings import instruction_set, instruction_sets

pytestmark = pytest.mark.slow


def test_a_record_says_where_it_comes_from(recorded):
    known = json.loads((recorded.of_laptop / "provenance.json").read_text())
    assert known["chapter"] == CHAPTER and known["profile"] == "laptop"
    assert known["parameters"]["train_size"] == [50]
    assert known["tables"]["collapse"]["runs"] == 2
    assert set(known["data"]) == {"digits", "gaussian:separation=6", "gaussian:separation=20"}
    assert known["core_seconds"] > 0 and known["peak_memory_mb"] > 50
    assert sorted(known["files"]) == sorted(f"{name}.csv.gz" for name in [*TABLES, "runs"])
    assert f"{CHAPTER} (laptop): recorded in" in recorded.said
    # gzip keeps the time of writing unless told not to: then the same table would be another file each time
    assert (recorded.of_laptop / "collapse.csv.gz").read_bytes()[4:8] == b"\0\0\0\0"
    assert not [p for p in recorded.of_laptop.parent.iterdir() if p.name.startswith(".")]


def test_recording_again_changes_no_table(copy, recorded):
    before = (recorded.of_laptop / "collapse.csv.gz").read_bytes()
    shutil.copytree(recorded.root / "data" / "runs", copy.root / "data" / "runs")
    copy.says("record", "--profile", "laptop")
    assert (copy.of_laptop / "collapse.csv.gz").read_bytes() == before


def test_a_full_disk_while_recording_leaves_no_half_of_a_record(copy, recorded):
    shutil.copytree(recorded.root / "data" / "runs", copy.root / "data" / "runs")
    with disk(copy.root / "data" / "results", "20k") as remount:
        said = copy.says("record", "--profile", "laptop", code=2)
        assert said.startswith("ncbook: No space left on device") and "what was finished is kept" in said and said.count("\n") == 1, said
        assert not copy.contents("data/results")
        remount("size=1m")
        copy.says("record", "--profile", "laptop")
        assert (copy.of_laptop / "collapse.csv.gz").read_bytes() == (recorded.of_laptop / "collapse.csv.gz").read_bytes()


def test_from_a_record_nothing_is_trained_and_nothing_differs(copy):
    said = copy.says("run", "--profile", "laptop", "--from", "record")
    assert "training" not in said and "executed" in said
    assert copy.drawn("laptop", CHAPTER) == copy.first
    assert not list((copy.root / "data").glob("runs/*/*"))
    page = json.loads((copy.root / f"book/_build/laptop/{CHAPTER}/provenance.json").read_text())
    assert "nothing that computes it has changed since" in page["record"]
    assert "up to date" in copy.says("run", "--profile", "laptop", "--from", "record")


def test_a_grid_that_differs_is_refused(copy):
    copy.laptop(**{**TINY, "train_size": [60]})
    said = copy.says("run", "--profile", "laptop", "--from", "record", code=2)
    assert "does not hold the runs" in said and "recorded with train_size=[50], now [60]" in said


def alter(record: Path, row: int = 5, column: str = "nc1") -> tuple[float, float]:
    """Change one number in its last digits, and only it."""
    path = record / "collapse.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    place = lines[0].split(",").index(column)
    cells = lines[row + 1].split(",")
    was, cells[place] = cells[place], repr(float(cells[place]) * (1 + 1e-9))
    lines[row + 1] = ",".join(cells)
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    return float(was), float(cells[place])


def test_verify_reports_an_untouched_record_as_exact(copy):
    said = copy.says("verify", "--profile", "laptop", "--strict")
    assert "9 exact" in said and "all 9 comparisons hold" in said  # the tables of the short runs, those of the profile, the verdicts
    report = json.loads((copy.root / "book/_build/verify/laptop/report.json").read_text())
    assert report["holds"] and [row["by"] for row in report["tables"]] == [*["exact"] * 8, "claims"]
    assert report["tables"][4]["profile"] == "laptop" and report["tables"][4]["cells"] > 100
    assert "Every table holds: 9 exact." in (copy.root / "book/_build/verify/laptop/report.html").read_text()
    assert not list((copy.root / "data").glob("runs/*/*"))  # the cache is neither used nor filled
    assert not list((copy.root / "book/_build/verification").iterdir())


def test_verify_names_the_cell_that_was_altered(copy):
    was, now = alter(copy.of_laptop)
    said = copy.says("verify", "--profile", "laptop", code=1)
    assert "collapse.csv.gz was edited after it was recorded" in said
    assert f"nc1 recorded {now!r}, here {was!r}" in said
    assert re.search(r"dataset=digits, model=mlp, .*loss=squared.*, seed=100", said)
    assert said.count("nc1 recorded") == 1  # and no other


def package_with(place: Path, body: str) -> str:
    """A copy of the package whose variance ratio has this `body`, in which ``right`` is the true one."""
    package = place / "package" / "ncbook"
    shutil.copytree(BOOK / "ncbook", package)
    formula = package / "metrics" / "collapse.py"
    text = formula.read_text()
    assert "def variance_ratio(" in text
    formula.write_text(text + f"\n\nright = variance_ratio\n\n\ndef variance_ratio(*a, **k):\n    {body}\n")
    return str(package.parent)


def test_verify_sees_a_changed_metric(copy, tmp_path):
    changed = package_with(tmp_path, "return 1.001 * right(*a, **k)")  # under each instruction set: `test_attacks`
    said = copy.says("verify", "--profile", "laptop", code=1, PYTHONPATH=changed)
    assert "variance_ratio recorded" in said and "comparisons do not hold" in said
    copy.cut(CHAPTER)
    page = copy.says("run", "--profile", "laptop", "--from", "record", PYTHONPATH=changed)
    assert "executed" in page
    lines = json.loads((copy.root / f"book/_build/laptop/{CHAPTER}/provenance.json").read_text())
    assert "of 8 of 8 runs has changed since" in lines["record"]


def test_a_run_that_fails_is_a_miss_with_its_reason(copy, tmp_path):
    said = copy.says("verify", "--profile", "laptop", code=1, PYTHONPATH=package_with(tmp_path, 'raise ValueError("no such thing")'))
    assert "MISS" in said and "seed=100: ValueError: no such thing" in said and "Traceback" not in said


@pytest.mark.skipif(len(instruction_sets()) == 1, reason="nothing can be chosen on this processor")
def test_an_untouched_record_holds_under_another_instruction_set(copy):
    another = next(name for name in instruction_sets() if name != instruction_set())  # `test_attacks` verifies with all
    assert "all 9 comparisons hold" in copy.says("verify", "--profile", "laptop", "--strict", INSTRUCTION_SET=another)
    report = json.loads((copy.root / "book/_build/verify/laptop/report.json").read_text())
    assert all(row["by"] in {"exact", "rounding"} for row in report["tables"][:-1])  # so few images that the digits may be the same


def test_budget_keeps_what_is_finished(copy):
    assert "8 of 8 runs are finished" in copy.says("train", "--profile", "laptop", "--budget", "1h")
    finished = copy.contents("data/runs")
    copy.laptop(**{**TINY, "seeds": 6})
    said = copy.says("train", "--profile", "laptop", "--budget", "0.001s", code=3)  # no worker starts within a millisecond
    assert "8 of 24 runs are finished; 16 are left: the same command goes on with them" in said
    assert copy.contents("data/runs") == finished  # and nothing half done lies beside them
    assert "24 of 24 runs are finished" in copy.says("train", "--profile", "laptop", "--budget", "1h")
    assert finished.items() < copy.contents("data/runs").items()


def test_runs_of_another_machine_are_merged(copy, recorded, tmp_path):
    theirs = tmp_path / "theirs"
    shutil.copytree(recorded.root / "data" / "runs", theirs)
    finished = sorted(theirs.glob("*/*"))  # of the profile, and the short ones
    broken = finished[0] / "table.csv"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    said = copy.says("runs", "import", str(theirs), code=1)
    assert f"{len(finished) - 1} runs taken, 0 known already, 1 left out" in said and str(broken.parent) in said
    broken.write_bytes(content)
    assert f"1 runs taken, {len(finished) - 1} known already" in copy.says("runs", "import", str(theirs))
    said = copy.says("train", "--profile", "laptop")
    assert "8 of 8 runs are finished" in said and "training" not in said


def test_runs_of_a_gpu_are_recorded_and_shown_where_there_is_none(copy, recorded, monkeypatch):
    """The runs are this machine's, under the key, and with the words, of a GPU's: what `ncbook runs import` takes over."""
    monkeypatch.setenv("NCBOOK_ROOT", str(copy.root))
    parameters = parameters_of(CHAPTER, "laptop")
    for run in chain.from_iterable(records.planned(CHAPTER, parameters).values()):
        source = recorded.root / "data" / "runs" / run.experiment / run.key
        info = {k: v for k, v in json.loads((source / "run.json").read_text()).items() if k != "sha256"}
        info |= {"device": "cuda", "gpu": "A GPU of theirs"}
        store.write(run.experiment, records.key_on(run, "cuda"), (source / "table.csv").read_text(), info)
    copy.says("record", "--profile", "laptop")
    said = copy.says("run", "--profile", "laptop", "--from", "record")
    assert "training" not in said and copy.drawn("laptop", CHAPTER) == copy.first
    page = json.loads((copy.root / f"book/_build/laptop/{CHAPTER}/provenance.json").read_text())
    assert page["trained on"] == "A GPU of theirs" and "nothing that computes it has changed since" in page["record"]
    report = copy.says("verify", "--profile", "laptop")
    assert "all 9 comparisons hold" in report  # digits that are the same need no other word for what made them


def test_the_ledger_marks_other_profiles():
    from ncbook.publish.ledger import _mark

    assert _mark("supported", "laptop", "contradicted") == '<strong>laptop <span title="contradicted">✘</span></strong>'
    assert _mark("inconclusive", "laptop", "contradicted") == 'laptop <span title="contradicted">✘</span>'
