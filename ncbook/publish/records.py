"""Records: the finished tables of a chapter under one profile, kept in ``data/results/<profile>/<chapter>/`` and tracked.

``<table>.csv.gz`` is what `sweep` returned, ``runs.csv.gz`` what each of its runs took and where, ``provenance.json`` everything else, with
a checksum of each file. From a record the book is rendered without training (``make book FROM=record``), and a re-run is compared with it
(``make verify``). A record is put in place whole, and nothing is read from one whose checksums do not hold.
"""

import gzip
import hashlib
import io
import platform
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from ncbook import chapters, durable, paths
from ncbook.errors import InputError, shown
from ncbook.publish import commits, sealed
from ncbook.publish.parameters import parameters as parameters_of
from ncbook.publish.verdicts import code, deciding, judged, plain
from ncbook.runs import store
from ncbook.runs.digest import canonical, digest
from ncbook.runs.plan import Table, finished, plan
from ncbook.runs.pool import finish
from ncbook.runs.run import Run, missing
from ncbook.version import __version__

LIMIT = 1_200_000  # bytes of a chapter and profile: the repository holds them all
UNPACKED = 100_000_000  # bytes: what no packed table of `LIMIT` comes near
VERSIONS = ["torch", "numpy", "scipy", "scikit_learn", "python"]
FORM = {
    "chapter": str, "profile": str, "parameters": dict, "recorded": str, "commit": str, "dirty": bool, "tables": dict, "files": dict,
    "claims": list, "verdicts": list, "judged_by": dict, "short": dict,
}  # fmt: skip
OF_EACH: dict[str, dict[str, type]] = {"claims": {"id": str}, "verdicts": {"id": str, "verdict": str, "parts": list}}
OF_TABLE = {"experiment": str, "runs": int, "rows": int}
OLDER = ("claims", "verdicts", "judged_by", "short")  # which a record of an older kind may lack
GPU = ["gpu", "gpu_peak_memory_mb", "gpu_float32"]
TOOK = [
    "device",
    "seconds",
    "peak_memory_mb",
    *VERSIONS,
    "machine",
    "cpu",
    "cpu_capability",
    "instruction_set",
    *GPU,
    "stacked",  # of records made when digits depended on it
    "finished",
]


def exists(profile: str, chapter: str) -> bool:
    """Whether there is a record of a chapter under a profile."""
    return (paths.record(profile, chapter) / "provenance.json").is_file()


def on_record(chapter: str) -> list[str]:
    """The profiles that a chapter has a record for, the largest first."""
    return [profile for profile in reversed(chapters.profiles(chapter)) if exists(profile, chapter)]


def why_shown(chapter: str) -> str:
    """Why a chapter is published from the record that it is: in words, with the larger profiles that have none."""
    shown, order = on_record(chapter)[0], chapters.profiles(chapter)
    larger = order[order.index(shown) + 1 :]
    return "the largest profile on record" + (f" ({', '.join(larger)}: not recorded)" if larger else "")


def planned(chapter: str, parameters: dict, *, device: str | None = None) -> dict[str, list[Run]]:
    """The runs of each table of a chapter, by the table's name."""
    tables = chapters.experiment(chapter).TABLES
    return {name: plan(f, grid(**parameters), device=device) for name, (f, grid) in tables.items()}


def planned_short(chapter: str) -> dict[str, list[Run]]:
    """The short runs of a chapter, by table: on a CPU, which every machine has to verify with."""
    return planned(chapter, parameters_of(chapter, chapters.SHORT), device="cpu")


def complete(chapter: str, profile: str, parameters: dict) -> dict[str, list[Run]]:
    """The finished runs of each table: this machine's kind of device, or of the other where they were imported from there.

    An `InputError` where some are missing: a record holds complete grids only.
    """
    tables = planned(chapter, parameters)
    runs = [run for of_table in tables.values() for run in of_table]
    other = {"cpu": "cuda", "cuda": "cpu"}[runs[0].device]
    if not (lacking := missing(runs)):
        return tables
    if not missing([replace(run, device=other) for run in runs]):
        return {name: [replace(run, device=other) for run in of_table] for name, of_table in tables.items()}
    raise InputError(
        f"{chapter}: {len(lacking)} of {len(runs)} runs are not finished; a record holds complete grids only. "
        f"Run `make figure-{chapter} PROFILE={profile}` first."
    )


@dataclass(frozen=True)
class Record:
    """A record as it was read."""

    folder: Path
    provenance: dict
    tables: dict[str, pd.DataFrame]
    runs: pd.DataFrame  # one row a run: its table, key, digest of its parameters, and what it took
    edited: list[str]  # files that are not what was recorded

    def table(self, planned: list[Run]) -> Table:
        """The recorded table of a plan; an `InputError` where the record holds no table of exactly these runs.

        What is known of each run says as well whether its code, data or a library has ``changed`` since; what an older record lacks is
        None.
        """
        by_digest = {digest(run.parameters): run for run in planned}
        for name, of_table in self.runs.groupby("table", sort=False):
            if self.provenance["tables"][name]["experiment"] == planned[0].experiment and set(of_table["parameters"]) == set(by_digest):
                break
        else:
            raise InputError(
                f"the record in {self.folder} does not hold the runs of {planned[0].experiment} that are asked for: its parameters are not "
                f"those of the profile any more{self._changes()}. Train them (leave FROM=record out), then `make record`."
            )
        commit = {name: self.provenance[name] for name in ("commit", "dirty", "recorded")}
        infos = [
            {
                "parameters": by_digest[row.parameters].parameters,
                **{name: getattr(row, name, None) for name in TOOK},
                **commit,
                "changed": key_on(by_digest[row.parameters], row.device, getattr(row, "instruction_set", None)) != row.key,
            }
            for row in of_table.itertuples()
        ]
        rows, first = self.tables[name], list(planned[0].parameters)  # the parameters come first, in the order of the plan
        if set(first) <= set(rows):
            rows = rows[[*first, *(column for column in rows if column not in first)]]
        return Table(rows.copy(), infos)

    def same_short_runs(self) -> bool:
        """Whether today's code gives the digits in the short runs that it gave when this record was made.

        False where that is not known: of an older record, or while the short runs on record are of older code themselves.
        """
        chapter, then = self.provenance["chapter"], self.provenance.get("short")
        if not then or not exists(chapters.SHORT, chapter):
            return False
        short = read_as_it_is(chapters.SHORT, chapter)
        try:
            runs = [run for planned in planned_short(chapter).values() for run in short.table(planned).runs]
        except InputError:
            return False
        same = all(short.provenance["files"].get(name) == checksum for name, checksum in then.items())
        return same and not short.edited and not any(run["changed"] for run in runs)

    def _changes(self) -> str:
        now = canonical(parameters_of(self.provenance["chapter"], self.provenance["profile"]))
        was = self.provenance["parameters"]
        changed = [f"{k}={was.get(k)!r}, now {now.get(k)!r}" for k in sorted({*was, *now}) if was.get(k) != now.get(k)]
        return f" (recorded with {'; '.join(changed)})" if changed else ""


def key_on(run: Run, device: str, instruction_set: str | None = None) -> str:
    """The key that a run would have on another kind of device, or under another instruction set."""
    return replace(run, device=device, instruction_set=instruction_set or run.instruction_set).key


def read(here: Path) -> Record:
    """The record in a folder; an `InputError` where it cannot be read or was edited."""
    return _whole(_read(here, _stat(here)))


def check(profile: str, chapter: str, parameters: dict) -> None:
    """An `InputError` unless there is a record of the chapter, whole, of exactly the runs that `parameters` ask for."""
    record = _whole(read_as_it_is(profile, chapter))
    for runs in planned(chapter, parameters).values():
        record.table(runs)


def _whole(record: Record) -> Record:
    if record.edited:
        raise InputError(
            f"{', '.join(record.edited)} in {record.folder} changed after it was recorded: the checksum does not hold. "
            "Restore it with git; `make verify` says which numbers differ."
        )
    return record


def read_as_it_is(profile: str, chapter: str) -> Record:
    """A record that may have been edited: `Record.edited` says which files. For those who compare it with a re-run."""
    here = paths.record(profile, chapter)
    if not (here / "provenance.json").is_file():
        raise InputError(f"there is no record of {chapter} under the profile {profile}; `make record PROFILE={profile}` makes one.")
    return _read(here, _stat(here))


def _stat(here: Path) -> tuple:
    return tuple(sorted((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in here.glob("*") if p.is_file()))


@cache
def _read(here: Path, _: tuple) -> Record:
    try:
        provenance, whole = sealed.opened((here / "provenance.json").read_text(encoding="utf-8"))
        edited = [] if whole else ["provenance.json"]
        if set(provenance["files"]) != {f"{name}.csv.gz" for name in (*provenance["tables"], "runs")}:
            raise ValueError("its files are not those of its tables")
        content = {}
        for name, checksum in provenance["files"].items():
            with gzip.open(here / name) as file:
                content[name] = file.read(UNPACKED)
            if hashlib.sha256(content[name]).hexdigest() != checksum:
                edited.append(name)
        tables = {name: store.from_csv(content[f"{name}.csv.gz"].decode()) for name in provenance["tables"]}
        record = Record(here, provenance, tables, _text_where_text(store.from_csv(content["runs.csv.gz"].decode())), edited)
        _check_form(record)
        return record
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the record in {here} cannot be read ({type(error).__name__}: {error}). Restore it with git.") from error


def _check_form(record: Record) -> None:
    """A ValueError, LookupError or TypeError for what no `write` made, whether or not its checksum holds."""
    known = record.provenance
    if wrong := [name for name, kind in FORM.items() if not isinstance(known.get(name, kind() if name in OLDER else None), kind)]:
        raise ValueError(f"it holds no {' and no '.join(wrong)}")
    if (known["profile"], known["chapter"]) != record.folder.parts[-2:]:
        raise ValueError(f"it is of {known['chapter']} under {known['profile']}")
    for name, fields in OF_EACH.items():
        if not all(isinstance(row.get(field), kind) for row in known.get(name, []) for field, kind in fields.items()):
            raise ValueError("a claim or a verdict in it is none")
    if not all(isinstance(part, dict) for verdict in known.get("verdicts", []) for part in verdict["parts"]):
        raise ValueError("a claim or a verdict in it is none")
    if not all(isinstance(table.get(name), kind) for table in known["tables"].values() for name, kind in OF_TABLE.items()):
        raise ValueError("a table in it is none")
    if set(known["tables"]) != set(record.runs["table"]):
        raise ValueError("its tables are not those of its runs")
    if record.runs.duplicated(["table", "parameters"]).any():
        raise ValueError("it holds a run twice")
    took = [record.runs[name] for name in ("seconds", "peak_memory_mb")]
    if not all(pd.api.types.is_numeric_dtype(column) and ((column >= 0) & (column < float("inf"))).all() for column in took):
        raise ValueError("what its runs took is no number")
    if lacking := {"key", "device", "finished"} - set(record.runs):
        raise ValueError(f"its runs have no {' and no '.join(sorted(lacking))}")


def _text_where_text(runs: pd.DataFrame) -> pd.DataFrame:
    """``gpu`` is empty on a CPU, and a version may look like a number: as text or nothing, never as a number."""
    texts = [name for name in ("gpu", "gpu_float32", "instruction_set", "stacked", *VERSIONS) if name in runs]
    return runs.assign(**{name: [None if pd.isna(value) else str(value) for value in runs[name]] for name in texts})


def write_short(names: list[str], *, jobs: int | None = None) -> None:
    """Compute the short runs of chapters, seconds each, and keep them as the records that `make verify` compares first."""
    runs = {name: planned_short(name) for name in names}
    finish([run for tables in runs.values() for of_table in tables.values() for run in of_table], jobs=jobs)
    for name in names:
        write(name, chapters.SHORT, parameters_of(name, chapters.SHORT))


def write(chapter: str, profile: str, parameters: dict) -> Path:
    """Promote a chapter's finished runs (see `complete`) to its record, with the verdicts on them. The record before it stays until
    then."""
    of_table = planned_short(chapter) if profile == chapters.SHORT else complete(chapter, profile, parameters)
    texts, rows, tables, read_back = {}, [], {}, {}
    for name, runs in of_table.items():
        table = finished(runs)
        read_back[name] = table.rows
        for run, info in zip(runs, table.runs, strict=True):
            rows.append({"table": name, "key": run.key, "parameters": digest(run.parameters)} | {k: info.get(k) for k in TOOK})
        texts[f"{name}.csv.gz"] = store.to_csv(table.rows)
        tables[name] = {"experiment": runs[0].experiment, "runs": len(runs), "rows": len(table.rows)}
    took = pd.DataFrame(rows)
    texts["runs.csv.gz"] = store.to_csv(took)
    provenance = {
        "chapter": chapter,
        "profile": profile,
        "parameters": canonical(parameters),
        "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **commits.here(),
        "ncbook": __version__,
        "system": platform.system(),
        "data": _fingerprints(of_table),
        **_totals(took),
        "tables": tables,
        "claims": deciding(chapter),
        "verdicts": plain(judged(chapter, read_back, profile)) if profile != chapters.SHORT else [],
        "judged_by": code(chapter),
        "short": {} if profile == chapters.SHORT else _short(chapter),
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()},
    }
    return _put(paths.record(profile, chapter), texts, provenance)


def _totals(took: pd.DataFrame) -> dict:
    """What all runs of a record took together, and the machines that they ran on."""
    return {
        "machines": sorted({_machine(row) for row in took.to_dict("records")}),
        "core_seconds": round(float(took["seconds"].sum()), 1),
        "longest_run_seconds": round(float(took["seconds"].max()), 1),
        "peak_memory_mb": int(took["peak_memory_mb"].max()),
    }


def contradictions(record: Record, planned: dict[str, list[Run]], parameters: dict) -> list[str]:
    """In words, what a record says of itself that its tables, its runs or the profile's `parameters` do not: for verification.

    A parameter that the chapter did not have yet is no contradiction, where no run takes it.
    """
    was, taken = record.provenance, {name for runs in planned.values() for run in runs for name in run.parameters}
    now = {f"parameter {name}": value for name, value in canonical(parameters).items() if name in was["parameters"] or name in taken}
    said = dict.fromkeys(now) | {f"parameter {name}": value for name, value in was["parameters"].items()}
    now |= {"data": _fingerprints(planned), **_totals(record.runs)}
    said |= {name: was.get(name) for name in ("data", *_totals(record.runs))}
    for name, table in record.tables.items():
        now |= {f"{name}: rows": len(table), f"{name}: runs": int((record.runs["table"] == name).sum())}
        said |= {f"{name}: {count}": was["tables"][name][count] for count in ("rows", "runs")}
    return [f"{name} recorded {shown(said[name])}, in fact {shown(now.get(name))}" for name in said if said[name] != now.get(name)]


def _short(chapter: str) -> dict[str, str]:
    """The checksums of the tables of the short runs on record."""
    if not exists(chapters.SHORT, chapter):
        return {}
    files = read_as_it_is(chapters.SHORT, chapter).provenance["files"]
    return {name: checksum for name, checksum in files.items() if name != "runs.csv.gz"}


def _put(target: Path, texts: dict[str, str], provenance: dict) -> Path:
    """Put a record in the place of the one before, whole."""
    packed = {name: _packed(text) for name, text in texts.items()}
    if (size := sum(map(len, packed.values()))) > LIMIT:
        raise InputError(
            f"the tables of {target.name} take {size:,} bytes packed; a record may take {LIMIT:,}. Measure less often, or fewer columns."
        )
    paths.writable(target.parent)
    durable.replace(target, {**packed, "provenance.json": sealed.seal(provenance).encode()})
    return target


def _packed(text: str) -> bytes:
    """gzip of a text that is the same byte for byte each time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0, compresslevel=9) as file:
        file.write(text.encode())
    return buffer.getvalue()


def _machine(row: dict) -> str:
    """``GPU name`` or ``CPU name (AVX512)``, with the version of torch."""
    known = (
        row["gpu"]
        if isinstance(row["gpu"], str)
        else f"{row['cpu'] if isinstance(row['cpu'], str) else row['machine']} ({row['cpu_capability']})"
    )
    return f"{known}{', in stacks' if isinstance(row['stacked'], str) else ''}, torch {row['torch']}"


def _fingerprints(of_table: dict[str, list[Run]]) -> dict[str, str]:
    """The data sets that the runs read, each with the fingerprint of its content."""
    from ncbook.data.files import fingerprint

    values = [v for runs in of_table.values() for run in runs for k, v in run.parameters.items() if k.endswith("dataset")]
    names = {name for value in values for name in (value if isinstance(value, list) else [value])}
    return {name: fingerprint(name) for name in sorted(names)}
