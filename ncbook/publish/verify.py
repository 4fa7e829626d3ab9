"""Verify: train a profile again in a clean place, or where asked to take what is in the cache, and compare it with the record, cell by cell
and verdict by verdict.

What a table is compared by follows from what this machine can do, never from what the record says of itself:

- **exact**: every cell is the same, digit for digit. So it is wherever the instruction set can be chosen (`ncbook.settings`).
- **rounding**: another processor has the last digits otherwise, and training makes more of them. The same runs are trained here under the
  other instruction sets too, and the record may be no further away than they drive a cell of its kind (`ncbook.publish.compare`).
- **spread**: where nothing can be measured, as on a GPU or on a machine with one instruction set, and where a record of another device is
  further away than rounding drives it: each column as a whole, against its spread over seeds, and the cells before training. This is
  weaker, and is counted and named so; a strict verification fails it.

A record that names this very processor and these versions must be exact. Before the profile, each chapter's *short* runs are compared, so
short that rounding cannot grow: a changed formula, data set or training step shows there on any processor.
"""

import html
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace

from ncbook import chapters, paths, settings
from ncbook.errors import InputError
from ncbook.publish import records, sealed, trust
from ncbook.publish.compare import Difference, exactly, in_words, within
from ncbook.publish.execute import Chapter
from ncbook.publish.parameters import parameters
from ncbook.publish.verdicts import changed_claims, deciding, difference, judged, plain
from ncbook.runs.digest import canonical
from ncbook.runs.plan import Table, finished
from ncbook.runs.pool import finish
from ncbook.runs.run import Run, SweepError, missing, time_limit

STACK = ["device", "torch", "numpy", "scipy", "scikit_learn", "machine", "cpu", "cpu_capability", "gpu", "stacked"]  # what rounds alike
WEAKER = "spread"


@dataclass
class Compared:
    """One table against its record, or what else of a chapter was compared: by what, and what did not hold."""

    chapter: str
    profile: str
    table: str
    # exact, rounding or spread; run where one failed, record where there is none, checksum where a file was edited, provenance where it
    # says what is not so, claims
    by: str
    cells: int
    largest: str = ""  # the largest difference that was seen, in words
    misses: list[str] = field(default_factory=list)
    reused: int = 0  # of its runs, those that were in the cache before

    @property
    def verdict(self) -> str:
        return "MISS" if self.misses else {"rounding": "within rounding", WEAKER: "within its spread (weaker)"}.get(self.by, "exact")

    @property
    def is_weaker(self) -> bool:
        return self.by == WEAKER


def verify(requested: list[Chapter], *, jobs: int | None = None, reuse: bool = False) -> list[Compared]:
    """Train the short runs and the profile again, away from the cache, and compare each table of each chapter with its record.

    With `reuse` the profile's runs, also those that tell what rounding does, are those of the cache, as far as they are there.
    """
    short = [replace(chapter, profile=chapters.SHORT, parameters=parameters(chapter.name, chapters.SHORT)) for chapter in requested]
    results = []
    for group in (short, requested):
        present, lacking = [], []
        for chapter in group:
            (present if records.exists(chapter.profile, chapter.name) else lacking).append(chapter)
        results += [_no_record(chapter) for chapter in lacking]
        results += _compared(present, jobs=jobs, reuse=reuse and group is requested)
    return results


def _no_record(chapter: Chapter) -> Compared:
    why = f"there is no record of {chapter.name} under the profile {chapter.profile}; `make record PROFILE={chapter.profile}` makes one"
    return Compared(chapter.name, chapter.profile, "–", "record", 0, misses=[why])


def _compared(requested: list[Chapter], *, jobs: int | None, reuse: bool) -> list[Compared]:
    """The chapters' tables against their records: exactly, and where that does not hold by what rounding does."""
    if not requested:
        return []
    on_record = {chapter.name: records.read_as_it_is(chapter.profile, chapter.name) for chapter in requested}
    plans = {
        c.name: records.planned_short(c.name) if c.profile == chapters.SHORT else records.planned(c.name, c.parameters) for c in requested
    }
    planned = {(name, table): runs for name, of_chapter in plans.items() for table, runs in of_chapter.items()}
    place = None if reuse else f"verify-{requested[0].profile}"
    reused = _held(planned, settings.instruction_set()) if reuse else Counter()
    fresh, failed = _trained(planned, settings.instruction_set(), place, jobs=jobs)
    profile, results, apart = requested[0].profile, {}, {}
    for (name, table), runs in planned.items():
        here = name, table
        if here in failed:
            results[here] = Compared(name, profile, table, "run", 0, misses=failed[here])
            continue
        recorded = on_record[name].table(runs)
        exact = exactly(runs, recorded.rows, fresh[here].rows)
        results[here] = _result(name, table, profile, "exact", exact)
        if exact.misses and not _one_stack(recorded, fresh[here]):
            apart[here] = recorded
    measured: list[dict[tuple, Table]] = []
    for way in _other_ways(requested[0], apart):
        again = {here: planned[here] for here in apart}
        reused += _held(again, way) if reuse else Counter()
        tables, broken = _trained(again, way, place and f"{place}-{way}", jobs=jobs)
        if broken:
            raise InputError(f"under the instruction set {way} runs failed: {'; '.join(next(iter(broken.values())))}")
        measured.append(tables)
        results |= {
            here: _by_rounding(planned[here], apart[here], fresh[here], [t[here] for t in measured], requested[0], here) for here in apart
        }
        if not any(results[here].misses for here in apart):
            break  # a further instruction set could only allow for more
    for here, recorded in apart.items():
        if not measured or (results[here].misses and _devices(recorded) != _devices(fresh[here])):
            results[here] = _by_rounding(planned[here], recorded, fresh[here], [], requested[0], here)
    for here, count in reused.items():
        results[here].reused = count
    edits = [
        Compared(name, profile, file, "checksum", 0, misses=[f"{file} was edited after it was recorded: its checksum does not hold"])
        for name, record in on_record.items()
        for file in record.edited
    ]
    edits += [
        Compared(c.name, profile, "provenance.json", "provenance", 0, misses=wrong)
        for c in requested
        if (wrong := records.contradictions(on_record[c.name], plans[c.name], c.parameters))
    ]
    judged = [_verdicts(record, profile) for record in on_record.values() if profile != chapters.SHORT]
    return [*results.values(), *judged, *edits]


def _result(chapter: str, table: str, profile: str, by: str, apart: Difference) -> Compared:
    return Compared(chapter, profile, table, by, apart.cells, apart.largest, apart.misses)


def _verdicts(record: records.Record, profile: str) -> Compared:
    """Whether the claims are those that were recorded, and judge the recorded tables as they did."""
    name = record.provenance["chapter"]
    changed = changed_claims(record.provenance)
    was = {verdict["id"]: verdict for verdict in record.provenance.get("verdicts", [])}
    misses = [f"{claim}: {what}" for claim, what in changed.items()]
    if deciding(name) and not record.provenance.get("claims"):
        misses.append("the record holds no claims: it is of an older kind; `make record` makes one that does")
    try:
        now = {verdict["id"]: verdict for verdict in plain(judged(name, record.tables, profile))}
    except Exception as error:  # noqa: BLE001 - whatever an edited table makes of a quantity
        return Compared(
            name, profile, "verdicts", "claims", 0, misses=[*misses, f"its tables cannot be judged ({type(error).__name__}: {error})"]
        )
    listed = [[row["id"] for row in record.provenance.get(kind, [])] for kind in ("claims", "verdicts")]
    for claim in sorted({id for ids in listed for id in ids if ids.count(id) > 1}):
        misses.append(f"{claim}: the record holds it more than once")
    for claim in sorted((was.keys() ^ now.keys()) - changed.keys() if was else ()):
        misses.append(f"{claim}: {'recorded a verdict, and none is judged' if claim in was else 'the record holds no verdict on it'}")
    for claim in was.keys() & now.keys() - changed.keys():
        if change := difference(was[claim], now[claim]):
            misses.append(f"{claim}: {change}")
    if now and not was:
        misses = ["the record holds no verdicts: it is of an older kind; `make record` makes one that does"]
    return Compared(name, profile, "verdicts", "claims", len(now), misses=misses)


def _held(planned: dict[tuple, list[Run]], instruction_set: str) -> Counter:
    """How many runs of each table the cache holds under an instruction set."""
    chosen = {here: [replace(run, instruction_set=instruction_set) for run in runs] for here, runs in planned.items()}
    lacking = {run.key for run in missing([run for runs in chosen.values() for run in runs])}
    return Counter({here: sum(run.key not in lacking for run in runs) for here, runs in chosen.items()})


def _trained(
    planned: dict[tuple, list[Run]], instruction_set: str, name: str | None, *, jobs: int | None
) -> tuple[dict[tuple, Table], dict[tuple, list[str]]]:
    """The tables of the plans, trained under an instruction set in a place of their own, or without a `name` of one in the cache, and what
    failed in the others."""
    chosen = {here: [replace(run, instruction_set=instruction_set) for run in runs] for here, runs in planned.items()}
    everything, errors = [run for runs in chosen.values() for run in runs], {}
    with away_from_the_cache(name) if name else nullcontext():
        try:
            finish(everything, jobs=jobs, timeout=time_limit(everything))
        except SweepError as error:
            errors = {run.key: message for run, message, _ in error.failures}
        failed = {
            here: [f"{in_words(run)}: {errors[run.key]}" for run in runs if run.key in errors]
            for here, runs in chosen.items()
            if any(run.key in errors for run in runs)
        }
        return {here: finished(runs) for here, runs in chosen.items() if here not in failed}, failed


def _by_rounding(
    runs: list[Run], recorded: Table, fresh: Table, measured: list[Table], chapter: Chapter, here: tuple[str, str]
) -> Compared:
    """A table against its record by what rounding does, or, where nothing was measured, by its spread over seeds."""
    apart = within(runs, recorded.rows, fresh.rows, [table.rows for table in measured], steady=chapter.profile == chapters.SHORT)
    return _result(*here, chapter.profile, "rounding" if measured else WEAKER, apart)


def _other_ways(chapter: Chapter, apart: dict[tuple, Table]) -> list[str]:
    """The instruction sets to measure rounding with: those that the runs here were not made with; none on a GPU."""
    if not apart or (chapter.profile != chapters.SHORT and settings.device() != "cpu"):
        return []
    closest_first = sorted(settings.instruction_sets(), key=["avx2", "generic", "avx512", settings.NATIVE].index)
    return [name for name in closest_first if name != settings.instruction_set()]


def _devices(table: Table) -> set[str]:
    return {info["device"] for info in table.runs}


@contextmanager
def away_from_the_cache(name: str) -> Iterator[None]:
    """A cache of runs of its own, empty at the start and gone at the end."""
    place = paths.build() / "verification" / name
    shutil.rmtree(place, ignore_errors=True)
    paths.writable(place)
    try:
        with settings.within({"NCBOOK_RUNS": str(place)}):
            yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _one_stack(recorded: Table, fresh: Table) -> bool:
    """Whether a record names this processor and these versions, so that every digit must agree. To name others is of no use to a forger."""
    pairs = zip(recorded.runs, fresh.runs, strict=True)
    return all(was.get(name) == now.get(name) for was, now in pairs for name in STACK)


def summary(results: list[Compared]) -> str:
    """How many comparisons were made by what: ``16 exact, 2 within rounding``."""
    verdicts = [result.verdict for result in results]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))


def write_report(results: list[Compared], profile: str) -> None:
    """Leave the report as ``report.json`` and ``report.html`` in ``book/_build/verify/<profile>/``; the book's page of trust shows it."""
    folder = paths.writable(paths.build() / "verify" / profile)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    rows = [{**asdict(result), "verdict": result.verdict} for result in results]
    holds = not any(result.misses for result in results)
    report = {"profile": profile, "when": when, "holds": holds, "tables": canonical({"rows": rows})["rows"]}
    report |= trust.verified_now(profile, sorted({result.chapter for result in results}))
    known = trust.reused(sum(result.reused for result in results))
    (folder / "report.json").write_text(sealed.seal(report), encoding="utf-8")
    cells = "".join(
        f"<tr><td>{html.escape(r.chapter)}</td><td>{html.escape(r.profile)}</td><td>{html.escape(r.table)}</td><td>{r.verdict}</td><td>{r.cells:,}</td>"
        f"<td>{html.escape('; '.join(r.misses[:20]) or r.largest)}</td></tr>"
        for r in results
    )
    (folder / "report.html").write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Verification</title>"
        "<style>body{font:16px system-ui;margin:2em}td,th{padding:.3em 1em;text-align:left;border-bottom:1px solid #ccc}</style>"
        f"<h1>Verification of {html.escape(profile)}, {when}</h1>"
        f"<p>{'Every table holds' if holds else 'Some tables do not hold'}: {html.escape(summary(results))}.{known}</p>"
        f"<table><tr><th>chapter<th>profile<th>table<th>verdict<th>cells<th>what differs</tr>{cells}</table></html>\n",
        encoding="utf-8",
    )
