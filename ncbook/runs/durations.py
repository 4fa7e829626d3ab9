"""How long a run takes: what runs like it took, here or where a record was made.

It decides which runs begin first, which keep checkpoints, when one counts as hanging, and what a dry run prints. No result depends on it.
"""

import csv
import gzip
import json
from dataclasses import dataclass
from functools import cache
from math import isfinite, log, prod
from pathlib import Path

from ncbook import paths
from ncbook.runs.digest import canonical, digest

# For a first run: the longest run on record of each experiment, network and data set, and one epoch on 300 images for networks on no record
TIMED = Path(__file__).with_name("durations.csv")
REPEATED = ("seed", "layout")  # runs that differ in these alone take equally long
AMOUNTS = ("epochs", "steps", "train_size", "samples", "filters", "frames", "seeds")  # the time of a run is roughly proportional to each
# How much faster a GPU of 40 GB or more is than one core: at the one network that is large enough to keep it busy. A small one waits for
# the launch of each step, and takes about as long.
FASTER, LARGE = 200.0, "resnet18"
WEIGHTS = {"model": 20, "body": 20, "dataset": 5}  # how much it matters, among other runs, that they have this parameter in common


@dataclass(frozen=True)
class Timed:
    """A run that was timed."""

    parameters: dict
    seconds: float
    device: str


def expected(experiment: str, grid: list[dict], device: str) -> list[float]:
    """Seconds that each run of a grid should take on one core; 1 for an experiment of which nothing is known.

    A run, or one that differs in its seed only, that is in the store or in a record takes as long as it did. Otherwise the most similar run
    that was timed is scaled by the ratio of epochs, images and the like. What was timed on another kind of device counts as much as it
    would take on this one.
    """
    stored = _stored(experiment)
    similar = [timed for timed in stored if timed.device == device] or stored
    here = {_setting(timed.parameters): timed for timed in similar}
    recorded, shipped = _recorded(experiment), [timed for name, timed in _shipped() if name == experiment]

    def seconds(run: dict) -> float:
        if timed := here.get(_setting(run)):
            return timed.seconds * _ratio(run, timed.device, device)
        if found := recorded.get(digest(canonical(run))):
            return found[0] * _ratio(run, found[1], device)
        timed, scaled = _scaled(run, similar + shipped)
        return scaled * _ratio(run, timed.device, device) if timed else scaled

    return [seconds(run) for run in grid]


def _ratio(run: dict, timed_on: str, device: str) -> float:
    """Time on a device over time on the one that it was timed on."""
    if timed_on == device or LARGE not in run.values():
        return 1.0
    return 1 / FASTER if device == "cuda" else FASTER


def _setting(parameters: dict) -> str:
    return digest({name: value for name, value in canonical(parameters).items() if name not in REPEATED})


def _scaled(run: dict, timed: list[Timed]) -> tuple[Timed | None, float]:
    """The most similar run, and its time as if it were in proportion to each amount."""
    if not timed:
        return None, 1.0

    def ratio(other: Timed) -> float:
        pairs = [(run.get(name), other.parameters.get(name)) for name in AMOUNTS]
        return prod(mine / theirs for mine, theirs in pairs if mine and theirs)

    def likeness(other: Timed) -> tuple[int, float]:
        common = [name for name in run.keys() & other.parameters.keys() if run[name] == other.parameters[name]]
        return sum(WEIGHTS.get(name, 1) for name in common), -abs(log(ratio(other)))

    nearest = max(timed, key=likeness)
    return nearest, nearest.seconds * ratio(nearest)


def _stored(experiment: str) -> list[Timed]:
    """The finished runs of the store. Their checksums are left alone: a time that is wrong does no harm."""
    runs = []
    for path in (paths.runs() / experiment).glob("[!.]*/run.json"):
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
            runs.append(Timed(dict(info["parameters"]), _seconds(info["seconds"]), info["device"]))
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
    return runs


def _recorded(experiment: str) -> dict[str, tuple[float, str]]:
    """Seconds and device by the digest of a run's parameters, from all records of the chapter."""
    times: dict[str, tuple[float, str]] = {}
    for path in sorted(paths.root().glob(f"data/results/*/{experiment.partition('.')[0]}/runs.csv.gz")):
        try:
            times |= _times(path, path.stat().st_mtime_ns)
        except (OSError, EOFError, ValueError, LookupError, TypeError, csv.Error):
            continue  # whoever reads the record for its numbers says what is wrong
    return times


@cache
def _times(path: Path, _: int) -> dict[str, tuple[float, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return {row["parameters"]: (_seconds(row["seconds"]), row.get("device") or "cpu") for row in csv.DictReader(file)}


@cache
def _shipped() -> list[tuple[str, Timed]]:
    with open(TIMED, encoding="utf-8", newline="") as file:
        return [
            (row["experiment"], Timed(json.loads(row["parameters"]), _seconds(row["seconds"]), row["device"]))
            for row in csv.DictReader(file)
        ]


def _seconds(value) -> float:
    if not (isfinite(seconds := float(value)) and seconds >= 0):
        raise ValueError(f"{value} is no duration")
    return seconds
