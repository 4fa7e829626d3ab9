"""The page of a chapter: one block of parameters with the values used, folded code, links that lead somewhere, tabs of profiles."""

import json

import pytest

from ncbook import paths
from ncbook.escape import markdown
from ncbook.publish import chapter_page, sources
from ncbook.publish.execute import Chapter


def code(source: str, *tags: str, outputs=()) -> dict:
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": list(outputs)}


def test_there_is_one_block_of_parameters_with_the_values_used():
    declared = code('epochs = 60  # few\ndata = [\n    "digits",\n]  # é\nseeds = 5', "parameters")
    (block,) = chapter_page._with_the_parameters_used([declared, code('epochs = 45\ndata = ["mnist", "cifar10"]', "injected-parameters")])
    assert block["source"] == "epochs = 45  # few\ndata = ['mnist', 'cifar10']  # é\nseeds = 5"


def test_all_code_is_folded_and_the_source_of_an_experiment_with_it():
    source = {"data": {"text/markdown": "```python\ndef experiment(): ...\n```"}}
    cells = [code("x = 1"), code("y = 2", "hide-input", "parameters"), code("chapter.source()", outputs=[source])]
    for cell in cells:
        chapter_page._fold(cell)
    assert [cell["metadata"]["tags"] for cell in cells] == [["hide-input"], ["parameters", "hide-input"], ["hide-cell"]]


def test_a_text_that_a_cell_gives_is_a_sentence():
    def shown(text: str, kind: str = "execute_result", **more) -> dict:
        output = {"output_type": kind, "data": {"text/plain": text, **more}}
        return chapter_page._tidy(code("x", outputs=[output]))["outputs"][0]["data"]

    assert shown("'55 <b>runs</b>'") == {"text/markdown": markdown("55 <b>runs</b>.")} == shown("'55 <b>runs</b>.'")
    for kept in ({"text": "[1, 2]"}, {"text": "'a'", "kind": "display_data"}, {"text": "'a'", "image/svg+xml": "<svg/>"}):
        assert shown(**kept)["text/plain"] == kept["text"]


def test_sources_are_copies_in_the_site_or_files_of_the_repository_at_a_commit(monkeypatch, tmp_path):
    chapter = Chapter("wide_networks", "quick", {})
    assert sources.link(chapter, "experiment") == "{download}`Experiment <sources/wide_networks/experiment.py>`"
    sources.copy(chapter, tmp_path)
    assert {p.name for p in (tmp_path / "sources" / "wide_networks").iterdir()} == {"wide_networks.ipynb", "experiment.py"}
    monkeypatch.setattr(sources, "_here", lambda: "c" * 40)
    monkeypatch.setattr(sources, "repository", lambda: "https://github.com/someone/book")
    link = sources.link(chapter, "experiment")
    assert link == f"[Experiment](https://github.com/someone/book/blob/{'c' * 40}/ncbook/chapters/wide_networks/experiment.py)"
    sources.copy(chapter, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("host", "between"),
    [
        ("github.com", "blob"),
        ("gitlab.com", "-/blob"),
        ("gitlab.uni.example", "-/blob"),
        ("bitbucket.org", "src"),
        ("codeberg.org", "src/commit"),
        ("forgejo.uni.example", "src/commit"),
        ("example.org", None),  # a host that nobody knows: a copy
    ],
)
def test_a_link_to_a_file_is_as_its_host_has_it(monkeypatch, tmp_path, host, between):
    chapter, repository = Chapter("wide_networks", "quick", {}), f"https://{host}/github-users/book"
    monkeypatch.setattr(sources, "repository", lambda: repository)
    monkeypatch.setattr(sources, "_here", lambda: "c" * 40)
    link = sources.link(chapter, "notebook")
    if between:
        assert link == f"[Notebook]({repository}/{between}/{'c' * 40}/book/chapters/wide_networks.ipynb)"
    else:
        assert link == "{download}`Notebook <sources/wide_networks/wide_networks.ipynb>`"
    sources.copy(chapter, tmp_path)
    assert (tmp_path / "sources" / "wide_networks" / "wide_networks.ipynb").is_file() == (between is None)


def test_the_command_names_profile_record_and_changed_seeds():
    assert chapter_page.command(Chapter("wide_networks", "quick", {"seeds": 5})) == "make figure-wide_networks PROFILE=quick"
    assert chapter_page.command(Chapter("wide_networks", "quick", {"seeds": 3})).endswith("PROFILE=quick SEEDS=3")
    assert "FROM=record" in chapter_page.command(Chapter("wide_networks", "laptop", {}, recorded=True))


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """A function that leaves an executed chapter with one figure, as a build would."""
    monkeypatch.setattr(paths, "build", lambda: tmp_path)
    monkeypatch.setattr(chapter_page, "verdicts", lambda chapter: [])

    def leave(profile: str, figure: str = "a-figure", **parameters) -> tuple[Chapter, dict]:
        chapter = Chapter("wide_networks", profile, parameters, recorded=profile != "quick")
        told = {"name": figure, "what": "What.", "finding": f"{profile} found: 1.", "alt": f'1 "plot" of {profile}: it falls'}
        shown = {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": "<svg/>", chapter_page.FIGURE_MIME: told}}
        title = {"cell_type": "markdown", "source": "# Wide", "metadata": {}}
        notebook = {"cells": [title, code("show()", outputs=[shown])], "metadata": {}}
        (chapter.folder / "figures").mkdir(parents=True)
        (chapter.folder / "figures" / f"{figure}.svg").write_text(profile)
        (chapter.folder / f"{chapter.name}.ipynb").write_text(json.dumps(notebook))
        return chapter, notebook

    return leave


def test_a_figure_has_a_tab_for_each_profile_with_its_own_files_and_command(executed, tmp_path):
    (quick, notebook), (laptop, _) = executed("quick", width=1), executed("laptop", width=2)
    page, names = chapter_page.page(quick, notebook, [laptop])
    assert names == ["a-figure"]
    _, cell, tabs = page["cells"]
    assert not cell["outputs"] and "mystnb" not in cell["metadata"]  # the tabs show it
    of_quick, of_laptop = tabs["source"].split(":::::{tab-item} ")[1:]
    assert of_quick.startswith("quick (this page)") and of_laptop.startswith("laptop\n")
    assert ":name: a-figure" in of_quick and ":name:" not in of_laptop  # one target of references
    assert r':alt: "1 \"plot\" of laptop: it falls"' in of_laptop and "laptop found" in of_laptop
    for profile, text in (("quick", of_quick), ("laptop", of_laptop)):
        assert f"figures/{profile}/a-figure.csv" in text and f"PROFILE={profile}" in text
    for chapter in (quick, laptop):
        chapter_page.lay(chapter, tmp_path / "stage")
        assert (tmp_path / "stage" / "chapters" / "figures" / chapter.profile / "a-figure.svg").read_text() == chapter.profile


def test_without_another_profile_that_shows_it_a_figure_has_no_tabs(executed):
    quick, notebook = executed("quick", width=1)
    same, _ = executed("laptop", width=1)  # the same parameters: nothing to compare
    other, _ = executed("paper", "another-figure", width=2)
    page, _ = chapter_page.page(quick, notebook, [same, other])
    _, cell, made = page["cells"]
    assert cell["metadata"]["mystnb"]["figure"]["name"] == "a-figure" and cell["outputs"]
    assert "tab-set" not in made["source"] and "figures/quick/a-figure.csv" in made["source"]


def test_the_numbers_of_a_paper_stand_beside_ours(monkeypatch):
    claims = [
        {"id": "a", "statement": "It falls.", "published": "0.6 (a larger one)"},
        {"id": "b", "statement": "It rises."},
        {"id": "c", "statement": "It stays.", "published": "1"},
    ]
    of_mnist = {"setting": {"dataset": "mnist"}, "estimate": 0.5, "low": 0.4, "high": 0.6, "n": 5}
    otherwise = {**of_mnist, "estimate": 0.9, "reading": {"pooling": "pooled"}}
    undefined = {"setting": {"dataset": "digits"}, "undefined": 2, "n": 3}
    monkeypatch.setattr(chapter_page, "_claims", lambda chapter: claims)
    text = chapter_page._published(
        Chapter("wide_networks", "quick", {}), {"a": {"parts": [of_mnist, otherwise, undefined]}, "b": {"parts": []}}
    )
    assert text.splitlines()[4:] == [
        "| It falls. | 0\\.6 \\(a larger one\\) | MNIST: 0.5 [0.4, 0.6], n\u00a0=\u00a05; digits: undefined for 2 of 5 |"
    ]
    assert "None known" in chapter_page._published(Chapter("wide_networks", "quick", {}), {"b": {"parts": []}})


def test_the_first_picture_comes_first_and_the_rest_of_the_opening_after_it(executed, monkeypatch):
    quick, notebook = executed("quick")
    monkeypatch.setattr(chapter_page.questions, "answering", lambda name: [])
    notebook["cells"][0]["source"] = "# Wide\n\nIn one paragraph.\n\n## Question\n\nWhy?"
    page, names = chapter_page.page(quick, notebook)
    assert names == ["a-figure"]
    assert [cell["source"] for cell in page["cells"] if cell["cell_type"] == "markdown"][::2] == [
        "# Wide\n\nIn one paragraph.",
        "## Question\n\nWhy?",
    ]
    assert page["cells"][1]["cell_type"] == "code"
