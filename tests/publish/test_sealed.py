"""What a build left is used as it was left, and only for what it was made from."""

import json
import re
import shutil
from pathlib import Path

import pytest
from checkouts import BOOK, Checkout

from ncbook.errors import InputError
from ncbook.publish import commits, execute, ledger, sealed, trust
from ncbook.publish.verify import Compared, write_report

CHAPTER = "train_test_collapse"


def edited(folder: Path) -> None:
    (folder / "verdicts.json").write_text((folder / "verdicts.json").read_text().replace("contradicted", "supported"))


def resealed_by_half(folder: Path) -> None:
    edited(folder)
    stamp = json.loads((folder / "stamp").read_text())
    stamp["files"] = sealed._files(folder)
    (folder / "stamp").write_text(json.dumps(stamp))


HARM = {
    "edited": edited,
    "removed": lambda folder: (folder / "figures" / "a.csv").unlink(),
    "added": lambda folder: (folder / "figures" / "b.csv").write_text("1"),
    "a figure": lambda folder: (folder / "figures" / "a.csv").write_text("1"),
    "another stamp": lambda folder: (folder / "stamp").write_text((folder / "stamp").read_text().replace("inputs", "others")),
    "files of the stamp": resealed_by_half,
    "no stamp": lambda folder: (folder / "stamp").unlink(),
    "an older stamp": lambda folder: (folder / "stamp").write_text("inputs"),
    "a list": lambda folder: (folder / "stamp").write_text("[]"),
    "binary": lambda folder: (folder / "stamp").write_bytes(b"\xff\x00"),
}


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """The folder of an executed chapter whose claim is contradicted."""
    checkout = Checkout(tmp_path, chapters=[CHAPTER])
    for name, value in checkout.env().items():
        monkeypatch.setenv(name, value)
    folder = execute.Chapter(CHAPTER, "quick", {}).folder
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "a.csv").write_text("0")
    judged = [{"id": entry["id"], "verdict": "contradicted", "parts": [], "reason": ""} for entry in execute.entries(CHAPTER)]
    (folder / "verdicts.json").write_text(json.dumps({"profile": "quick", "verdicts": judged}))
    sealed.close(folder, "inputs")
    return folder


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_edited_results_reach_no_ledger(results, harm):
    chapter = execute.Chapter(CHAPTER, "quick", {})
    assert sealed.made_from(results) == "inputs"
    assert "✘ contradicted" in ledger.pages([chapter])["ledger"]
    harm(results)
    assert sealed.made_from(results) is None and not chapter.is_done()
    with pytest.raises(InputError, match="edited after they were made; `ncbook run train_test_collapse` makes them again"):
        ledger.pages([chapter])


def test_a_chapter_that_was_not_executed_has_no_verdicts(results):
    shutil.rmtree(results)
    assert execute.verdicts(execute.Chapter(CHAPTER, "quick", {})) == []


def test_the_list_of_claims_leaves_edited_verdicts_out_and_names_older_ones(results):
    checkout = object.__new__(Checkout)
    checkout.root = results.parents[3]
    said = checkout.ncbook("claims")
    assert said.returncode == 0 and "✘ contradicted (of an older state)" in said.stdout and not said.stderr
    edited(results)
    said = checkout.ncbook("claims")
    assert said.returncode == 0 and "supported" not in said.stdout and "contradicted" not in said.stdout
    assert said.stderr.startswith(f"left out: {results} holds results that were edited") and said.stderr.count("\n") == 1


@pytest.fixture
def report(results) -> Path:
    """The report of a verification of a record."""
    root = results.parents[3]
    shutil.copytree(BOOK / "data" / "results" / "quick" / CHAPTER, root / "data" / "results" / "quick" / CHAPTER)
    write_report(
        [Compared(CHAPTER, "quick", "collapse", "exact", 3), Compared(CHAPTER, "quick", "other", "exact", 3, misses=["it differs"])],
        "quick",
    )
    return root / "book" / "_build" / "verify" / "quick" / "report.json"


def test_a_report_is_of_a_commit_a_record_and_its_code(report, monkeypatch):
    assert re.fullmatch(r"`quick`, [^:]*\\:.*: 2 tables, 1 MISS, 1 exact\.", trust._verified("quick"))
    record = report.parents[4] / "data" / "results" / "quick" / CHAPTER / "provenance.json"
    whole = record.read_text()
    record.write_text(whole + " ")
    assert trust._verified("quick").endswith("**Of an older record, or of older code: `train_test_collapse`.**")
    record.unlink()
    assert "Of an older record" in trust._verified("quick")
    record.write_text(whole)
    assert "Of an older record" not in trust._verified("quick")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "module_code", lambda path: "another")
        assert "Of an older record, or of older code" in trust._verified("quick")
    monkeypatch.setattr(commits, "here", lambda: {"commit": "0123456789abcdef", "dirty": True})
    write_report([Compared(CHAPTER, "quick", "collapse", "exact", 3)], "quick")
    assert ", at commit `0123456789` with uncommitted changes: 1 tables, 1 exact." in trust._verified("quick")


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text.replace('"MISS"', '"exact"'),
        lambda text: text.replace('"holds": false', '"holds": true'),
        lambda text: re.sub(r'"of": \{[^}]*\}', '"of": {}', text),
        lambda text: re.sub(r',\s*"sha256": "\w+"', "", text),
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "null",
        lambda text: sealed.seal({k: v for k, v in sealed.opened(text)[0].items() if k != "tables"}),
        lambda text: sealed.seal({**sealed.opened(text)[0], "tables": ["exact"]}),
    ],
)
def test_an_edited_report_reaches_no_page(report, harm):
    text = report.read_text()
    assert harm(text) != text
    report.write_text(harm(text))
    assert trust._verified("quick") == (
        "`quick`: the report of its last verification was edited after it was made, and is not shown; `make verify` makes a new one."
    )


def test_without_a_report_there_is_nothing_to_say(results):
    assert trust._verified("quick") == ""
