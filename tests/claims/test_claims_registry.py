"""claims.yml as it is, as it must not be, and what becomes of a claim when its numbers are missing."""

import importlib
import inspect
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ncbook import chapters
from ncbook.claims import registry, rule
from ncbook.claims.registry import Claim, judge_claim
from ncbook.claims.text import by_setting, estimate_text, readings_text, setting_text, test_text
from ncbook.errors import InputError
from ncbook.escape import markdown
from ncbook.publish import notebooks
from ncbook.publish.judge import judge
from ncbook.publish.verdicts import Verdicts

test_text.__test__ = False  # its name begins with test, but it makes the text of a test

BOOK = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_the_book(monkeypatch, tmp_path):
    monkeypatch.setenv("NCBOOK_ROOT", str(BOOK))


MEASURED = {"probe"}  # columns of a table that are settings of a claim without being parameters of a run

# --- the claims of the book -----------------------------------------------------------------------------------------------------------


def test_every_claim_of_the_book_is_whole():
    references = (BOOK / "book" / "references.bib").read_text()
    claims = chapters.claims()
    assert claims
    for claim in claims:
        assert claim.chapter in notebooks.names(), claim.id
        experiment = importlib.import_module(f"ncbook.chapters.{claim.chapter}.experiment")
        assert claim.table in experiment.TABLES, claim.id
        assert callable(registry._quantity(claim)), claim.id
        assert re.search(rf"@\w+{{{re.escape(claim.source)},", references), f"{claim.id}: references.bib lacks {claim.source}"
        assert claim.figure in notebooks.notebook(claim.chapter).read_text(), f"{claim.id}: the notebook has no figure {claim.figure}"
        # a setting is a parameter, of the notebook or of a run only, or where in a run a row was measured
        of_a_run = inspect.signature(experiment.TABLES[claim.table][0]).parameters
        known = {*notebooks.defaults(claim.chapter), *of_a_run, *getattr(experiment, "PLACE", ()), *MEASURED}
        assert set(claim.settings) <= known, claim.id
        assert set(claim.profiles) <= set(chapters.profiles()), claim.id
        assert re.fullmatch(r"[a-z0-9-]+", claim.id), claim.id
        for text in (claim.statement, claim.measures, claim.why):
            assert text.strip().endswith("."), f"{claim.id}: {text!r} is no sentence"


def test_every_chapter_with_an_experiment_has_a_claim():
    assert {claim.chapter for claim in chapters.claims()} == set(notebooks.names()) - {"watching_collapse"}  # it shows, and judges nothing


# --- what may not stand there ---------------------------------------------------------------------------------------------------------

ENTRY = {
    "id": "one",
    "chapter": "train_test_collapse",
    "source": "hui2022limitations",
    "statement": "It is so.",
    "evidence": "ours",
    "table": "collapse",
    "quantity": "terminal_fall",
    "measures": "It.",
    "test": "less",
    "threshold": 0.1,
    "why": "So.",
    "figure": "a-figure",
}


def written(tmp_path, monkeypatch, content, chapter=ENTRY["chapter"]) -> None:
    folder = tmp_path / "ncbook" / "chapters" / chapter
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "claims.yml").write_text(text)
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"treshold": 1}, "claims.yml: claim one: unknown field 'treshold'; did you mean 'threshold'"),
        ({"why": None, "figure": None}, "claims.yml: claim one: it has no why, figure"),
        ({"id": None}, "claims.yml: claim None: it has no id"),
        ({"test": "grater"}, "claim one: unknown test 'grater'; did you mean 'greater'"),
        ({"scale": "log"}, "claim one: unknown scale 'log'; did you mean 'log10'"),
        ({"combine": "most"}, "claim one: unknown combine 'most'"),
        ({"evidence": "hearsay"}, "claim one: unknown evidence 'hearsay'"),
        ({"threshold": "1e-1"}, "claim one: threshold must be a number, not '1e-1'"),  # what YAML makes of 1e-1
        ({"threshold": True}, "claim one: threshold must be a number, not True"),
        ({"scale": "log10", "threshold": 0}, "claim one: the threshold must be positive on the log scale, not 0"),
        ({"test": "equivalent"}, "claim one: the test 'equivalent' needs a margin above 0"),
        ({"kind": "chek"}, "claim one: unknown kind 'chek'; did you mean 'check'"),
        ({"kind": "control"}, "claim one: a control names the claims that it is `of`, and nothing else does"),
        ({"of": ["one"]}, "claim one: a control names the claims that it is `of`, and nothing else does"),
        ({"kind": "control", "of": ["one"]}, "claim one: unknown claim 'one'"),
        ({"effect": "0.1"}, "claim one: effect must be a number, not '0.1'"),
        ({"effect": 0, "scale": "log10"}, "claim one: the effect must be positive on the log scale, not 0"),
        ({"reading": ["pre"]}, "claim one: reading must give columns a value each, none of them among the settings"),
        ({"reading": {"loss": "squared"}, "settings": ["loss"]}, "claim one: reading must give columns a value each"),
    ],
)
def test_a_wrong_entry_is_one_sentence(tmp_path, monkeypatch, change, message):
    entry = {k: v for k, v in {**ENTRY, **change}.items() if v is not None}
    written(tmp_path, monkeypatch, [entry])
    with pytest.raises(InputError) as caught:
        chapters.claims()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([ENTRY, ENTRY], "claims.yml: claim one: the id is used twice"),
        ([{**ENTRY, "threshold": float("nan")}], "claim one: threshold must be a finite number, not nan"),
        ([{**ENTRY, "effect": float("inf")}], "claim one: effect must be a finite number, not inf"),
        ([{**ENTRY, "chapter": "another"}], "claims.yml: claim one is of the chapter 'another'; it lies in the folder of another"),
        ("- id: [\n", "claims.yml is not readable YAML"),
        ("", "must be a list of claims"),
        ("id: one\n", "must be a list of claims"),
        ("- one\n", "must be a list of claims"),
        ("- id: one\n- two\n", "must be a list of claims"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, monkeypatch, content, message):
    written(tmp_path, monkeypatch, content)
    with pytest.raises(InputError, match=message) as caught:
        chapters.claims()
    assert "\n" not in str(caught.value)


def test_an_id_is_one_claim_of_the_book(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, [{**ENTRY, "chapter": "another"}], "another")
    written(tmp_path, monkeypatch, [ENTRY])
    with pytest.raises(InputError, match="claims.yml: claim one: the id is used twice"):
        chapters.claims()


QUANTITIES = "ncbook.chapters.train_test_collapse.quantities"


def test_no_file_and_unknown_quantity(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown quantity 'terminal_fal'; did you mean 'terminal_fall'"):
        Claim(**{**ENTRY, "quantity": "terminal_fal", "module": QUANTITIES}).compute(pd.DataFrame())
    with pytest.raises(InputError, match="unknown quantity 'pd'|unknown quantity '_lag'"):
        Claim(**{**ENTRY, "quantity": "_lag", "module": QUANTITIES}).compute(pd.DataFrame())
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    assert len(chapters.claims()) > 70  # outside a checkout they are those of the package
    (tmp_path / "ncbook" / "chapters").mkdir(parents=True)
    assert chapters.claims() == []


# --- judging --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def claim(monkeypatch):
    """A claim about the column `value`: its quantity is the one value of a seed."""
    monkeypatch.setattr(registry, "_quantity", lambda claim: lambda rows: rows["value"].item())
    return Claim(**{**ENTRY, "test": "greater", "threshold": 0, "settings": ("dataset", "loss")})


GOOD, BAD, ODD = [1.0, 1.1, 0.9, 1.05, 0.95], [-1.0, -1.1, -0.9, -1.05, -0.95], [1.0, -1.1, 0.2, 0.5, -0.5]


def table(**settings: list[float]) -> pd.DataFrame:
    """Rows of settings named ``digits_squared=[a value a seed]``."""
    return pd.DataFrame(
        [
            {"dataset": name.split("_")[0], "loss": name.split("_")[1], "seed": seed, "value": value}
            for name, values in settings.items()
            for seed, value in enumerate(values)
        ]
    )


def verdict(claim, profile="quick", **settings) -> str:
    return judge_claim(claim, table(**settings), profile).verdict


def test_all_settings_must_hold(claim):
    assert verdict(claim, a_x=GOOD, a_y=GOOD, b_x=GOOD) == "supported"
    assert verdict(claim, a_x=GOOD, a_y=BAD, b_x=GOOD) == "contradicted"
    assert verdict(claim, a_x=GOOD, a_y=ODD, b_x=GOOD) == "inconclusive"


def test_any_setting_may_hold(claim):
    claim = replace(claim, combine="any")
    assert verdict(claim, a_x=BAD, a_y=GOOD, b_x=ODD) == "supported"
    assert verdict(claim, a_x=BAD, a_y=BAD, b_x=BAD) == "contradicted"
    assert verdict(claim, a_x=BAD, a_y=ODD, b_x=BAD) == "inconclusive"


def test_the_parts_say_what_each_setting_gave(claim):
    judged = judge_claim(claim, table(a_x=GOOD, a_y=BAD), "quick")
    assert [part["setting"] for part in judged.parts] == [{"dataset": "a", "loss": "x"}, {"dataset": "a", "loss": "y"}]
    assert [part["verdict"] for part in judged.parts] == ["supported", "contradicted"]
    assert judged.parts[0]["estimate"] == pytest.approx(1.0)
    assert judged.parts[0]["n"] == 5
    assert estimate_text(judged.parts[0]) == "1 [0.902, 1.1], n\u00a0=\u00a05"
    assert setting_text(judged.parts[0]) == "a, x"


def test_few_seeds_are_exploratory(claim):
    assert verdict(claim, a_x=GOOD[:4], a_y=GOOD) == "exploratory"
    assert verdict(claim, a_x=GOOD[:2]) == "not measured"
    alone = judge_claim(claim, table(a_x=GOOD[:1]), "quick")
    assert (alone.verdict, "one seed only, in: a, x" in alone.reason) == ("not measured", True)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_seed_without_a_number_leaves_its_setting_unjudged(claim, missing):
    broken = [*GOOD[:4], missing]
    judged = judge_claim(claim, table(a_x=GOOD, a_y=broken), "quick")
    assert judged.verdict == "not measured"
    assert judged.reason == "the quantity is no finite number, or there is one seed only, in: a, y"
    assert estimate_text(judged.parts[1]) == "undefined for 1 of 5"
    any_of = replace(claim, combine="any")
    assert verdict(any_of, a_x=GOOD, a_y=broken) == "supported"
    assert verdict(any_of, a_x=BAD, a_y=broken) == "inconclusive"
    assert verdict(any_of, a_x=broken) == "not measured"


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_log_scale_needs_positive_numbers_and_says_so(claim, value):
    log = replace(claim, scale="log10", threshold=0.1)
    assert verdict(log, a_x=GOOD) == "supported"
    judged = judge_claim(log, table(a_x=[*GOOD[:4], value]), "quick")
    assert judged.verdict == "not measured"
    assert "no finite positive number" in judged.reason
    assert "a, x" in judged.reason


def test_a_logarithm_of_zero_in_a_quantity_is_no_warning(claim, monkeypatch):
    monkeypatch.setattr(registry, "_quantity", lambda claim: lambda rows: np.log10(rows["value"].to_numpy()[0]))
    assert verdict(claim, a_x=[0.0] * 5) == "not measured"


def test_a_table_of_missing_values(claim):
    assert verdict(claim, a_x=[np.nan] * 5) == "not measured"
    rows = table(a_x=GOOD, a_y=BAD).assign(dataset=np.nan)  # a setting that is off is a setting
    judged = judge_claim(claim, rows, "quick")
    assert [part["setting"]["dataset"] for part in judged.parts] == [None, None]
    assert judged.verdict == "contradicted"


def test_numbers_as_settings_can_be_kept(claim):
    rows = table(a_x=GOOD).assign(dataset=np.int64(3))
    assert json.dumps(judge_claim(claim, rows, "quick").parts[0]["setting"]) == '{"dataset": 3, "loss": "x"}'


def test_no_settings_means_all_rows(claim):
    assert verdict(replace(claim, settings=()), a_x=GOOD) == "supported"


def test_an_unknown_column_is_one_sentence(claim):
    with pytest.raises(InputError, match="unknown column of the table collapse 'los'; did you mean 'loss'"):
        verdict(replace(claim, settings=("los",)), a_x=GOOD)
    with pytest.raises(InputError, match="unknown column of the table collapse 'layout'"):
        verdict(replace(claim, unit="layout"), a_x=GOOD)


def test_a_claim_of_another_profile_is_not_tested(claim):
    only = replace(claim, profiles=("paper",))
    judged = judge_claim(only, table(a_x=GOOD), "quick")
    assert (judged.verdict, judged.reason) == ("not measured", "not tested in the profile quick")
    assert verdict(only, "paper", a_x=GOOD) == verdict(only, "custom", a_x=GOOD) == "supported"


def test_equivalence(claim):
    same = replace(claim, test="equivalent", threshold=1.0, margin=0.5)
    assert verdict(same, a_x=GOOD) == "supported"
    assert verdict(same, a_x=BAD) == "contradicted"
    assert verdict(same, a_x=ODD) == "inconclusive"


@pytest.mark.parametrize("threshold", [0.3, 0.89, 1.11, 1.9, -0.5])
def test_the_threshold_is_the_number_that_was_written(claim, threshold):
    """GOOD's interval is 0.902 to 1.1: a threshold just outside of it is told from the interval, on either side and for either test."""
    below = threshold < 0.9
    assert verdict(replace(claim, threshold=threshold), a_x=GOOD) == ("supported" if below else "contradicted")
    assert verdict(replace(claim, test="less", threshold=threshold), a_x=GOOD) == ("contradicted" if below else "supported")


@pytest.mark.parametrize(("margin", "expected"), [(0.05, "contradicted"), (0.3, "inconclusive"), (0.41, "supported"), (9.0, "supported")])
@pytest.mark.parametrize("side", [-1, 1])
def test_the_margin_is_the_number_that_was_written(claim, margin, side, expected):
    """GOOD's interval is 0.1 to either side of 1, and the threshold 0.3 beside it."""
    assert verdict(replace(claim, test="equivalent", threshold=1 + 0.3 * side, margin=margin), a_x=GOOD) == expected


def test_judge_leaves_the_verdicts_for_the_ledger(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, [{**ENTRY, "settings": ["dataset"]}])
    written(tmp_path, monkeypatch, [{**ENTRY, "id": "two", "chapter": "another"}], "another")
    monkeypatch.setattr(registry, "_quantity", lambda claim: lambda rows: rows["value"].item())
    asked = {"profile": "custom", "folder": tmp_path / "output"}
    found = judge("train_test_collapse", {"collapse": table(a_x=BAD)}, **asked)
    kept = json.loads((tmp_path / "output" / "verdicts.json").read_text())
    assert kept["profile"] == "custom"
    assert [(v["id"], v["verdict"], v["reason"]) for v in kept["verdicts"]] == [("one", "supported", "")]
    assert repr(found) == "✔ one: supported"
    estimate = "−1 [−1.1, −0.902], n\u00a0=\u00a05"
    assert (
        f"| [It is so.](#claim-one)<br>{markdown(ENTRY['measures'])} | **✔ supported** | {estimate} | below 0.1 |"
        in found._repr_markdown_()
    )
    with pytest.raises(InputError, match="unknown table 'collapse'"):
        judge("train_test_collapse", {"colapse": table(a_x=BAD)}, **asked)


def test_the_words_of_a_test():
    assert test_text({"test": "equivalent", "threshold": 1, "margin": 0.5}) == "equal to 1 ± 0.5"
    assert set(rule.SCALES) == {"linear", "log10"}


# --- readings, controls, power --------------------------------------------------------------------------------------------------------


def read_in_two_ways(first: list[float], second: list[float]) -> pd.DataFrame:
    """Values of five seeds, read in two ways."""
    ways = [pd.DataFrame({"seed": range(5), "way": way, "value": values}) for way, values in (("one", first), ("other", second))]
    return pd.concat(ways, ignore_index=True)


@pytest.fixture
def of_a_reading(monkeypatch):
    monkeypatch.setattr(registry, "_quantity", lambda claim: lambda rows: rows["value"].item())
    return registry.load([{**ENTRY, "test": "greater", "threshold": 0, "reading": {"way": "one"}}], module="none")[0]


def test_the_declared_reading_is_judged_and_the_others_are_shown(of_a_reading):
    up, down = [1.0, 1.1, 0.9, 1.0, 1.05], [-1.0, -1.1, -0.9, -1.0, -1.05]
    verdict = judge_claim(of_a_reading, read_in_two_ways(up, down), "quick")
    assert verdict.verdict == "supported" and [part["verdict"] for part in verdict.parts] == ["supported", "contradicted"]
    assert [part.get("reading") for part in verdict.parts] == [None, {"way": "other"}]
    whole = {"verdict": verdict.verdict, "parts": verdict.parts}
    assert by_setting(whole) == ["supported"] and readings_text(whole) == "with other readouts, 0 of 1"
    assert setting_text(verdict.parts[1]) == "other"
    assert judge_claim(of_a_reading, read_in_two_ways(down, up), "quick").verdict == "contradicted"


def test_a_table_without_the_declared_reading_is_not_measured(of_a_reading):
    table = read_in_two_ways([1.0] * 5, [2.0] * 5)
    verdict = judge_claim(of_a_reading, table[table["way"] == "other"], "quick")
    assert verdict.verdict == "not measured" and "all runs" in verdict.reason


def test_every_control_and_check_is_marked_where_it_is_shown_and_passes_instead_of_being_supported():
    marks = {"claim": ("[It", "supported"), "control": ("*Control:* [", "passed"), "check": ("*Check of the code:* [", "passed")}
    for kind, (mark, word) in marks.items():
        claim = Claim(**{**ENTRY, "kind": kind, "of": ("two",) * (kind == "control")})
        shown = Verdicts([registry.Verdict(claim, "quick", "supported", [])])._repr_markdown_()
        assert mark in shown and f"✔ {word}" in shown
        failed = Verdicts([registry.Verdict(claim, "quick", "contradicted", [])])._repr_markdown_()
        assert ("✘ contradicted" if kind == "claim" else "✘ failed") in failed


def test_several_settings_are_one_row_with_their_range_and_a_fold():
    parts = [
        {"setting": {"dataset": name}, "verdict": "supported", "n": 5, "estimate": x, "low": x, "high": x}
        for name, x in zip("ab", [0.5, 0.2], strict=True)
    ]
    shown = Verdicts([registry.Verdict(Claim(**ENTRY), "quick", "supported", parts)])._repr_markdown_()
    table, _, folded = shown.partition("<details>")
    assert "| 0.2 to 0.5, in 2 settings |" in table and "Every setting, 2 rows" in folded
    assert "| a | 0.5 [0.5, 0.5]" in folded and "| b | 0.2 [0.2, 0.2]" in folded
