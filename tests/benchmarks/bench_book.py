"""Wall time of the book at `quick`, from nothing: ``python tests/benchmarks/bench_book.py``; the environment is there.

Training is compared with the same runs one after another, as their own clocks have it; notebooks and pages with the notebooks one after
another; a build with nothing to do, and one with one page that changed, with the whole one.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from ncbook import settings

HERE = Path(__file__).resolve().parents[2]


def main() -> list[dict]:
    with TemporaryDirectory() as place:
        root = Path(place)
        for folder in ("book", "ncbook", "data/results"):
            shutil.copytree(HERE / folder, root / folder, ignore=shutil.ignore_patterns("_build", "__pycache__"))
        shutil.copy(HERE / "_config.yml", root)
        environment = settings.environment(NCBOOK_ROOT=place, NCBOOK_RUNS="", DEVICE="cpu")

        def seconds(command: str) -> float:
            start = perf_counter()
            subprocess.run([sys.executable, "-m", "ncbook", command], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL)
            return perf_counter() - start

        training, pages, again = seconds("train"), seconds("book"), seconds("book")
        with (root / "book" / "reproduce.md").open("a", encoding="utf-8") as page:
            page.write("\nOne line more.\n")
        one = seconds("book")
        one_by_one = sum(json.loads(path.read_text())["seconds"] for path in root.glob("data/runs/*/*/run.json"))
        notebooks = sum(float(path.read_text()) for path in root.glob("book/_build/*/*/seconds"))
    cores = settings.jobs()
    rows = [
        (f"training all chapters at quick, {cores} cores", "the same runs one after another", training, one_by_one, {"seconds": 50}),
        ("notebooks and pages after training", "the notebooks one after another, no pages", pages, notebooks, {"seconds": 25}),
        ("the book at quick, the environment being there", "runs and notebooks one after another", training + pages,
         one_by_one + notebooks, {"seconds": 300}),
        ("the book again, nothing changed", "the whole book", again, training + pages, None),
        ("the book again, one page changed", "the whole book", one, training + pages, {"seconds": 15}),
    ]  # fmt: skip
    found = []
    for what, instead, took, other, goal in rows:
        found.append({"what": what, "instead": instead, "ratio": took / other, "seconds": took, "goal": goal})
        print(f"{what}: {took:.1f} s, {took / other:.2f} of {instead}", flush=True)
    return found


if __name__ == "__main__":
    main()
