"""The page of a chapter: one block of parameters with the values used, folded code, and links that lead somewhere."""

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


def test_sources_are_copies_in_the_site_or_files_of_the_repository_at_a_commit(monkeypatch, tmp_path):
    chapter = Chapter("wide_networks", "quick", {})
    assert sources.link(chapter, "experiment") == "{download}`Experiment <sources/wide_networks/experiment.py>`"
    sources.copy(chapter, tmp_path)
    assert {p.name for p in (tmp_path / "sources" / "wide_networks").iterdir()} == {"wide_networks.ipynb", "experiment.py"}
    monkeypatch.setattr(sources, "repository", lambda: "https://example.org/book")
    monkeypatch.setattr(sources, "_here", lambda: "c" * 40)
    link = sources.link(chapter, "experiment")
    assert link == f"[Experiment](https://example.org/book/blob/{'c' * 40}/ncbook/chapters/wide_networks/experiment.py)"


def test_the_command_names_profile_record_and_changed_seeds():
    assert chapter_page.command(Chapter("wide_networks", "quick", {"seeds": 5})) == "make figure-wide_networks PROFILE=quick"
    assert chapter_page.command(Chapter("wide_networks", "quick", {"seeds": 3})).endswith("PROFILE=quick SEEDS=3")
    assert "FROM=record" in chapter_page.command(Chapter("wide_networks", "laptop", {}, recorded=True))
