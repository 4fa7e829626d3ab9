"""Where the numbers of a page come from: the box at the end of each chapter."""

import json
from pathlib import Path

from ncbook import paths
from ncbook.claims.names import name
from ncbook.escape import code, markdown
from ncbook.publish import commits
from ncbook.publish.records import Record
from ncbook.publish.verdicts import changed_claims, changed_code
from ncbook.runs.plan import Table
from ncbook.version import __version__

VERSIONS = ("torch", "numpy", "scipy", "scikit_learn", "python")


class Markdown(str):
    """A Markdown text that a notebook shows rendered."""

    def _repr_markdown_(self) -> str:
        return str(self)


def provenance(read: list[Table], *, profile: str, folder: Path, record: Record | None = None) -> Markdown:
    """The runs behind the tables of a chapter: how many, on which data, seeds and machine, with which versions, for how long.

    The same lines, in Markdown, are left in `folder`, for the page of trust. Of the `record` that the tables come from it is told as well
    when it was made, at which commit, and what has changed since.
    """
    runs, tables = [run for table in read for run in table.runs], [table.rows for table in read]
    datasets = list(dict.fromkeys(dataset for table in tables if "dataset" in table for dataset in table["dataset"].unique()))
    seeds = [seed for table in tables if "seed" in table for seed in (table["seed"].min(), table["seed"].max())]
    seconds = sum(run["seconds"] for run in runs)
    machines = sorted(
        {
            run["gpu"]
            or f"{run['cpu'] or run['machine']} ({run['cpu_capability']}), one thread a process" + ", in stacks" * bool(run.get("stacked"))
            for run in runs
        }
    )
    lines = {
        "profile": code(profile),
        "data": ", ".join(markdown(name(dataset)) for dataset in datasets) or "–",
        "runs": f"{len(runs)}, seeds {min(seeds)} to {max(seeds)}" if seeds else str(len(runs)),
        "trained on": "; ".join(map(markdown, machines)),
        "core time": f"{seconds:.0f} s in all, {max(run['seconds'] for run in runs):.0f} s the longest run",
        "memory": f"{max(run['peak_memory_mb'] for run in runs)} MB the largest process",
        "finished": markdown(max(run["finished"] for run in runs).replace("T", " ").replace("Z", " UTC")),
        **({"record": _record(runs, record)} if record else {}),  # a run of the store has none, whatever its file says
        "versions": ", ".join(_all(runs, package) for package in VERSIONS),
        "page made by": f"ncbook {__version__}{_checkout()}",
    }
    (paths.writable(folder) / "provenance.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    return Markdown("| | |\n|---|---|\n" + "\n".join(f"| {line} | {value} |" for line, value in lines.items()))


def _checkout() -> str:
    at = commits.here()
    if at["commit"] == "unknown":
        return ""
    return f", commit {code(at['commit'][:10])}" + " with uncommitted changes" * at["dirty"]


def _all(runs: list[dict], package: str) -> str:
    values = sorted({run.get(package) or "not recorded" for run in runs})
    return f"{package.replace('_', '-')} {' and '.join(map(markdown, values))}"


def _record(runs: list[dict], record: Record) -> str:
    """When the tables were recorded, at which commit, and whether what computes them has changed since."""
    changed = sum(run["changed"] for run in runs)
    since = (
        f"**the code, the data or a library of {changed} of {len(runs)} runs has changed since**"
        + (", and gives the same digits in the short runs" if record.same_short_runs() else "")
        if changed
        else "nothing that computes it has changed since"
    )
    if claims := changed_claims(record.provenance):
        since += f"; **what decides {len(claims)} claims has changed since: {', '.join(map(markdown, claims))}**"
    if judges := changed_code(record.provenance):
        since += f"; edited since: {', '.join(judges)}"
    dirty = " **with uncommitted changes**" if runs[0]["dirty"] else ""
    return f"of {markdown(runs[0]['recorded'][:10])}, made at {_commit(runs[0]['commit'])}{dirty}; {since}"


def _commit(commit: str) -> str:
    if commit == "unknown":
        return "no known commit"
    known = {True: "", False: ", **which this repository does not hold**,", None: " (not looked up: the history is not here)"}
    return f"commit {code(commit[:10])}{known[commits.known(commit)]}"
