"""The ledger: all claims with their verdicts, generated from what the executed chapters left: a table, full entries, CSV and JSON."""

import csv
import html
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ncbook import paths
from ncbook.chapters import entries
from ncbook.claims.power import Power, power
from ncbook.claims.rule import CONTRADICTED, INCONCLUSIVE, SUPPORTED
from ncbook.claims.text import MARKS, by_setting, estimate_text, readings_text, setting_text, share_text, test_text, typeset
from ncbook.escape import code, markdown
from ncbook.publish import interval, notebooks
from ncbook.publish.execute import Chapter, verdicts

FALSE_RATE = 0.025  # one-sided: how often the rule calls a claim on its threshold supported, and how often contradicted
KINDS = {  # what stands before the entries of each kind
    "claim": "",
    "control": "\n---\n\n**Controls**: settings in which the answer must be the other one, or the instrument is at fault.\n\n",
    "check": "\n---\n\n**Checks of the code**: nothing that a network can do would make them fail, so that they are not counted.\n\n",
}


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

    @property
    def kind(self) -> str:
        """``claim``, ``control`` or ``check``; claims alone are counted."""
        return self.claim.get("kind", "claim")


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


def counted(found: Sequence[Judged]) -> Counter:
    """How often each verdict was passed on a claim; controls and checks are not claims."""
    return Counter(one.word for one in found if one.kind == "claim")


def pages(requested: Sequence[Chapter], beside: Sequence[Chapter] = ()) -> dict[str, str]:
    """The generated Markdown by name: ``ledger``, a table of one row a claim, then every claim in full, folded by chapter."""
    found = judged(requested, beside)
    text = raw(_table([one for one in found if one.kind == "claim"])) + "\n## Each claim in full\n" if found else ""
    for chapter in requested:
        of_chapter = [one for one in found if one.chapter == chapter]
        if of_chapter:
            counts = counts_text(counted(of_chapter))
            text += f"\n:::::{{dropdown}} {markdown(notebooks.title(chapter.name))}: {counts}\n:animate: fade-in\n\n"
            text += f"[To the chapter](chapters/{chapter.name}).\n\n"
            for kind, heading in KINDS.items():
                if listed := [_full(one, of_chapter) for one in of_chapter if one.kind == kind]:
                    text += heading + "\n".join(listed)
            text += "\n:::::\n"
    return {"ledger": text + _chance([one for one in found if one.kind == "claim"])}


def tables(requested: Sequence[Chapter], beside: Sequence[Chapter] = ()) -> dict[str, str]:
    """The ledger as files to download, by name: ``claims.csv``, one row a setting, and ``claims.json``, one object a claim."""
    listed = []
    for one in judged(requested, beside):
        listed.append(
            {
                "id": one.claim["id"],
                "chapter": one.chapter.name,
                "profile": one.chapter.profile,
                "kind": one.kind,
                "control_of": list(one.claim.get("of", [])),
                **{field: one.claim[field] for field in ("statement", "source", "evidence", "figure")},
                "published": one.claim.get("published"),
                "test": test_text(one.claim),
                "verdict": one.word,
                "reason": one.verdict["reason"],
                "power": asdict(found) if (found := _power(one)) else None,
                "other_profiles": dict(one.others),
                "settings": [{key: _finite(value) for key, value in part.items()} for part in one.verdict["parts"]],
            }
        )
    fields = ["estimate", "low", "high", "n", "undefined"]
    whole = ["id", "chapter", "profile", "kind", "statement", "source", "evidence", "figure", "test", "verdict", "reason"]
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
    caption = f"<caption>{len(found)} claims: {counts_text(counted(found))}</caption>"
    return f'<table class="nc-claims">{caption}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _row(one: Judged, title: str, source: str) -> str:
    parts, each = one.verdict["parts"], by_setting(one.verdict)
    declared = [part for part in parts if "reading" not in part]
    share = each.count("supported") / len(each) if len(each) > 1 else ""
    decided = f"{each.count('supported')} of {len(each)} settings" if share != "" else estimate_text(parts[0]) if parts else ""
    figure = f' <a class="nc-to-figure" href="chapters/{shown(one.chapter.name)}.html#{shown(one.claim["figure"])}">figure</a>'
    cells = [
        f'<td><a href="#claim-{shown(one.claim["id"])}">{shown(one.claim["statement"])}</a></td>',
        f'<td><span class="nc-verdict nc-{one.word.replace(" ", "-")}">{MARKS[one.word]} {shown(one.word)}</span></td>',
        f'<td data-value="{share}">{shown(decided or "–")}{interval.svg(one.claim, declared)}{figure}</td>',
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


def _full(one: Judged, of_chapter: Sequence[Judged]) -> str:
    claim, verdict = one.claim, one.verdict
    share = "; ".join(filter(None, (share_text(verdict, claim.get("combine", "all")), readings_text(verdict))))
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
        *(line for line in (_guard(claim), _controls(one, of_chapter), _power_text(one), _published(one)) if line),
    ]
    if verdict.get("changed"):
        lines += [f"**Changed since the record:** {verdict['changed']}.", ""]
    if verdict["reason"]:
        lines += [f"Not measured: {markdown(verdict['reason'])}.", ""]
    if verdict["parts"]:
        lines += [
            f"| setting | estimate [95% interval] | shaded: {test_text(claim)} | this setting alone |",
            "|---|---|---|---|",
            *(_setting(claim, part, verdict["parts"]) for part in verdict["parts"]),
            "",
        ]
    return "\n".join(lines)


def _setting(claim: dict, part: dict, parts: Sequence[dict]) -> str:
    drawing = interval.svg(claim, [part], parts)
    return f"| {markdown(setting_text(part))} | {estimate_text(part)} | {drawing} | {part.get('verdict', '–')} |"


def _guard(claim: dict) -> str:
    return f"*Undefined unless:* {claim['guard']}\n" if claim.get("guard") else ""


def _controls(one: Judged, of_chapter: Sequence[Judged]) -> str:
    """The controls of a claim with their verdicts, or the claims that a control is of."""
    if one.kind == "control":
        return "*Control of:* " + ", ".join(f"[{name}](#claim-{name})" for name in one.claim["of"]) + ".\n"
    controls = [other for other in of_chapter if one.claim["id"] in other.claim.get("of", [])]
    said = [
        f"[{other.claim['statement']}](#claim-{other.claim['id']}) {MARKS[other.word]} {other.word}"
        + ("" if other.word == "supported" else ", **so that the verdict above is not to be relied on**")
        for other in controls
    ]
    return f"*Control{'s' * (len(said) > 1)}:* " + "; ".join(said) + ".\n" if said else ""


def _published(one: Judged) -> str:
    """The number that a paper gives, beside which the estimates of the table stand; only a claim of a paper can have one."""
    if one.kind != "claim" or one.claim["evidence"] == "ours":
        return ""
    return f"*Published:* {one.claim.get('published', 'no number that we know of, only the statement.')}\n"


def _power(one: Judged) -> Power | None:
    return power(one.claim, [part for part in one.verdict["parts"] if "reading" not in part])


def _power_text(one: Judged) -> str:
    """What the rule can tell about a claim with the seeds and the noise that it has."""
    if (found := _power(one)) is None:
        return ""
    return (
        f"*Power:* with the seeds and the noise of this run, a claim that is true with {typeset(f'{found.effect:g}')} in every setting is "
        f"called supported in {found.power:.0%} of repetitions. One on its threshold is called supported in {found.false_support:.1%} and "
        f"contradicted in {found.false_contradiction:.1%} (simulated with the rule).\n"
    )


def _chance(found: Sequence[Judged]) -> str:
    """How many of the claims that were judged the rule could get wrong, either way."""
    decided = [one for one in found if one.word in (SUPPORTED, CONTRADICTED, INCONCLUSIVE)]
    wrong = f"at most about {FALSE_RATE * len(decided):.1f}"
    return (
        f"\n## How many of these could be luck\n\n{len(decided)} claims were judged. If every one of them were false and lay exactly on "
        f"its threshold, the rule would call {wrong} of them supported; if every one were true, and as near to it, it would call {wrong} "
        "contradicted. What it cannot see is a quantity that is wrong on average: that is what the controls are for.\n"
    )
