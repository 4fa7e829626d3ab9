"""Verify: train a profile again in a clean place and compare every cell with the record.

Three classes of tolerance. On the same stack (processor, its instruction set, torch): **exact**, digit for digit. On another processor: a
**band** for each column, ten times the largest difference that another instruction set made when the record was made. On another kind of
device, where rounding differs in every step, and where no band was measured: the **intervals** of the claims must overlap. So they must where
rounding alone sends a network elsewhere, and the band of a column is so wide that no number would be outside.
"""

import html
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from ncbook import paths, records, sealed, trust
from ncbook.claims import registry
from ncbook.errors import InputError
from ncbook.execute import Chapter
from ncbook.sweeps import Run, SweepError, finish
from ncbook.sweeps import read as finished
from ncbook.sweeps.key import canonical
from ncbook.sweeps.pool import time_limit

FACTOR = 10  # of the largest difference seen between two instruction sets
WIDE = 0.25  # a share of what a column's numbers span: a band that allows more tells nothing
# Another processor, as far as this one can play it: the next narrower instruction set, in PyTorch's own kernels and in the two libraries that it calls.
NARROWER = {
    "AVX512": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
STACK = ["device", "torch", "machine", "cpu", "cpu_capability", "gpu"]
COUNTS = ("error", "accuracy")  # shares of images: never compared by ratio


@dataclass
class Compared:
    """One table against its record: how it was compared, and what did not hold."""

    chapter: str
    table: str
    by: str  # exact, band, intervals or both; run where one failed, checksum where a file was edited
    cells: int
    largest: str = ""  # the largest difference that was seen, in words
    misses: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "MISS" if self.misses else "exact" if not self.largest else f"within its {self.by}"


def verify(asked: list[Chapter], *, jobs: int | None = None) -> list[Compared]:
    """Train the profile again, away from the cache, and compare each table of each chapter with its record."""
    found = {chapter.name: records.read_as_it_is(chapter.profile, chapter.name) for chapter in asked}
    planned = {chapter.name: records.planned(chapter.name, chapter.parameters) for chapter in asked}
    results = []
    with elsewhere(f"verify-{asked[0].profile}"):
        everything, failed = [run for tables in planned.values() for runs in tables.values() for run in runs], {}
        try:
            finish(everything, jobs=jobs, timeout=time_limit(everything))
        except SweepError as error:
            failed = {run.key: message for run, message, _ in error.failures}
        for name, tables in planned.items():
            for table, runs in tables.items():
                if lost := [f"{_setting(run)}: {failed[run.key]}" for run in runs if run.key in failed]:
                    results.append(Compared(name, table, "run", 0, misses=lost))
                else:
                    results.append(_compare(found[name], name, table, runs, finished(runs)))
    for name, record in found.items():
        for file in record.edited:
            results.append(
                Compared(name, file, "checksum", 0, misses=[f"{file} was edited after it was recorded: its checksum does not hold"])
            )
    return results


def bands(chapter: str, profile: str, parameters: dict, *, repetitions: int, jobs: int | None = None) -> dict[str, dict[str, float]]:
    """How far another instruction set moves each column of each table: the first `repetitions` of each setting, trained once more.

    Columns of positive numbers are compared in decades, others (and shares of images) as they are. Without repetitions, or where this
    processor has nothing narrower to offer, there are no bands, and another processor is compared by the claims' intervals.
    """
    if not repetitions:
        return {}
    tables = records.held(chapter, profile, parameters)
    some = {name: _first(runs, repetitions) for name, runs in tables.items()}
    here = {name: finished(runs) for name, runs in some.items()}
    sets = {info["cpu_capability"] for table in here.values() for info in table.attrs["runs"]}
    again = [run for runs in some.values() for run in runs]
    if len(sets) > 1 or not sets <= set(NARROWER) or again[0].device != "cpu":
        return {}
    with elsewhere(f"bands-{chapter}", NARROWER[sets.pop()]):
        try:
            finish(again, jobs=jobs, timeout=time_limit(again))
        except SweepError as error:
            raise InputError(f"{chapter}, under a narrower instruction set: {error}") from error
        there = {name: finished(runs) for name, runs in some.items()}
    return {name: _differences(some[name], here[name], there[name]) for name in tables}


@contextmanager
def elsewhere(name: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    """A cache of runs of its own, empty at the start and gone at the end, and the workers' environment changed."""
    place = paths.build() / "elsewhere" / name
    shutil.rmtree(place, ignore_errors=True)
    paths.writable(place)
    changes = {**(environment or {}), "NCBOOK_RUNS": str(place)}
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
        shutil.rmtree(place, ignore_errors=True)


def _first(runs: list[Run], repetitions: int) -> list[Run]:
    """The first runs of each setting: those that differ in their seed or layout only are one setting."""
    kept, seen = [], {}
    for run in runs:
        setting = json.dumps({k: v for k, v in run.parameters.items() if k not in ("seed", "layout")}, sort_keys=True)
        seen[setting] = seen.get(setting, 0) + 1
        if seen[setting] <= repetitions:
            kept.append(run)
    return kept


def _compare(record: records.Record, chapter: str, table: str, runs: list[Run], fresh: pd.DataFrame) -> Compared:
    recorded = record.table(runs)
    pairs = zip(recorded.attrs["runs"], fresh.attrs["runs"], strict=True)
    stacks = [([was.get(k) for k in STACK], [now.get(k) for k in STACK]) for was, now in pairs]
    if all(was == now for was, now in stacks):
        return _cells(Compared(chapter, table, "exact", 0), runs, recorded, fresh, {})
    known = record.provenance["tables"][table]["bands"]
    if not known or any(was[0] != "cpu" or now[0] != "cpu" for was, now in stacks):
        return _intervals(Compared(chapter, table, "intervals", 0), table, chapter, recorded, fresh)
    result = Compared(chapter, table, "band", 0)
    if loose := _loose(_expanded(recorded), known):
        result = _intervals(result, table, chapter, recorded, fresh)
        result.by = "band and intervals"
    return _cells(result, runs, recorded, fresh, known, without=loose)


def _loose(recorded: pd.DataFrame, known: dict[str, float]) -> set[str]:
    """The columns whose band allows for more than a quarter of what their numbers span."""
    found = set()
    for column in known.keys() & set(recorded.columns):  # a record that was edited may lack one: that is said elsewhere
        values, band = recorded[column].dropna().astype(float), known[column]
        values = np.log10(values) if _positive(column, recorded[column]) else values
        if not FACTOR * band <= WIDE * (values.max() - values.min()):
            found.add(column)
    return found


def _cells(
    result: Compared,
    runs: list[Run],
    recorded: pd.DataFrame,
    fresh: pd.DataFrame,
    known: dict[str, float],
    *,
    without: Collection[str] = (),
) -> Compared:
    """Compare cell by cell but for the columns `without`; a column that has no band must be equal."""
    exact, worst = result.by == "exact", (0.0, "")
    recorded, fresh = _expanded(recorded), _expanded(fresh)
    if list(recorded.columns) != list(fresh.columns):
        odd = sorted(set(recorded.columns) ^ set(fresh.columns))
        result.misses.append(f"the columns differ: {', '.join(odd) or 'their order'}")
        return result
    for run, was, now in _by_run(runs, recorded, fresh):
        if not exact:
            was, now = _same_epochs(was, now)
        if len(was) != len(now):
            result.misses.append(f"{_setting(run)}: {len(was)} rows recorded, {len(now)} here")
            continue
        result.cells += was.size - len(was) * len(set(without))
        for column in was.columns.difference(list(without), sort=False):
            a, b = was[column].to_numpy(), now[column].to_numpy()
            gap = _gap(column, a, b, positive=_positive(column, recorded[column]))
            allowed = 0.0 if exact else FACTOR * known.get(column, 0.0)
            at = int(np.argmax(gap))
            if gap[at] > allowed:
                result.misses.append(f"{_setting(run)}, {_row(was.iloc[at])}: {column} recorded {a[at]!s}, here {b[at]!s}")
            elif gap[at] > worst[0]:
                worst = (gap[at], f"{column}: recorded {a[at]:.6g}, here {b[at]:.6g}")
    result.largest = "; ".join(filter(None, [worst[1], result.largest]))
    return result


def _differences(runs: list[Run], here: pd.DataFrame, there: pd.DataFrame) -> dict[str, float]:
    """The largest gap of each column over the rows that both have."""
    here, there = _expanded(here), _expanded(there)
    largest: dict[str, float] = {}
    for _, was, now in _by_run(runs, here, there):
        was, now = _same_epochs(was, now)
        for column in was.columns if len(was) == len(now) else []:
            if pd.api.types.is_numeric_dtype(here[column]):
                gap = _gap(column, was[column].to_numpy(), now[column].to_numpy(), positive=_positive(column, here[column]))
                if np.isfinite(gap.max()) and gap.max() > 0:
                    largest[column] = max(largest.get(column, 0.0), float(f"{gap.max():.3g}"))
    return largest


def _same_epochs(was: pd.DataFrame, now: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the epochs that both have: where the terminal phase begins an epoch sooner or later, each has rows of its own."""
    if "epoch" not in was:
        return was, now
    return was[was["epoch"].isin(now["epoch"])], now[now["epoch"].isin(was["epoch"])]


def _expanded(table: pd.DataFrame) -> pd.DataFrame:
    """A text that holds several numbers, such as a spectrum, as a column a number: they have a distance, texts have none."""
    for column in table.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]]:
        parts = table[column].astype(str).str.split(expand=True)
        if parts.shape[1] > 1:
            with suppress(ValueError):
                numbers = parts.astype(float)
                table = table.drop(columns=column).join(numbers.rename(columns=lambda i, name=column: f"{name} {i + 1}"))
    return table


def _by_run(runs: list[Run], first: pd.DataFrame, second: pd.DataFrame) -> Iterator[tuple[Run, pd.DataFrame, pd.DataFrame]]:
    """The rows of each run in two tables that hold them run after run."""
    names = list(runs[0].parameters)
    keys = [[repr(row) for row in t[names].itertuples(index=False, name=None)] for t in (first, second)]
    parts = [dict(list(t.groupby(np.array(key), sort=False))) for t, key in zip((first, second), keys, strict=True)]
    empty = [first.iloc[:0], second.iloc[:0]]
    order = list(dict.fromkeys([*keys[0], *keys[1]]))
    if len(order) != len(runs):  # a parameter itself was edited in the record: its rows belong to no run
        runs = [None] * len(order)
    for run, key in zip(runs, order, strict=True):
        yield run or key, parts[0].get(key, empty[0]), parts[1].get(key, empty[1])


def _positive(column: str, values: pd.Series) -> bool:
    return pd.api.types.is_float_dtype(values) and not any(word in column for word in COUNTS) and bool((values.dropna() > 0).all())


def _gap(column: str, a: np.ndarray, b: np.ndarray, *, positive: bool) -> np.ndarray:
    """How far two columns are apart, row by row: 0 where equal (nothing against nothing as well), infinite where there is no distance."""
    same = (a == b) | (pd.isna(a) & pd.isna(b))
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return np.where(same, 0.0, np.inf)
    with np.errstate(all="ignore"):
        distance = np.abs(np.log10(a.astype(float)) - np.log10(b.astype(float))) if positive else np.abs(a.astype(float) - b.astype(float))
    return np.where(same, 0.0, np.where(np.isfinite(distance), distance, np.inf))


def _intervals(result: Compared, table: str, chapter: str, recorded: pd.DataFrame, fresh: pd.DataFrame) -> Compared:
    """Compare what the claims say of the two tables: the interval of each setting."""
    for claim in (c for c in registry.load() if c.chapter == chapter and c.table == table):
        was, now = (registry.judge_claim(claim, rows, "verify").parts for rows in (recorded, fresh))
        for a, b in zip(was, now, strict=True):
            result.cells += 1
            if "low" in a and "low" in b and (a["low"] > b["high"] or b["low"] > a["high"]):
                result.misses.append(
                    f"{claim.id}, {a['setting']}: recorded [{a['low']:.3g}, {a['high']:.3g}], here [{b['low']:.3g}, {b['high']:.3g}]"
                )
    result.largest = "another device or processor" if result.by == "intervals" else "columns that rounding moves: by the claims' intervals"
    return result


def _setting(run: Run | str) -> str:
    if isinstance(run, str):
        return "a run whose parameters the profile does not have"
    return ", ".join(f"{k}={v}" for k, v in run.parameters.items() if k in ("dataset", "model", "loss", "seed", "layout")) or str(run)


def _row(row: pd.Series) -> str:
    named = [n for n in ("epoch", "split", "layer", "activation", "pooling", "frame", "probe", "noise", "scale") if n in row]
    return ", ".join(f"{name} {row[name]}" for name in named) or f"row {row.name}"


def write_report(results: list[Compared], profile: str) -> None:
    """Leave the report as ``report.json`` and ``report.html`` in ``book/_build/verify/<profile>/``; the book's page of trust shows it."""
    folder = paths.writable(paths.build() / "verify" / profile)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    rows = [{**asdict(result), "verdict": result.verdict} for result in results]
    held = not any(result.misses for result in results)
    report = {"profile": profile, "when": when, "holds": held, "tables": canonical({"rows": rows})["rows"]}
    report |= trust.verified_now(profile, sorted({result.chapter for result in results}))
    (folder / "report.json").write_text(sealed.seal(report), encoding="utf-8")
    cells = "".join(
        f"<tr><td>{html.escape(r.chapter)}</td><td>{html.escape(r.table)}</td><td>{r.verdict}</td><td>{r.cells:,}</td>"
        f"<td>{html.escape('; '.join(r.misses[:20]) or r.largest)}</td></tr>"
        for r in results
    )
    (folder / "report.html").write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Verification</title>"
        "<style>body{font:16px system-ui;margin:2em}td,th{padding:.3em 1em;text-align:left;border-bottom:1px solid #ccc}</style>"
        f"<h1>Verification of {html.escape(profile)}, {when}</h1><p>{'Every table holds.' if held else 'Some tables do not hold.'}</p>"
        f"<table><tr><th>chapter<th>table<th>verdict<th>cells<th>what differs</tr>{cells}</table></html>\n",
        encoding="utf-8",
    )
