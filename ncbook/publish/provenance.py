"""Where the numbers of a page come from: the box at the end of each chapter."""

import json
from importlib.metadata import version
from pathlib import Path

from ncbook import paths
from ncbook.runs.plan import Table


class Markdown(str):
    """A Markdown text that a notebook shows rendered."""

    def _repr_markdown_(self) -> str:
        return str(self)


def provenance(read: list[Table], *, profile: str, folder: Path) -> Markdown:
    """The runs behind the tables of a chapter: how many, on which data, seeds and machine, with which versions, for how long.

    The same lines are left in `folder`, for the page of trust.
    """
    runs, tables = [run for table in read for run in table.runs], [table.rows for table in read]
    datasets = list(dict.fromkeys(name for table in tables if "dataset" in table for name in table["dataset"].unique()))
    seeds = [seed for table in tables if "seed" in table for seed in (table["seed"].min(), table["seed"].max())]
    seconds = sum(run["seconds"] for run in runs)
    machines = sorted({run["gpu"] or f"{run['cpu'] or run['machine']} ({run['cpu_capability']}), one thread a run" for run in runs})
    recorded = next((run for run in runs if "commit" in run), None)
    changed = sum(run.get("changed", False) for run in runs)
    lines = {
        "profile": f"`{profile}`",
        "data": ", ".join(f"`{name}`" for name in datasets) or "–",
        "runs": f"{len(runs)}, seeds {min(seeds)} to {max(seeds)}" if seeds else str(len(runs)),
        "trained on": "; ".join(machines),
        "core time": f"{seconds:.0f} s in all, {max(run['seconds'] for run in runs):.0f} s the longest run",
        "memory": f"{max(run['peak_memory_mb'] for run in runs)} MB the largest process",
        "finished": max(run["finished"] for run in runs).replace("T", " ").replace("Z", " UTC"),
        **({"record": _record(recorded, changed, len(runs))} if recorded else {}),
        "versions": f"{_all(runs, 'torch')}; {_all(runs, 'python')}; the page by ncbook {version('ncbook')}",
    }
    (paths.writable(folder) / "provenance.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    return Markdown("| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in lines.items()))


def _all(runs: list[dict], name: str) -> str:
    return f"{name} {', '.join(sorted({run[name] for run in runs}))}"


def _record(run: dict, changed: int, count: int) -> str:
    """When the tables were recorded, at which commit, and whether what computes them has changed since."""
    since = f"**the code, data or version of torch of {changed} of {count} runs has changed since**" if changed else "nothing that computes it has changed since"
    return f"of {run['recorded'][:10]}, made at commit `{run['commit'][:10]}`; {since}"
