"""How far two tables of the same runs are apart, and how far rounding can drive them: measured on this machine, never read from a record.

Processors round differently, and training makes of that what it does of any small push: nothing at first, in the end perhaps another
network. So a cell is compared with what a change of instruction set does *here* to cells of its kind at the same epoch: before training
that is some 1e-7, where a wrong formula cannot hide; after hundreds of epochs it can be a good part of the number, and then the column as a
whole counts: the middle of its differences over all runs may not be further from 0 than rounding drives it.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from ncbook.runs.run import Run

FACTOR = 5  # times the largest difference that instruction sets made here
# of a number, or of a column's largest where it has both signs: some thousand roundings of float32, a fifth of a wrong x 1.001
FLOOR = 2e-4
PRINTED = 1.1e-2  # of a number that a text holds with three digits
NOTHING = 1e-6  # of a spectrum's largest: below it the numbers are float32's rounding alone
FLIPS = 0.05  # a share of an epoch's cells in a column of counts: images at a decision boundary that no measurement moved across it
BEFORE = 2e-2  # of a number before training, on another device: a GPU's shorter floats
# at least, of what single networks may do that no measurement saw, such as to fit the last image an epoch later: a factor of two, or as
# much of a column's largest. Wrong formulas show before training, in the short runs, and in the middle over runs
CHAOS = 0.3
POPS = 0.4  # a share of an epoch's runs: networks that rounding drove over an edge (a maximum, a rectifier) there and in no measurement
SHIFT = 6  # standard errors of the middle of a column's differences over runs
COUNTS = ("error", "accuracy", "mismatch")  # shares of images: never compared by ratio
TIME = ("epoch", "step", "scale")  # along which a run goes on
PARSED = re.compile(r" \d+$")  # the name of a column that `_numbers` made of a text
IN_WORDS = (
    "epoch",
    "step",
    "split",
    "layer",
    "activation",
    "pooling",
    "frame",
    "probe",
    "noise",
    "scale",
    "matrix",
)  # tell rows of a run apart


@dataclass
class Difference:
    """Two tables, compared: how many cells, the largest difference that was allowed, in words, and what does not hold."""

    cells: int = 0
    largest: str = ""
    misses: list[str] = field(default_factory=list)


def exactly(runs: list[Run], recorded: pd.DataFrame, fresh: pd.DataFrame) -> Difference:
    """Compare two tables of `runs` cell by cell, digit for digit."""
    difference = _columns_differ(recorded, fresh)
    if difference.misses:
        return difference
    for run, (was, now) in _by_run(runs, [recorded, fresh]):
        if len(was) != len(now):
            difference.misses.append(f"{in_words(run)}: {len(was)} rows recorded, {len(now)} here")
            continue
        difference.cells += was.size
        for column in was.columns:
            a, b = was[column].to_numpy(), now[column].to_numpy()
            differ = ~((a == b) | (pd.isna(a) & pd.isna(b)))
            if differ.any():
                at = int(differ.argmax())
                difference.misses.append(f"{in_words(run)}, {_row(was.iloc[at])}: {column} recorded {a[at]!s}, here {b[at]!s}")
    return difference


def within(
    runs: list[Run], recorded: pd.DataFrame, fresh: pd.DataFrame, others: Sequence[pd.DataFrame], *, steady: bool = False
) -> Difference:
    """Compare two tables of `runs` by what rounding does: `others` are the same runs, trained here under other instruction sets.

    Where runs are `steady`, too short to go apart, every cell counts. Without `others` only cells before training are compared one by one,
    and the middle of each column's differences with its spread over seeds.
    """
    recorded, fresh, *others = (_numbers(table) for table in (recorded, fresh, *others))
    difference = _columns_differ(recorded, fresh)
    if difference.misses:
        return difference
    aligned, places = _aligned(runs, [recorded, fresh, *others], difference)
    was, now, *others = (table.astype(dict.fromkeys(table.select_dtypes(bool), int)) for table in aligned)  # a flag is a count of one
    kinds = {column: "fixed" if column in runs[0].parameters else _kind(column, now[column]) for column in was.columns if len(places)}
    apart = {c: [_gap(kind, other[c], now[c]) for other in others] for c, kind in kinds.items()}
    # how far single networks of this table go here: on the recording machine another one may have gone as far
    farthest = [_finite(apart[c]).max() / _unit(k, now[c]) for c, k in kinds.items() if others and k != "fixed"]
    chaos = 0.0 if steady else max(CHAOS, *farthest, 0.0)
    worst = 0.0
    for column, kind in kinds.items():
        difference.cells += len(was)
        if kind != "fixed" and not pd.api.types.is_numeric_dtype(was[column]):  # a run's whole column is read as text for one cell
            numbers = pd.to_numeric(was[column], errors="coerce")
            if (text := numbers.isna() & was[column].notna()).any():
                difference.misses.append(f"{column}: recorded {was[column][text].iloc[0]!s} where numbers stand here")
                continue
            was[column] = numbers
        gap, allowed = _gap(kind, was[column], now[column]), np.zeros(len(was))
        if kind != "fixed":
            floor = _floor(kind, now[column])
            unit = _unit(kind, now[column])
            trained = np.where((places["time"] > 0) & (not steady), np.inf, BEFORE * unit)
            of_none = (was[column].isna() != now[column].isna()).to_numpy()
            allowed = _allowed(gap, of_none, apart[column], now[column], places, floor, chaos * unit) if others else trained
            if shift := _shifted(kind, was[column], now[column], [other[column] for other in others], places, floor):
                difference.misses.append(f"{column}: {shift}")
        for at in np.flatnonzero(gap > allowed):
            a, b = was[column].iloc[at], now[column].iloc[at]
            difference.misses.append(f"{places.words[at]}, {_row(was.iloc[at])}: {column} recorded {a!s}, here {b!s}")
        if worst < gap.max() < np.inf:
            worst, at = gap.max(), int(gap.argmax())
            difference.largest = f"{column}: recorded {was[column].iloc[at]:.6g}, here {now[column].iloc[at]:.6g}"
    return difference


def _allowed(
    gap: np.ndarray, of_none: np.ndarray, apart: list[np.ndarray], values: pd.Series, places: pd.DataFrame, floor: float, chaos: float
) -> np.ndarray:
    """How far each cell may be from the record: `FACTOR` times what instruction sets do to its like, and a floor for rounding.

    A few networks of an epoch may be further, by as much as `chaos`, but none before training. Cells `of_none` are a number on one side and
    nothing on the other, such as the beginning of a phase, which a network reaches or not.
    """
    measured = _finite(apart)
    if not measured.any() and pd.api.types.is_integer_dtype(values):
        return np.zeros(len(values))
    group = places["group"].to_numpy()  # of rows that are alike and of one time, numbered by what they are alike to, then by time
    largest = np.zeros(group.max() + 1)
    np.maximum.at(largest, group, measured)
    for begin, end in pairwise([*np.unique(places["begins"]), len(largest)]):
        largest[begin:end] = np.maximum.accumulate(largest[begin:end])  # what has once gone apart may stay so
    allowed = FACTOR * largest[group] + floor
    if (nowhere := ~np.isfinite(apart).all(axis=0)).any():  # instruction sets have it here too
        allowed[of_none & np.isin(group, group[nowhere])] = np.inf
    if not (gap > allowed).any():
        return allowed
    most, counted = max(FACTOR * measured.max(), chaos) + floor, _counted(values)
    most = np.where(of_none & bool(chaos and values.isna().any()), np.inf, most)  # of each cell: two numbers are compared as ever
    times, of_run = places["time"].to_numpy(), places["run"].to_numpy()
    for time in np.unique(times[gap > allowed]):
        rows = np.flatnonzero(times == time)
        over = rows[gap[rows] > allowed[rows]]
        runs_over, runs = of_run[over], of_run[rows]
        if counted and len(over) <= max(1, FLIPS * len(rows)):
            allowed[over] = np.minimum(gap[over], np.maximum(most[over], 2 * _quantum(values)))
        elif time > 0 and chaos and len(np.unique(runs_over)) <= max(1, POPS * len(np.unique(runs))):
            allowed[over] = np.minimum(gap[over], most[over])
    return allowed


def _shifted(kind: str, was: pd.Series, now: pd.Series, others: list[pd.Series], places: pd.DataFrame, floor: float) -> str | None:
    """What is wrong with a column as a whole: the middle of its differences over runs is further from 0 than rounding drives it."""
    of_run = [_means(_distance(kind, values, now), places["run"].to_numpy()) for values in (was, *others)]
    if len(of_run[0]) < 2:
        return None
    if others:
        size = max(float(np.sqrt(np.mean(d**2))) for d in of_run[1:])
    else:  # nothing is known of rounding: as if it drew the seeds anew
        size = float(np.sqrt(2)) * _over_seeds(kind, now, places)
    flips = 2 * FLIPS * _quantum(now) if kind == "plain" and _counted(now) else 0.0
    shift, allowed = abs(float(np.median(of_run[0]))), SHIFT * size / np.sqrt(len(of_run[0])) + floor + flips
    if shift <= allowed:
        return None
    unit = "" if kind == "plain" else " decades"
    return f"in the middle of {len(of_run[0])} runs {shift:.3g}{unit} from the record; rounding explains {allowed:.3g}"


def _means(values: np.ndarray, run: np.ndarray) -> np.ndarray:
    """The mean of each run's values; runs that have none are left out."""
    there = ~np.isnan(values)
    count, total = np.bincount(run[there]), np.bincount(run[there], values[there])
    return total[count > 0] / count[count > 0]


def _over_seeds(kind: str, values: pd.Series, places: pd.DataFrame) -> float:
    """Root mean square over settings of a column's standard deviation over seeds, each seed its mean."""
    numbers = values.to_numpy(dtype=float)
    of_run = pd.Series(numbers if kind == "plain" else np.log10(numbers)).groupby([places["setting"], places["run"]]).mean()
    spread = of_run.groupby(level=0).var(ddof=1).dropna()
    return float(np.sqrt(spread.mean())) if len(spread) else 0.0


def _kind(column: str, values: pd.Series) -> str:
    """``fixed`` (the same everywhere), ``positive`` and ``printed`` (compared in decades) or ``plain`` (as it is)."""
    if not pd.api.types.is_numeric_dtype(values):
        return "fixed"
    if pd.api.types.is_integer_dtype(values) and values.nunique() <= 1:
        return "fixed"
    if PARSED.search(column) and (values.dropna() >= 0).all():
        return "printed"  # the last of a spectrum may be printed as 0
    if any(word in column for word in COUNTS) or not pd.api.types.is_float_dtype(values) or not (values.dropna() > 0).all():
        return "plain"
    return "positive"


def _finite(apart: list[np.ndarray]) -> np.ndarray:
    """The largest distance of each row that is one."""
    return np.max([np.where(np.isfinite(a), a, 0.0) for a in apart], axis=0)


def _unit(kind: str, values: pd.Series) -> float:
    """The distance that counts as one: a decade, or a column's largest number."""
    return float(np.nanmax(np.abs(values.to_numpy(dtype=float)), initial=0.0)) or 1.0 if kind == "plain" else 1.0


def _floor(kind: str, values: pd.Series) -> float:
    """What rounding may do in any case, in the unit of the column's gaps."""
    return FLOOR * _unit(kind, values) if kind == "plain" else float(np.log10(1 + (PRINTED if kind == "printed" else FLOOR)))


def _distance(kind: str, a: pd.Series, b: pd.Series) -> np.ndarray:
    """a - b, in decades where the column is positive; 0 for nothing against nothing, nan for a number against nothing."""
    a, b = a.to_numpy(dtype=float), b.to_numpy(dtype=float)
    if kind == "printed":
        a, b = np.fmax(a, NOTHING), np.fmax(b, NOTHING)
    with np.errstate(all="ignore"):
        distance = a - b if kind == "plain" else np.log10(a) - np.log10(b)
    distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, distance)
    return np.where(np.isfinite(distance), distance, np.nan)


def _gap(kind: str, a: pd.Series, b: pd.Series) -> np.ndarray:
    """How far two columns are apart, row by row: infinite where there is no distance."""
    if kind == "fixed":
        return np.where((a == b) | (a.isna() & b.isna()), 0.0, np.inf)
    distance = np.abs(_distance(kind, a, b))
    return np.where(np.isnan(distance), np.inf, distance)


def _counted(values: pd.Series) -> bool:
    """Whether a column holds counts, or what follows from them alone: few different numbers."""
    return values.nunique() < len(values) / 2


def _quantum(values: pd.Series) -> float:
    """The smallest step between two values of a column: an image, for a share of images."""
    steps = np.diff(np.unique(values.dropna().to_numpy(dtype=float)))
    return float(steps.min()) if len(steps) else 0.0


def _aligned(runs: list[Run], tables: list[pd.DataFrame], difference: Difference) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """The rows that all tables have, in one order, and the place of each: its run and setting, what it is alike to, when in its run it
    stands.

    Runs that do not fit are named in `difference`.
    """
    kept, places = [], []
    alike = [c for c in tables[1] if not pd.api.types.is_numeric_dtype(tables[1][c]) or pd.api.types.is_bool_dtype(tables[1][c])]
    time = next((c for c in TIME if c in tables[1] and c not in runs[0].parameters), None)
    for number, (run, parts) in enumerate(_by_run(runs, tables)):
        if time == "epoch":
            parts = _common_epochs(parts)
        if len({len(part) for part in parts}) > 1:
            difference.misses.append(f"{in_words(run)}: {len(parts[0])} rows recorded, {len(parts[1])} here")
            continue
        kept.append(parts)
        now = parts[1]
        of = now[alike].astype(str).agg(" ".join, axis=1).to_numpy() if alike else [""] * len(now)
        times = now[time].to_numpy(dtype=float) if time else np.full(len(now), 1.0)
        places.append(pd.DataFrame({"run": number, "words": in_words(run), "setting": _setting(run), "alike": of, "time": times}))
    if not kept:
        return tables, pd.DataFrame()
    joined = [pd.concat(parts, ignore_index=True) for parts in zip(*kept, strict=True)]
    where = pd.concat(places, ignore_index=True)
    where["group"] = where.groupby(["alike", "time"]).ngroup()
    where["begins"] = where.groupby("alike")["group"].transform("min")  # the first group of what is alike
    return joined, where


def _common_epochs(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """A run's rows without those of the epoch at which its terminal phase begins, where it begins at another in another table."""
    of_phase = {epoch for part in parts if "terminal_epoch" in part for epoch in part["terminal_epoch"].dropna()}
    odd = {epoch for part in parts for epoch in part["epoch"] if not all((other["epoch"] == epoch).any() for other in parts)}
    return [part[~part["epoch"].isin(odd & of_phase)] for part in parts]


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """A text that holds several numbers, such as a spectrum, as a column a number: they have a distance, texts have none."""
    for column in table.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]]:
        parts = table[column].astype(str).str.split(expand=True)
        if parts.shape[1] > 1:
            with suppress(ValueError):
                table = table.drop(columns=column).join(parts.astype(float).rename(columns=lambda i, name=column: f"{name} {i + 1}"))
    return table


def _columns_differ(first: pd.DataFrame, second: pd.DataFrame) -> Difference:
    if list(first.columns) == list(second.columns):
        return Difference()
    odd = sorted(set(first.columns) ^ set(second.columns))
    return Difference(misses=[f"the columns differ: {', '.join(odd) or 'their order'}"])


def _by_run(runs: list[Run], tables: list[pd.DataFrame]) -> Iterator[tuple[Run | None, list[pd.DataFrame]]]:
    """The rows of each run in tables that hold them run after run: recorded ones, fresh ones, in the order of the plan, and others."""
    names = list(runs[0].parameters)
    keys = [[repr(row) for row in t[names].itertuples(index=False, name=None)] for t in tables]
    parts = [dict(list(t.groupby(np.array(key), sort=False))) for t, key in zip(tables, keys, strict=True)]
    order = list(dict.fromkeys(key for table in (keys[1], *keys) for key in table))
    planned = runs if len(order) == len(runs) else [None] * len(order)  # a parameter was edited in the record: its rows belong to no run
    for run, key in zip(planned, order, strict=True):
        yield run, [part.get(key, table.iloc[:0]) for part, table in zip(parts, tables, strict=True)]


def in_words(run: Run | None) -> str:
    """A run in the parameters that are words or tell repetitions apart."""
    if run is None:
        return "a run whose parameters the profile does not have"
    shown = {
        k: v for k, v in run.parameters.items() if isinstance(v, str) or k in ("seed", "layout", "train_size", "weight_decay", "dimension")
    }
    return ", ".join(f"{k}={v}" for k, v in shown.items() if k not in ("schedule", "precision")) or str(run)


def _setting(run: Run | None) -> str:
    return str({k: v for k, v in run.parameters.items() if k not in ("seed", "layout")}) if run else ""


def _row(row: pd.Series) -> str:
    return ", ".join(f"{name} {row[name]}" for name in IN_WORDS if name in row) or f"row {row.name}"
