"""From an executed notebook to the page of its chapter: a first screen, all code folded, the parameters that were used, and beside each
figure what it was made from.

The notebook keeps the order in which it runs; the page puts question, answer and key figure first.
"""

import ast
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ncbook import chapters
from ncbook.claims.text import MARKS, estimate_text, setting_text, typeset, verdict_text
from ncbook.errors import InputError
from ncbook.escape import code, markdown
from ncbook.publish import front, launch, outputs, questions, sources
from ncbook.publish.execute import Chapter, verdicts
from ncbook.publish.ledger import raw

FIGURE_MIME = "application/vnd.ncbook.figure+json"  # as figures.show writes it; importing it from there would load matplotlib
TWIN_MIME, VEGA_MIME = "application/vnd.ncbook.twin+json", "application/vnd.vegalite.v5+json"  # likewise, figures.interactive
MANY = 6  # numbers: a caption with more of them is not read, so that they move into a fold below it
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
FOLDS = ("hide-input", "hide-cell", "remove-cell", "remove-input")


def page(chapter: Chapter, notebook: dict, beside: Sequence[Chapter] = ()) -> tuple[dict, list[str]]:
    """The notebook of a chapter's page, from the executed one, and the names of the figures on it.

    `beside` are the same chapter under other profiles: where they have a figure too, it has a tab for each. An `InputError` names the cell
    whose output must not be published.
    """
    outputs.check(notebook["cells"], chapter.name)
    cells = _with_the_parameters_used(notebook["cells"])
    judged = {verdict["id"]: verdict for verdict in verdicts(chapter)}
    answering = questions.answering(chapter.name)
    key = answering[0]["figure"] if answering else None
    others = [(other, _figures(other)) for other in beside if other.name == chapter.name and other.parameters != chapter.parameters]
    listed, first, names = [], [], []
    for cell in cells:
        twin = _twin(cell)
        if cell["cell_type"] == "code":
            _fold(cell, "remove-input" if twin else None)
        if name := _captioned(chapter, cell, judged):
            if tabs := [(other, of_other[name]) for other, of_other in others if name in of_other]:
                with_it = [_without_figure(cell), _markdown(f"made-{name}", _tabs([(chapter, cell), *tabs]))]
            else:
                with_it = [cell, _markdown(f"made-{name}", _beside(chapter, cell))]
            names.append(name)
            key = key or name
            if name == key:
                first = with_it
                listed.append(_markdown(f"see-{name}", f"{{numref}}`{name}` is at the top of this page."))
            else:
                listed += with_it
        else:
            (first if twin and twin == key else listed).append(cell)
        if cell["cell_type"] == "code" and "chapter.judge(" in "".join(cell["source"]):
            told = not any(f"# {BESIDE}" in "".join(cell["source"]) for cell in cells)  # a chapter may tell it itself
            texts = {"profiles": _profiles(chapter, judged, beside), "published": _published(chapter, judged) if told else ""}
            listed += [_markdown(name, text) for name, text in texts.items() if text]
    if text := launch.text(chapter.name):
        listed.append(_markdown("launch", text))
    if judged or first:
        title, *texts = "".join(listed[0]["source"]).split("\n\n")
        if judged:
            texts.insert(0, _answer(chapter, [judged[entry["id"]] for entry in answering if entry["id"] in judged], judged))
        opening = [_markdown("first-screen", "\n\n".join([title, *texts[:1]])), *first]
        listed[:1] = [*opening, *[_markdown("opening", "\n\n".join(texts[1:]))] * (len(texts) > 1)]
    return {**notebook, "metadata": _without(notebook["metadata"]), "cells": [_tidy(cell) for cell in listed]}, names


def _markdown(name: str, text: str) -> dict:
    return {"cell_type": "markdown", "id": name[:64], "metadata": {}, "source": text}


def _without(metadata: dict) -> dict:
    return {key: value for key, value in metadata.items() if key not in ("papermill", "execution")}


def _tidy(cell: dict) -> dict:
    """Without what differs between two runs of the same notebook (times, ids of papermill), so that nothing is rebuilt for it; a text that
    a cell gives is a sentence, and not Python's quotation of it."""
    tidy = {**cell, "metadata": _without(cell["metadata"])}
    return tidy | {"outputs": [_sentence(output) for output in cell["outputs"]]} if "outputs" in cell else tidy


def _sentence(output: dict) -> dict:
    shown = "".join(output.get("data", {}).get("text/plain", ""))
    if output.get("output_type") != "execute_result" or set(output["data"]) != {"text/plain"} or shown[:1] not in ("'", '"'):
        return output
    try:
        text = str(ast.literal_eval(shown))
    except (SyntaxError, ValueError):  # the word of an object for itself
        return output
    return {**output, "data": {"text/markdown": markdown(text if text.endswith((".", "?", "!")) else f"{text}.")}}


def _with_the_parameters_used(cells: list[dict]) -> list[dict]:
    """The cells, with one block of parameters instead of two: the declared lines, comments and all, each with the value that was used."""
    injected = [cell for cell in cells if "injected-parameters" in cell["metadata"].get("tags", [])]
    given = {name: ast.unparse(node.value) for cell in injected for name, node in _assigned("".join(cell["source"]))}
    kept = []
    for cell in cells:
        if "parameters" in cell["metadata"].get("tags", []):
            lines: list[str | None] = list("".join(cell["source"]).split("\n"))
            for name, node in _assigned("".join(cell["source"])):
                if name in given:
                    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
                    tail = str(lines[last]).encode()[node.end_col_offset :].decode()
                    lines[first : last + 1] = [f"{name} = {given[name]}{tail}", *[None] * (last - first)]
            cell = {**cell, "source": "\n".join(line for line in lines if line is not None)}
        if cell not in injected:
            kept.append(cell)
    return kept


def _assigned(source: str) -> list[tuple[str, ast.Assign]]:
    """The names that lines of Python assign to, each with its assignment."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return [(node.targets[0].id, node) for node in nodes if isinstance(node.targets[0], ast.Name)]


def _fold(cell: dict, instead: str | None = None) -> None:
    """Fold a cell's code away, and its output too where that is the source of an experiment; or tag it otherwise."""
    tags = [tag for tag in cell["metadata"].get("tags", []) if tag not in FOLDS]
    shown = "".join("".join(output.get("data", {}).get("text/markdown", "")) for output in cell.get("outputs", []))
    fold = instead or ("hide-cell" if shown.startswith("```python") else "hide-input")
    cell["metadata"] = {**cell["metadata"], "tags": [*tags, fold]}


# --- the first screen -------------------------------------------------------------------------------------------------------------------


def _answer(chapter: Chapter, answering: list[dict], judged: dict[str, dict]) -> str:
    """Question, answer and the bar of verdicts, in Markdown."""
    entries = {entry["id"]: entry for entry in chapters.entries(chapter.name)}
    lines = [f"- {MARKS[v['verdict']]} {entries[v['id']]['statement']} **{_upper(_said(entries[v['id']], v))}.**" for v in answering]
    counts = Counter(judged[entry["id"]]["verdict"] for entry in _claims(chapter) if entry["id"] in judged)
    question = questions.question(chapter.name)
    short = questions.in_short(chapter.name, {name: verdict["verdict"] for name, verdict in judged.items()})
    return "\n".join(
        [
            f"**{question}** {short}\n" * bool(question),
            *lines,
            "",
            raw(front.bar(counts)),
            "",
            f"In the {{term}}`profile` {code(chapter.profile)}; [how to read a verdict](#how-to-read-a-verdict).",
        ]
    )


def _claims(chapter: Chapter) -> list[dict]:
    """The entries that are counted: neither controls nor checks."""
    return [entry for entry in chapters.entries(chapter.name) if entry.get("kind", "claim") == "claim"]


def _said(claim: dict, verdict: dict) -> str:
    return verdict_text(verdict, claim.get("combine", "all"))


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _profiles(chapter: Chapter, judged: dict[str, dict], beside: Sequence[Chapter]) -> str:
    """Where the verdicts under other profiles differ from those of the page, in Markdown; nothing without other profiles."""
    claims = {entry["id"]: entry for entry in _claims(chapter)}
    text = []
    for other in (one for one in beside if one.name == chapter.name):
        theirs = {v["id"]: v for v in verdicts(other) if v["id"] in judged and v["id"] in claims}
        both = [name for name, v in theirs.items() if "not measured" not in (v["verdict"], judged[name]["verdict"])]
        apart = [name for name in both if theirs[name]["verdict"] != judged[name]["verdict"]]
        line = (
            f"Of {len(both)} claims that both profiles judge, {code(other.profile)} and {code(chapter.profile)} agree on "
            f"{len(both) - len(apart)}"
        )
        text += [f"**Beside the profile {code(other.profile)}.** {line}{'. They differ on these:' if apart else '.'}", ""]
        if apart:
            text += [f"| claim | {code(chapter.profile)} | {code(other.profile)} |", "|---|---|---|"]
            for name in apart:
                text.append(f"| {claims[name]['statement']} | {_said(claims[name], judged[name])} | {_said(claims[name], theirs[name])} |")
            text.append("")
    return "\n".join(text)


BESIDE = "Published beside reproduced"


def _published(chapter: Chapter, judged: dict[str, dict]) -> str:
    """The numbers that the papers give, each beside ours, in Markdown; that none is known, where none is."""
    known = [claim for claim in _claims(chapter) if claim.get("published") and claim["id"] in judged]
    if not known:
        none = "None known: the sources' statements are judged above, and we know no number of theirs that could stand beside ours."
        return f"### {BESIDE}\n\n{none}"
    rows = [f"| {claim['statement']} | {markdown(claim['published'])} | {_ours(judged[claim['id']])} |" for claim in known]
    return "\n".join([f"### {BESIDE}", "", "| claim | published | here |", "|---|---|---|", *rows])


def _ours(verdict: dict) -> str:
    """The estimates of a verdict, one a setting."""
    parts = [part for part in verdict["parts"] if "reading" not in part]
    return "; ".join(f"{markdown(setting_text(part))}: {estimate_text(part)}" if len(parts) > 1 else estimate_text(part) for part in parts)


# --- figures ----------------------------------------------------------------------------------------------------------------------------


def cell_figure(cell: dict) -> str | None:
    """The name of the figure that a cell shows."""
    return next((o["data"][FIGURE_MIME]["name"] for o in cell.get("outputs", []) if FIGURE_MIME in o.get("data", {})), None)


def caption(cell: dict, claims: Sequence[dict] = (), judged: dict | None = None) -> str | None:
    """Move the caption and alt text that `figures.show` left in a cell's output to where Jupyter Book reads them; the figure's name.

    The caption begins with what was found: the finding, or where that is many numbers the verdicts on the figure's `claims`; the numbers
    are then left in the cell's metadata, as ``numbers``.
    """
    shown = [o["data"] for o in cell.get("outputs", []) if FIGURE_MIME in o.get("data", {})]
    if not shown:
        return None
    if len(shown) > 1:
        raise InputError("a notebook cell shows two figures; give each a cell of its own, since caption and alt text belong to a cell.")
    figure = shown[0].pop(FIGURE_MIME)
    many = len(NUMBER.findall(figure["finding"])) > MANY
    found = _found(claims, judged or {}) if many else figure["finding"]
    cell["metadata"]["numbers"] = figure["finding"] if many else ""
    cell["metadata"]["mystnb"] = {
        "image": {"alt": figure["alt"], "width": "100%"},
        "figure": {"name": figure["name"], "caption": " ".join(markdown(typeset(text)) for text in (found, figure["what"]) if text)},
    }
    return figure["name"]


def _found(claims: Sequence[dict], judged: dict[str, dict]) -> str:
    """What the verdicts say of the claims that a figure is about."""
    parts = [f"{claim['statement'].rstrip('.')}: {_said(claim, judged[claim['id']])}." for claim in claims if claim["id"] in judged]
    count = len(parts) - 2
    more = f" {count} more {'claim rests' if count == 1 else 'claims rest'} on this figure." if count > 0 else ""
    return " ".join(parts[:2]) + more


def _twin(cell: dict) -> str | None:
    """The name of the figure that a cell shows the interactive twin of; the twin is left as HTML alone."""
    name = None
    for output in cell.get("outputs", []):
        name = output.get("data", {}).pop(TWIN_MIME, {}).get("figure", name)
        output.get("data", {}).pop(VEGA_MIME, None)
    return name


def _captioned(chapter: Chapter, cell: dict, judged: dict) -> str | None:
    """`caption` with the claims that the cell's figure is about."""
    return caption(cell, claims=[e for e in chapters.entries(chapter.name) if e["figure"] == cell_figure(cell)], judged=judged)


def _figures(chapter: Chapter) -> dict[str, dict]:
    """The cells of an executed chapter that show a figure, captioned, by the figure's name."""
    executed = json.loads((chapter.folder / f"{chapter.name}.ipynb").read_text(encoding="utf-8"))
    outputs.check(executed["cells"], chapter.name)
    judged = {verdict["id"]: verdict for verdict in verdicts(chapter)}
    return {name: cell for cell in executed["cells"] if (name := _captioned(chapter, cell, judged))}


def _without_figure(cell: dict) -> dict:
    """A cell of code alone: its figure is shown by the tabs that follow."""
    metadata = {name: value for name, value in cell["metadata"].items() if name not in ("mystnb", "numbers")}
    kept = [output for output in cell["outputs"] if "image/svg+xml" not in output.get("data", {})]
    return {**cell, "metadata": metadata, "outputs": kept}


def _tabs(of_profiles: list[tuple[Chapter, dict]]) -> str:
    """A figure under several profiles, each with what it was made from, in tabs; those of a page turn together. The first is the page's."""
    lines = ["::::::{tab-set}", ":sync-group: profile", ""]
    for number, (chapter, cell) in enumerate(of_profiles):
        main = chapter == of_profiles[0][0]
        about = cell["metadata"]["mystnb"]
        name, said = about["figure"]["name"], about["figure"]["caption"]
        lines += [f":::::{{tab-item}} {markdown(chapter.profile)}{' (this page)' * main}", f":sync: profile-{number}", ""]
        lines += [f":::{{{'figure' if main else 'image'}}} {_files(chapter, cell)}.svg", *[f":name: {name}"] * main]
        lines += [f":alt: {json.dumps(about['image']['alt'], ensure_ascii=False)}", ":width: 100%"]
        lines += ["", said, ":::"] if main else [":::", "", ":::{container} nc-caption", said, ":::"]
        lines += ["", _beside(chapter, cell), ":::::", ""]
    return "\n".join([*lines, "::::::"])


def _files(chapter: Chapter, cell: dict) -> str:
    """The files of a figure beside a page, without their suffix."""
    return f"{_folder(chapter)}/{cell['metadata']['mystnb']['figure']['name']}"


def _folder(chapter: Chapter) -> str:
    return f"figures/{chapter.profile}"


def _beside(chapter: Chapter, cell: dict) -> str:
    """What stands below a figure: its data and pictures, the notebook and the experiment that made it, and the command for it."""
    files = [f"{{download}}`{kind.upper()} <{_files(chapter, cell)}.{kind}>`" for kind in ("csv", "svg", "png")]
    made_by = [sources.link(chapter, kind) for kind in sources.KINDS]
    lines = [":::{container} nc-made", f"{' · '.join([*files, *made_by])}", "", f"```bash\n{command(chapter)}\n```", ":::"]
    if numbers := cell["metadata"].pop("numbers"):
        entries = [f"- {markdown(typeset(part))}" for part in numbers.rstrip(".").split("; ")]
        lines += ["", ":::{dropdown} The numbers of this figure", *entries, ":::"]
    return "\n".join(lines)


def command(chapter: Chapter) -> str:
    """What makes a chapter's figures again as they are on the page.

    >>> command(Chapter("wide_networks", "laptop", {}, recorded=True))
    'make figure-wide_networks PROFILE=laptop FROM=record  # without FROM=record it trains anew'
    """
    text = f"make figure-{chapter.name} PROFILE={chapter.profile}"
    if chapter.recorded:
        return f"{text} FROM=record  # without FROM=record it trains anew"
    usual = _usual_seeds(chapter)
    seeds = chapter.parameters.get("seeds", usual)
    return text if seeds == usual else f"{text} SEEDS={seeds}"


def _usual_seeds(chapter: Chapter) -> int | None:
    from ncbook.publish.parameters import parameters

    return parameters(chapter.name, chapter.profile, {}).get("seeds") if chapter.profile in chapters.profiles() else None


def lay(chapter: Chapter, stage: Path) -> None:
    """Lay the files that a chapter's page links to where its links find them: figures, and its sources where the book has no repository."""
    not_linked = shutil.ignore_patterns("*.panel.png")
    shutil.copytree(chapter.folder / "figures", stage / "chapters" / _folder(chapter), ignore=not_linked, dirs_exist_ok=True)
    sources.copy(chapter, stage / "chapters")
