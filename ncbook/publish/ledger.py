"""The ledger: all claims with their verdicts, generated from what the executed chapters left: a table, full entries, CSV and JSON."""

import csv
import html
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ncbook import paths
from ncbook.chapters import entries
from ncbook.claims.text import MARKS, estimate_text, setting_text, test_text
from ncbook.escape import code, markdown
from ncbook.publish import notebooks
from ncbook.publish.execute import Chapter, verdicts

FALSE_RATE = 0.025  # one-sided: how often the rule calls a claim on its threshold supported


@dataclass(frozen=True)
class Judged:
    """A claim, the chapter that judged it, its verdict there, and those of the same chapter under other profiles: (profile, verdict)."""

    claim: dict
    chapter: Chapter
    verdict: dict
    others: list[tuple[str, str]]

    @property
    def word(self) -> str:
        return self.verdict["verdict"]


def claim_ids(names) -> list[str]:
    """The ids of the claims that the chapters `names` test."""
    return [entry["id"] for entry in entries() if entry["chapter"] in names]


def judged(requested: Sequence[Chapter], beside: Sequence[Chapter] = ()) -> list[Judged]:
    """The claims of the chapters `requested`, in their order, with their verdicts.

    The chapters `beside` are the same ones under other profiles: their verdicts stand next to the main one.
    """
    others: dict[str, list[tuple[str, str]]] = {}
    for chapter in beside:
        for verdict in verdicts(chapter):
            others.setdefault(verdict["id"], []).append((chapter.profile, verdict["verdict"]))
    found = []
    for chapter in requested:
        of_chapter = {verdict["id"]: verdict for verdict in verdicts(chapter)}
        claims = [entry for entry in entries(chapter.name) if entry["id"] in of_chapter]
        found += [Judged(claim, chapter, of_chapter[claim["id"]], others.get(claim["id"], [])) for claim in claims]
    return found


def pages(requested: Sequence[Chapter], beside: Sequence[Chapter] = ()) -> dict[str, str]:
    """The generated Markdown by name: ``ledger``, a table of one row a claim, then every claim in full, folded by chapter."""
    found = judged(requested, beside)
    text = raw(_table(found)) if found else ""
    for chapter in requested:
        of_chapter = [one for one in found if one.chapter == chapter]
        if of_chapter:
            counts = counts_text(Counter(one.word for one in of_chapter))
            text += f"\n:::::{{dropdown}} {markdown(notebooks.title(chapter.name))}: {counts}\n:animate: fade-in\n\n"
            text += f"[To the chapter](chapters/{chapter.name}).\n\n" + "\n".join(map(_full, of_chapter)) + "\n:::::\n"
    return {"ledger": text + _chance(len(found))}


def tables(requested: Sequence[Chapter], beside: Sequence[Chapter] = ()) -> dict[str, str]:
    """The ledger as files to download, by name: ``claims.csv``, one row a setting, and ``claims.json``, one object a claim."""
    listed = []
    for one in judged(requested, beside):
        listed.append(
            {
                "id": one.claim["id"],
                "chapter": one.chapter.name,
                "profile": one.chapter.profile,
                **{field: one.claim[field] for field in ("statement", "source", "evidence", "figure")},
                "test": test_text(one.claim),
                "verdict": one.word,
                "reason": one.verdict["reason"],
                "other_profiles": dict(one.others),
                "settings": [{key: _finite(value) for key, value in part.items()} for part in one.verdict["parts"]],
            }
        )
    fields = ["estimate", "low", "high", "n", "undefined"]
    whole = ["id", "chapter", "profile", "statement", "source", "evidence", "figure", "test", "verdict", "reason"]
    sheet = io.StringIO()
    rows = csv.writer(sheet, lineterminator="\n")
    rows.writerow([*whole, "setting", "verdict_of_setting", *fields])
    for claim in listed:
        for part in claim["settings"] or [{}]:
            own = [setting_text(part) if part else "", part.get("verdict", ""), *(part.get(field, "") for field in fields)]
            rows.writerow([*(claim[field] for field in whole), *own])
    return {"claims.csv": sheet.getvalue(), "claims.json": json.dumps(listed, indent=1, ensure_ascii=False) + "\n"}


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value  # JSON knows neither NaN nor infinity


def counts_text(counts: Counter) -> str:
    """Verdicts counted, in words.

    >>> counts_text(Counter({"contradicted": 1, "supported": 3}))
    '3 supported, 1 contradicted'
    """
    return ", ".join(f"{counts[word]} {word}" for word in MARKS if counts[word])


def share_text(verdict: dict) -> str:
    """Of a claim that was judged in several settings, how many of these support it by themselves; nothing where there was one.

    >>> share_text({"parts": [{"verdict": "supported"}, {"verdict": "inconclusive"}]})
    '1 of 2 settings supports it'
    """
    alone = _alone(verdict)
    support = alone.count("supported")
    return f"{support} of {len(alone)} settings support{'s' * (support == 1)} it" if len(alone) > 1 else ""


def _alone(verdict: dict) -> list[str]:
    return [part["verdict"] for part in verdict["parts"] if "verdict" in part]  # a setting that could not be measured has none


def raw(text: str) -> str:
    """HTML as a block of Markdown. What it shows has to be escaped (`shown`)."""
    return f"``````{{raw}} html\n{text}\n``````\n"


def shown(value: object) -> str:
    """A text as HTML that shows it letter by letter, and that cannot end the block of Markdown around it.

    >>> shown("<b> `x`")
    '&lt;b&gt; &#96;x&#96;'
    """
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(str(value).split()))
    return html.escape(line).replace("`", "&#96;")


# the columns of the table, and how their cells are ordered
COLUMNS = {"claim": "text", "verdict": "text", "in support, or estimate": "value", "source": "text", "profile": "text"}


def _table(found: list[Judged]) -> str:
    """One row a claim; the script of the site makes it sortable and filterable, and without it everything is there to read."""
    head = "".join(f'<th scope="col" data-sort="{kind}">{name}</th>' for name, kind in COLUMNS.items())
    titles = {one.chapter.name: notebooks.title(one.chapter.name) for one in found}
    sources = _sources()
    body = "\n".join(_row(one, titles[one.chapter.name], sources.get(one.claim["source"], one.claim["source"])) for one in found)
    caption = f"<caption>{len(found)} claims: {counts_text(Counter(one.word for one in found))}</caption>"
    return f'<table class="nc-claims">{caption}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _row(one: Judged, title: str, source: str) -> str:
    parts, alone = one.verdict["parts"], _alone(one.verdict)
    share = alone.count("supported") / len(alone) if len(alone) > 1 else ""
    decided = f"{alone.count('supported')} of {len(alone)} settings" if share != "" else estimate_text(parts[0]) if parts else ""
    cells = [
        f'<td><a href="#claim-{shown(one.claim["id"])}">{shown(one.claim["statement"])}</a></td>',
        f'<td><span class="nc-verdict nc-{one.word.replace(" ", "-")}">{MARKS[one.word]} {shown(one.word)}</span></td>',
        f'<td data-value="{share}">{shown(decided or "–")}</td>',
        f"<td>{shown(source)}, {shown(one.claim['evidence'])}</td>",
        f"<td>{', '.join([shown(one.chapter.profile), *(_mark(one.word, *other) for other in one.others)])}</td>",
    ]
    return f'<tr data-verdict="{shown(one.word)}" data-chapter="{shown(title)}">{"".join(cells)}</tr>'


def _sources() -> dict[str, str]:
    """The papers by their keys, as one speaks of them: ``Hui et al. 2022``."""
    from pybtex.database import parse_file
    from pybtex.exceptions import PybtexError
    from pybtex.richtext import Text

    names: dict[str, str] = {}
    try:
        references = parse_file(str(paths.root() / "book" / "references.bib")).entries
    except PybtexError:  # none there, or none that can be read: the build of the pages says what is wrong with it
        return names
    for key, entry in references.items():
        authors = [" ".join([*person.prelast_names, *person.last_names]) for person in entry.persons.get("author", [])]
        said = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} et al."
        names[key] = str(Text.from_latex(f"{said} {entry.fields.get('year', '')}"))
    return names


def _mark(word: str, profile: str, other: str) -> str:
    """``quick ✘``: the verdict of another profile, in bold where it contradicts the main one."""
    mark = f'{shown(profile)} <span title="{shown(other)}">{MARKS[other]}</span>'
    return f"<strong>{mark}</strong>" if {word, other} == {"supported", "contradicted"} else mark


def _full(one: Judged) -> str:
    claim, verdict = one.claim, one.verdict
    share = share_text(verdict)
    lines = [
        f"(claim-{claim['id']})=",
        f"**{MARKS[one.word]} {claim['statement']}** [#](#claim-{claim['id']})",
        "",
        (
            f"**{one.word.capitalize()}**{f': {share},' * bool(share)} in the profile {code(one.chapter.profile)}; "
            f"see {{numref}}`{claim['figure']}`. Source: {{cite:t}}`{claim['source']}` ({claim['evidence']})."
            + "".join(f" In {code(profile)} it is {MARKS[mark]} {mark}." for profile, mark in one.others)
        ),
        "",
        f"*Measured:* {claim['measures']} *Test:* {test_text(claim)}"
        + {"all": ", in every setting.", "any": ", in at least one setting (Holm's correction)."}[claim.get("combine", "all")],
        "",
        f"*Why this threshold:* {claim['why']}",
        "",
    ]
    if verdict.get("changed"):
        lines += [f"**Changed since the record:** {verdict['changed']}.", ""]
    if verdict["reason"]:
        lines += [f"Not measured: {markdown(verdict['reason'])}.", ""]
    if verdict["parts"]:
        lines += [
            "| setting | estimate [95% interval] | this setting alone |",
            "|---|---|---|",
            *(f"| {markdown(setting_text(p))} | {estimate_text(p)} | {p.get('verdict', '–')} |" for p in verdict["parts"]),
            "",
        ]
    return "\n".join(lines)


def _chance(count: int) -> str:
    return (
        f"\n## How many of these could be luck\n\nThe ledger holds {count} claims. If every one of them were false and lay exactly on its "
        f"threshold, the rule would still call about {FALSE_RATE * count:.2f} of them supported.\n"
    )
