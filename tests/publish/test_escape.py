"""What comes from runs, records, folders and parameters is shown letter by letter: nothing in it is HTML, Markdown or MyST on a page."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from checkouts import BOOK, Toy
from hypothesis import given
from hypothesis import strategies as some
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from ncbook.chapters import claims
from ncbook.claims.registry import Verdict
from ncbook.escape import code, markdown
from ncbook.publish import chapter_page, commits, provenance, trust
from ncbook.publish.execute import Chapter
from ncbook.publish.figures import label
from ncbook.publish.verdicts import Verdicts, deciding
from ncbook.runs.plan import Table

HOSTILE = [
    "<script>alert(1)</script>",
    "<details open ontoggle=alert(1)><summary>x</summary></details><br>",
    "a | b | c",
    "`code` and ``more``",
    "{raw}`html <b>x</b>`",
    "{{ substitution }}",
    "```{raw} html\n<script>alert(2)</script>\n```",
    "$x$ and $$y$$ \\(z\\)",
    "[link](javascript:alert(3)) ![image](http://example.org/x.png) <http://example.org>",
    "http://example.org/a www.example.org",
    "# heading\n\n- list\n1. first",
    "**bold** __bold__ ~~struck~~ \\",
    "&lt;script&gt; &#60;b&#62;",
    "(target)= % comment +++ ::: ---",
    "\x1b[31mred\x07\u202eback",
]


@pytest.fixture(scope="module")
def myst():
    """Markdown to HTML, with the extensions of the book."""
    options = yaml.safe_load((BOOK / "_config.yml").read_text())["parse"]["myst_enable_extensions"]
    return create_md_parser(MdParserConfig(enable_extensions=set(options)), RendererHTML).render


def shown(text: str) -> str:
    """What is to be read on the page: in one line, without what no printer has."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def places(escaped: str) -> list[tuple[str, str]]:
    """Markdown that holds an escaped text, and the HTML around it."""
    table = "<table>\n<thead>\n<tr>\n<th>a</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>", "</td>\n</tr>\n</tbody>\n</table>\n"
    return [
        (f"| a |\n|---|\n| {escaped} |\n", table),
        (f"before {escaped} after\n", ("<p>before ", " after</p>\n")),
        (f"{escaped}\n", ("<p>", "</p>\n")),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_escaped_is_read_as_it_was(myst, text):
    for source, (before, after) in places(markdown(text)):
        assert myst(source) == f"{before}{html.escape(shown(text), quote=True)}{after}".replace("&#x27;", "'")
    for source, _ in places(code(text)):
        assert not set(re.findall(r"<(\w+)", myst(source))) - {"table", "thead", "tbody", "tr", "th", "td", "p", "code"}


@given(some.text(some.characters(codec="utf-8"), min_size=1).filter(str.strip))
def test_any_text_is_read_as_it_was(myst, text):
    for source, (before, after) in places(markdown(text)):
        assert myst(source) == f"{before}{html.escape(shown(text), quote=True)}{after}".replace("&#x27;", "'")


def attack(n: int) -> str:
    return f"<script>alert({n})</script>|`x`{{raw}}`html <b>`${n}$"


OURS = frozenset({"br", "details", "summary"})  # of the table of verdicts


def hostile_run(**more) -> dict:
    versions = {name: attack(i) for i, name in enumerate(provenance.VERSIONS)}
    said = {"gpu": attack(10), "cpu": None, "machine": "x", "cpu_capability": "AVX2", "finished": attack(11)}
    return {"seconds": 1.0, "peak_memory_mb": 9, **said, **versions, **more}


def harmless(myst, text: str, more: frozenset[str] = frozenset()) -> None:
    page = myst(text)
    assert not set(re.findall(r"<(\w+)", page)) - {"table", "thead", "tbody", "tr", "th", "td", "p", "code", "strong", "h2", "a"} - more, (
        page
    )
    assert "alert(" in html.unescape(page)  # it is shown
    assert len({row.count("<td>") for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL) if "<td>" in row}) == 1  # and ends no cell


def box(rows: pd.DataFrame, run: dict, folder: Path, *, profile: str = "quick", record: dict | None = None) -> str:
    of_record = SimpleNamespace(provenance=record) if record else None
    return provenance.provenance([Table(rows, [run])], profile=profile, folder=folder, record=of_record)


@pytest.mark.parametrize("cpu", [None, attack(12)])
def test_the_box_and_the_page_of_trust(myst, tmp_path, monkeypatch, cpu):
    monkeypatch.setenv("NCBOOK_ROOT", str(BOOK))
    changed = [{**claim, "threshold": attack(18), "id": attack(19)} for claim in deciding("train_test_collapse")]
    recorded = {"chapter": "train_test_collapse", "claims": changed, "judged_by": {"rule": "another"}}
    rows = pd.DataFrame({"dataset": [f"folder:{attack(14)}"], "seed": [0]})
    run = hostile_run(commit=attack(15), recorded=attack(16), dirty=False, changed=False)
    harmless(myst, box(rows, run | {"cpu": cpu, "gpu": None} if cpu else run, tmp_path, profile=attack(13), record=recorded))
    monkeypatch.setattr(Chapter, "folder", tmp_path)
    monkeypatch.setattr(trust, "_verified", lambda profile: "")
    harmless(myst, trust.pages([Chapter("train_test_collapse", attack(17), {}, recorded=True)])["trust"])


def test_verdicts_and_their_settings(myst, monkeypatch):
    monkeypatch.setenv("NCBOOK_ROOT", str(BOOK))
    claim = replace(claims()[0], statement="It is so.")
    part = {"setting": {"dataset": attack(1)}, "n": 0, "undefined": 3}
    harmless(myst, Verdicts([Verdict(claim, "quick", "not measured", [part, part], f"in: {attack(2)}")])._repr_markdown_(), OURS)
    harmless(myst, Verdicts([Verdict(claim, "quick", "not measured", [], f"in: {attack(2)}")])._repr_markdown_(), OURS)


RAW = re.compile(r"^``````\{raw\} html\n(.*?)\n``````$", re.MULTILINE | re.DOTALL)
PLAIN = {
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "a", "span", "strong"),
    *("b", "i", "ul", "li", "small", "section", "div", "h3", "p", "img"),
}


def test_the_ledger_and_the_opening_page(myst, monkeypatch):
    from ncbook.publish import front, ledger

    monkeypatch.setenv("NCBOOK_ROOT", str(BOOK))
    part = {"setting": {"dataset": attack(1)}, "n": 0, "undefined": 3}
    found = [{"id": c.id, "verdict": "not measured", "parts": [part], "reason": attack(2)} for c in claims()]
    monkeypatch.setattr(ledger, "verdicts", lambda chapter: [v for v in found if v["id"] in ledger.claim_ids([chapter.name])])
    monkeypatch.setattr(front.notebooks, "title", lambda chapter: attack(5) + "``````")
    asked = [Chapter("train_test_collapse", attack(3), {})]
    opening = front.pages(asked, {})
    for page in [*ledger.pages(asked, beside=[Chapter("train_test_collapse", attack(4), {})]).values(), opening["score"], opening["cards"]]:
        assert len(RAW.findall(page)) == 1 and page.count("``````") == 2  # nothing in it ends the block
        for block in RAW.findall(page):
            assert not set(re.findall(r"<(\w+)", block)) - PLAIN and not re.search(r"\son\w+=", block)
        raw = myst(RAW.sub("", page))
        assert "alert(" in html.unescape(raw + "".join(RAW.findall(page))) and "<script" not in raw and "<b>" not in raw
        assert not re.search(r"\$\d\$", re.sub(r"\\\$", "", RAW.sub("", page)))


def test_captions(myst):
    figure = {"name": "a-figure", "what": f"V of {label(f'folder:{attack(1)}')}.", "finding": attack(3), "alt": attack(2)}
    cell = {"metadata": {}, "outputs": [{"data": {chapter_page.FIGURE_MIME: figure}}]}
    assert chapter_page.caption(cell) == "a-figure"
    told = cell["metadata"]["mystnb"]["figure"]["caption"]
    assert not set(re.findall(r"<(\w+)", myst(told))) - {"p"}
    assert html.unescape(myst(told)) == f"<p>{figure['finding']} {figure['what']}</p>\n"


def test_a_name_with_dollar_signs_is_no_formula_of_a_figure():
    from matplotlib.mathtext import MathTextParser

    text = label("folder:$\\frac$")
    assert MathTextParser("path").parse(text)  # it would raise
    assert label("nc1") == "NC1" and label("variance_ratio").startswith("$V")


NUMBERS = """
from pathlib import Path

import pandas as pd

from ncbook.publish.figures import label, panels
from ncbook.publish.provenance import provenance
from ncbook.publish.session import open_chapter
from ncbook.runs.plan import Table

chapter = open_chapter("toy", globals())

dataset = "folder:<script>alert(1)</script>|`x`{raw}`html <b>`"
run = {"seconds": 1.0, "peak_memory_mb": 9, "cpu": None, "machine": "x", "cpu_capability": "AVX2", "finished": "2026-01-01T00:00:00Z"}
run |= dict.fromkeys(["gpu", "torch", "numpy", "scipy", "scikit_learn", "python"], "<script>alert(2)</script>|`y`{raw}`html <i>`")
table = pd.DataFrame({"dataset": [dataset], "seed": [0], "value": [1.0]})
"""
DRAW = """
figure, axes = panels(1, 1)
axes[0][0].plot(table.seed, table.value, ".")
axes[0][0].set_title(label(dataset))
chapter.show(figure, "one", what=f"Of {label(dataset)}.", finding="One.", table=table)
"""


@pytest.mark.slow
def test_the_built_pages(tmp_path):
    book = Toy(tmp_path, NUMBERS, DRAW, "provenance([Table(table, [run])], profile=chapter.profile, folder=chapter.output)")
    (tmp_path / "book" / "trust.md").write_text("# Trust\n\n```{include} _generated/trust.md\n```\n")
    toc = tmp_path / "book" / "_toc.yml"
    toc.write_text(toc.read_text() + "- file: trust\n")
    done = book.ncbook("book")
    assert done.returncode == 0, done.stderr
    for name, attacks in (("chapters/toy", (1, 2)), ("trust", (2,))):
        page = (tmp_path / "book" / "_build" / "html" / f"{name}.html").read_text()
        text = html.unescape(re.sub(r"<[^>]*>", "", page))
        for n in attacks:
            assert f"<script>alert({n})</script>|`{'xy'[n - 1]}`{{raw}}`html <{'bi'[n - 1]}>`" in text
        assert not re.search(r"<script>alert|<b>`|<i>`", page)


def test_only_a_commit_of_the_repository_is_shown_as_one(tmp_path, monkeypatch):
    import subprocess

    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    run = hostile_run(gpu="A GPU", commit="0" * 40, recorded="2026-01-01", dirty=True, changed=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def record(**changes) -> str:
        box(pd.DataFrame({"seed": [0]}), run | changes, tmp_path / "output", record={"chapter": "toy"})
        return json.loads((tmp_path / "output" / "provenance.json").read_text())["record"]

    assert commits.here() == {"commit": "unknown", "dirty": True} and commits.known("0" * 40) is None
    assert "commit `0000000000` (not looked up: the history is not here) **with uncommitted changes**" in record()
    for command in (["init", "-q"], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    here = commits.here()
    assert not here["dirty"] and commits.known(here["commit"]) is True
    for invented in ("0" * 40, "HEAD", "--help", attack(1), here["commit"][:10]):
        assert commits.known(invented) is False
    assert "commit `0000000000`, **which this repository does not hold**," in record()
    assert f"made at commit `{here['commit'][:10]}`; nothing" in record(commit=here["commit"], dirty=False)
    assert "made at no known commit **with uncommitted changes**" in record(commit="unknown")
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{tmp_path}", str(tmp_path / "shallow")], check=True)
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path / "shallow"))
    assert commits.known("0" * 40) is None  # only the end of the history is here


def test_a_run_of_the_store_names_no_commit(tmp_path):
    run = hostile_run(commit="0" * 40, recorded="2026-01-01", dirty=False, changed=False)
    assert "0000000" not in box(pd.DataFrame({"seed": [0]}), run, tmp_path)


def test_what_an_older_record_lacks_is_said(tmp_path):
    run = {k: v for k, v in hostile_run(torch="2.13.0", python="3.11.7").items() if k not in ("numpy", "scipy")} | {"scikit_learn": None}
    assert r"| versions | torch 2\.13\.0, numpy not recorded, scipy not recorded, scikit-learn not recorded, python 3\.11\.7 |" in box(
        pd.DataFrame({"seed": [0]}), run, tmp_path
    )
