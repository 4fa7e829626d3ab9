"""The opening page: the score, a card a chapter and how to cite, generated from the verdicts and from what the book says of itself."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from ncbook import chapters, paths
from ncbook.claims.text import MARKS, verdict_text
from ncbook.escape import markdown
from ncbook.publish import film, notebooks, questions, sources, trust
from ncbook.publish.execute import Chapter
from ncbook.publish.ledger import Judged, counted, counts_text, judged, raw, shown
from ncbook.version import __version__

MEANING = {
    "supported": "the whole interval lies on the claimed side of the threshold",
    "contradicted": "the whole interval lies on the other side",
    "inconclusive": "the threshold lies inside the interval",
    "exploratory": "three or four seeds only, so nothing is judged",
    "not measured": "undefined for some seed, or not tested under this profile",
}
THUMBNAIL = (480, 270)  # pixels


def pages(requested: Sequence[Chapter], thumbnails: dict[str, str]) -> dict[str, str]:
    """The generated Markdown by name: ``score``, ``cards`` (with the picture of each chapter, by name) and ``cite``."""
    found = judged(requested)
    cards = [_card(chapter, [one for one in found if one.chapter == chapter], thumbnails.get(chapter.name)) for chapter in requested]
    return {
        "score": raw(_score(found)) + "\n" + _scale(requested) + "\n",
        "cards": _chapters(requested) + raw('<div class="nc-cards">\n' + "\n".join(cards) + "\n</div>"),
        "cite": _cite(requested),
    }


def thumbnails(requested: Sequence[Chapter], folder: Path) -> dict[str, str]:
    """Draw the pictures of the cards in `folder`, the first panel of each chapter's key figure; their file names by chapter."""
    from PIL import Image, ImageOps

    drawn = {}
    for chapter in requested:
        source = chapter.folder / "figures" / f"{_figure(chapter)}.panel.png"
        if not source.is_file():  # a chapter whose first claim names none, or that judges nothing
            continue
        with Image.open(source) as picture:
            panel = ImageOps.pad(picture.convert("RGB"), THUMBNAIL, color="white", method=Image.Resampling.LANCZOS)
        folder.mkdir(parents=True, exist_ok=True)
        panel.save(folder / f"{chapter.name}.webp", quality=80)
        drawn[chapter.name] = f"{chapter.name}.webp"
    return drawn


def _figure(chapter: Chapter) -> str | None:
    answering = questions.answering(chapter.name)
    return answering[0]["figure"] if answering else None


def _score(found: list[Judged]) -> str:
    counts = counted(found)
    boxes = [
        f'<li class="nc-{word.replace(" ", "-")}"><b>{counts[word]}</b> <span>{MARKS[word]} {word}</span><small>{meaning}</small></li>'
        for word, meaning in MEANING.items()
        if counts[word] or word != "exploratory"
    ]
    first = f"<li><b>{counts.total()}</b> <span>claims</span><small>each written before it was tested</small></li>"
    return f'<ul class="nc-score">{first}{"".join(boxes)}</ul>'


def _chapters(requested: Sequence[Chapter]) -> str:
    """How many chapters judge, and which one only shows."""
    shows = (
        f"; [{markdown(notebooks.title(film.CHAPTER))}](chapters/{film.CHAPTER}) only shows" if film.CHAPTER in notebooks.names() else ""
    )
    return f"{len(requested)} chapter{' judges' if len(requested) == 1 else 's judge'} claims{shows}.\n\n"


def _scale(requested: Sequence[Chapter]) -> str:
    """The profiles behind the score, the largest one first, and whether the scale of the papers was run."""
    known = chapters.profiles()
    used = Counter(chapter.profile for chapter in requested)
    ordered = sorted(used, key=lambda name: known.index(name) if name in known else -1, reverse=True)
    listed = ", ".join(f"**{markdown(name)}** in {used[name]} of {len(requested)} chapters" for name in ordered)
    at_scale = sum(used[name] for name in ordered if name in known and "paper" in known and known.index(name) >= known.index("paper"))
    missing = len(requested) - at_scale
    of_them = f" in {missing} of them" if at_scale else ""
    unrun = f" **The papers' own scale has not been run{of_them}**: these are small networks on small images." if missing else ""
    return f"Behind the score, by {{term}}`profile`: {listed}.{unrun} Every number is in the [ledger](ledger.md).\n"


def _card(chapter: Chapter, found: list[Judged], picture: str | None) -> str:
    title = shown(notebooks.title(chapter.name))
    question = shown(questions.question(chapter.name))
    counts = counted(found)
    by_id = {one.claim["id"]: one for one in found}
    answers = "".join(_answer(by_id[entry["id"]]) for entry in questions.answering(chapter.name) if entry["id"] in by_id)
    size = f'width="{THUMBNAIL[0]}" height="{THUMBNAIL[1]}"'
    image = f'<img loading="lazy" src="_static/cards/{picture}" alt="First panel of the key figure of: {title}" {size}>'
    head = f'<h3><a href="chapters/{shown(chapter.name)}.html">{question or title}</a></h3>'
    under = f'<p class="nc-title">{title}</p>' if question else ""
    short = shown(questions.in_short(chapter.name, {name: one.word for name, one in by_id.items()}))
    said = f'<p class="nc-short">{short}</p>' if short else ""
    listed = f"<ul>{answers}</ul>" if answers else ""
    return f'<section class="nc-card">{image if picture else ""}{head}<div>{under}{said}{listed}{bar(counts)}</div></section>'


def _answer(one: Judged) -> str:
    _, _, share = verdict_text(one.verdict, one.claim.get("combine", "all")).partition(": ")
    link = f"ledger.html#claim-{shown(one.claim['id'])}"
    return (
        f'<li><a class="nc-verdict nc-{one.word.replace(" ", "-")}" href="{link}">{MARKS[one.word]} {one.word.capitalize()}</a>'
        f"{f' ({shown(share)})' * bool(share)}: {shown(one.claim['statement'])}</li>"
    )


def bar(counts: Counter) -> str:
    """Verdicts as a bar, whose parts are as long as there are claims, with the numbers in words under it."""
    parts = "".join(f'<i class="nc-{word.replace(" ", "-")}" style="flex-grow:{counts[word]}"></i>' for word in MARKS if counts[word])
    total = sum(counts.values())
    return (
        f'<div class="nc-bar" aria-hidden="true">{parts}</div><p class="nc-counts">{total} claims: {counts_text(counts)}</p>'
        if total
        else ""
    )


def _cite(requested: Sequence[Chapter]) -> str:
    path = paths.root() / "CITATION.cff"
    said = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    site = yaml.safe_load((paths.root() / "_config.yml").read_text(encoding="utf-8"))
    authors = " and ".join(f"{{{person.get('name') or person['family-names']}}}" for person in said.get("authors", []))
    fields = {
        "title": f"{{{said.get('title', site['title'])}}}",
        "author": authors or f"{{{site['author']}}}",
        "year": str(said.get("date-released", site["copyright"]))[:4],
        "version": __version__,
        "url": said.get("repository-code") or sources.repository(),
    }
    entry = "@software{ncbook,\n" + "".join(f"  {key:<8}= {{{value}}},\n" for key, value in fields.items() if value) + "}"
    links = [f"[{name}]({address})" for name, address in _addresses().items()]
    return (
        f"```bibtex\n{entry}\n```\n\n"
        f"Version {__version__}. Text CC-BY-4.0, code MIT. {' · '.join([*links, '[how to reproduce](reproduce.md)'])}\n\n"
        f"*Last verification.* {trust.last_verification(requested)}\n"
    )


def _addresses() -> dict[str, str]:
    """Where the repository is and where to report, as far as ``_config.yml`` says so."""
    url = sources.repository()
    return {"repository": url, "report an issue": f"{url}/issues"} if url else {}
