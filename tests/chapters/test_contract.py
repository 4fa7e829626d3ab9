"""What every chapter keeps to, and a new one by the template too: the folder, the notebook, and that each names only what the other has."""

import ast
import json
import re
import shutil
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from inspect import signature
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import yaml

import ncbook.chapters
from ncbook import chapters, paths
from ncbook.claims import rule
from ncbook.claims.names import setting
from ncbook.errors import InputError
from ncbook.publish import new_chapter, notebooks, records
from ncbook.publish.parameters import parameters
from ncbook.runs.plan import plan
from ncbook.runs.store import from_csv, to_csv

NEW = "freshly_made"  # a chapter that `ncbook new chapter` makes here
FILES = ("__init__.py", "claims.yml", "experiment.py", "profiles.yml", "quantities.py")
SHOWING = ("watching_collapse",)  # it shows and judges nothing: without claims and their quantities


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory):
    """A book with one chapter more, made from the template."""
    root, here = tmp_path_factory.mktemp("book"), paths.root()
    shutil.copytree(here / "book", root / "book", ignore=shutil.ignore_patterns("_build"))
    shutil.copytree(paths.chapters(), root / "ncbook" / "chapters", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(here / "data" / "results", root / "data" / "results")
    shutil.copy(here / "_config.yml", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCBOOK_ROOT", str(root))
        patch.setenv("DEVICE", "cpu")
        patch.setattr(ncbook.chapters, "__path__", [*ncbook.chapters.__path__, str(root / "ncbook" / "chapters")])
        new_chapter.create(NEW)
        yield
        for cached in (cells, short_tables, claims_of):
            cached.cache_clear()


CHAPTERS = [*notebooks.names(), NEW]
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)
every_judging_chapter = pytest.mark.parametrize("chapter", [name for name in CHAPTERS if name not in SHOWING])


# --- the folder -----------------------------------------------------------------------------------------------------------------------


@every_chapter
def test_a_chapter_is_a_folder_and_a_notebook_in_the_contents(chapter):
    folder = paths.chapters() / chapter
    found = {path.name for path in folder.iterdir()} - {"__pycache__"}
    needed = set(FILES) - ({"claims.yml", "quantities.py"} if chapter in SHOWING else set())
    assert found >= needed and all(name.endswith(".py") for name in found - needed)  # a simulation of its own may be beside them
    contents = (paths.root() / "book" / "_toc.yml").read_text()
    assert len(re.findall(rf"^\s*- file: chapters/{chapter}$", contents, flags=re.M)) == 1


def test_no_folder_without_a_notebook():
    folders = {path.name for path in paths.chapters().iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders == set(CHAPTERS)


# --- parameters, grids and experiments ------------------------------------------------------------------------------------------------


def code_of(chapter: str):
    return import_module(f"ncbook.chapters.{chapter}.experiment")


def tables_of(chapter: str) -> dict:
    return code_of(chapter).TABLES


def profiles_of(chapter: str) -> list[str]:
    return list(yaml.safe_load((paths.chapters() / chapter / "profiles.yml").read_text()))


@every_chapter
def test_every_profile_makes_runs_that_the_experiments_take(chapter):
    for profile in ["quick", *profiles_of(chapter)]:
        for experiment, grid in tables_of(chapter).values():
            assert plan(
                experiment, grid(**parameters(chapter, profile))
            )  # an InputError where a parameter is unknown or a run cannot be called
            assert signature(experiment).parameters["device"].default == "cpu"


@every_chapter
def test_there_are_short_runs_to_verify_with(chapter):
    assert profiles_of(chapter)[0] == "short"
    assert parameters(chapter, "short")["seeds"] == 1


@every_chapter
def test_every_parameter_changes_a_run_or_a_figure(chapter):
    given = parameters(chapter)
    grids = [grid for _, grid in tables_of(chapter).values()]
    before = [grid(**given) for grid in grids]

    def changes(name: str) -> bool:
        try:
            return any(grid(**{**given, name: another(given[name])}) != runs for grid, runs in zip(grids, before, strict=True))
        except InputError:  # who refuses a value looks at it
            return True

    unseen = {name for name in given if not changes(name)}
    read = {
        node.id
        for code in cells(chapter, "code")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert unseen <= read


def another(value):
    """A value of the same kind."""
    if isinstance(value, list):
        return [*value[:-1], another(value[-1])]
    if isinstance(value, bool):
        return not value
    if value is None or isinstance(value, str):
        return f"not {value}"
    return value + 1 if isinstance(value, int) else value * 2 + 1


# --- tables ---------------------------------------------------------------------------------------------------------------------------


@cache
def short_tables(chapter: str) -> dict[str, pd.DataFrame]:
    """The tables of the short runs, as `sweep` would return them."""
    assert "short" in profiles_of(chapter)
    tables = {}
    for name, (experiment, grid) in tables_of(chapter).items():
        parts = []
        for run in plan(experiment, grid(**parameters(chapter, "short"))):
            part = experiment(**run.parameters, device="cpu")
            for position, (column, value) in enumerate(run.parameters.items()):
                part.insert(position, column, [value] * len(part))  # a ValueError where the experiment returns a column of that name
            parts.append(part)
        tables[name] = from_csv(to_csv(pd.concat(parts, ignore_index=True)))
    return tables


@every_chapter
def test_tables_have_the_columns_of_their_record_and_no_number_that_is_none(chapter):
    """A number may be missing or infinite where it is so in the record; only what the chapter calls undefined may be missing altogether."""
    undefined = ("terminal_epoch", *getattr(code_of(chapter), "UNDEFINED", ()))
    for name, table in short_tables(chapter).items():
        assert len(table)
        recorded = paths.record("quick", chapter) / f"{name}.csv.gz"
        record = pd.read_csv(recorded) if recorded.is_file() else table.iloc[:0]
        may_lack = {column for column in record.columns if any(fnmatch(column, pattern) for pattern in undefined)} | {"terminal_epoch"}
        assert set(record.columns) - may_lack <= set(table.columns)
        partial = {column for column in record.columns if not_finite(record[column])}
        assert {column for column in table.columns if not_finite(table[column])} <= partial | may_lack


def not_finite(column: pd.Series) -> bool:
    return not (np.isfinite(column).all() if pd.api.types.is_numeric_dtype(column) else column.notna().all())


# --- claims ---------------------------------------------------------------------------------------------------------------------------


@cache
def claims_of(chapter: str) -> list:
    return chapters.claims(chapter)


@every_judging_chapter
def test_claims_name_what_there_is(chapter):
    assert claims_of(chapter)
    sources = set(re.findall(r"^@\w+\{([^,\s]+),", (paths.root() / "book" / "references.bib").read_text(), flags=re.M))
    drawn = {figure["name"] for code in cells(chapter, "code") for figure in figures(code)}
    for claim in claims_of(chapter):
        assert claim.table in tables_of(chapter), claim.id
        assert {*claim.settings, claim.unit} <= set(short_tables(chapter)[claim.table].columns), claim.id
        assert claim.source in sources, claim.id
        assert claim.figure in drawn, claim.id
        assert set(claim.profiles) <= {"quick", *profiles_of(chapter)}, claim.id
        for field in ("statement", "measures", "why"):
            assert getattr(claim, field).strip(), (claim.id, field)


@every_judging_chapter
def test_every_claim_has_a_control_and_an_effect_on_its_own_side(chapter):
    """So that it can be judged the other way, and that its power is known."""
    controlled = {name for claim in claims_of(chapter) for name in claim.of}
    for claim in claims_of(chapter):
        if claim.kind == "claim":
            assert claim.id in controlled, claim.id
        if claim.kind != "check":
            assert claim.effect is not None, claim.id
            forward, _ = rule.SCALES[claim.scale]
            aside = forward(claim.effect) - forward(claim.threshold)
            assert {"greater": aside > 0, "less": aside < 0, "equivalent": abs(aside) < max(claim.margin, 1e-9)}[claim.test], claim.id


@every_judging_chapter
def test_quantities_of_the_claims_are_numbers(chapter):
    for claim in claims_of(chapter):
        table = short_tables(chapter)[claim.table]
        table = table[(table[list(claim.reading)] == pd.Series(claim.reading, dtype=object)).all(axis=1)]
        for _, rows in table.groupby([*claim.settings, claim.unit], dropna=False):
            assert isinstance(claim.compute(rows), float), claim.id  # nan where so short a run has none


# --- the notebook ---------------------------------------------------------------------------------------------------------------------


@cache
def cells(chapter: str, kind: str) -> list[str]:
    """The sources of the notebook's cells of one kind; of code without that of the parameters."""
    content = json.loads(notebooks.notebook(chapter).read_text())
    of_kind = [cell for cell in content["cells"] if cell["cell_type"] == kind]
    return ["".join(cell["source"]) for cell in of_kind if "parameters" not in cell["metadata"].get("tags", [])]


def calls(code: str, name: str) -> list[ast.Call]:
    """The calls of a function or a method by its name."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return [call for call in found if getattr(call.func, "id", getattr(call.func, "attr", None)) == name]


def figures(code: str) -> list[dict]:
    """The name of each figure that a cell shows, and what it is shown with."""
    return [{"name": call.args[1].value, "given": {keyword.arg for keyword in call.keywords}} for call in calls(code, "show")]


@every_chapter
def test_a_notebook_has_its_bones_and_no_outputs(chapter):
    content = json.loads(notebooks.notebook(chapter).read_text())
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in content["cells"]) == 1
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"]), "two cells with the same id"
    for cell in content["cells"]:
        assert not cell.get("outputs"), "make it anew: jupyter nbconvert --clear-output --inplace"
        assert cell.get("execution_count") is None
    assert cells(chapter, "markdown")[0].startswith("# ")
    assert sum(text.startswith("# ") or "\n# " in text for text in cells(chapter, "markdown")) == 1
    for bone, count in (("judge", chapter not in SHOWING), ("provenance", 1)):
        assert sum(len(calls(code, bone)) for code in cells(chapter, "code")) == count, bone


@every_chapter
def test_every_figure_has_a_cell_and_says_what_it_shows(chapter):
    shown = [figures(code) for code in cells(chapter, "code")]
    assert max(map(len, shown)) == 1  # caption and alt text belong to a cell
    for figure in chain(*shown):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", figure["name"])
        assert "table" in figure["given"], figure["name"]
        assert {"caption", "alt"} <= figure["given"] or {"what", "finding"} <= figure["given"], figure["name"]


def test_no_figure_and_no_claim_twice():
    """They are links and files of one book."""
    names = [figure["name"] for chapter in CHAPTERS for code in cells(chapter, "code") for figure in figures(code)]
    assert len(names) == len(set(names))
    ids = [claim["id"] for claim in chapters.entries()]
    assert len(ids) == len(set(ids))


# --- prose ----------------------------------------------------------------------------------------------------------------------------

DATE = re.compile(r"\b\d{1,2} (?:Jan|Feb|March|April|May|June|July|Aug|Sept|Oct|Nov|Dec)\w* \d{4}\b|\b\d{4}-\d\d-\d\d\b")
VERDICT = re.compile(r"\b(?:supports?|supported|contradicts?|contradicted|inconclusive|undecided)\b", flags=re.I)
COUNT = re.compile(
    r"\d+ of (?:the )?\d+|\bin (?:all )?(?:\d+|two|three|four|five|six|seven|eight|nine|ten)\b(?! dimensions)|\d\.\d|\d ?%|\d times",
    flags=re.I,
)


@every_judging_chapter
def test_settings_are_shown_in_words(chapter):
    """MNIST and a bias, not mnist and True."""
    if chapter == NEW:
        return
    for profile in records.on_record(chapter):
        for verdict in records.read(paths.record(profile, chapter)).provenance["verdicts"]:
            for part in verdict["parts"]:
                shown = [setting(column, value) for column, value in {**part["setting"], **part.get("reading", {})}.items()]
                assert not [text for text in shown if re.search(r"True|False|[_:]|\w=", text)], (verdict["id"], shown)


def typed(text: str) -> list[str]:
    """The sentences of a text that give a date, or beside the word of a verdict a count or a measured number."""
    sentences = re.split(r"(?<=[.:!?;])\s+|\n\s*\n", text)
    return [s for s in sentences if DATE.search(s) or (VERDICT.search(s) and COUNT.search(s))]


@pytest.mark.parametrize(
    "text",
    [
        "As run on 22 November 2026, it holds.",
        "`laptop` supports it in 15 of 20 readings.",
        "Supported in all eight settings.",
        "It is 0.58: no. At 0.58 it is undecided.",
    ],
)
def test_dates_and_counts_typed_beside_verdicts_are_found(text):
    assert typed(text)


@every_chapter
def test_no_result_is_typed_by_hand(chapter):
    """Sentences that depend on a run come from its verdicts."""
    assert not [sentence for text in cells(chapter, "markdown") for sentence in typed(text)]
