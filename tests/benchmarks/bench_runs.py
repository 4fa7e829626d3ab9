"""Time of 3,000 finished runs, planned, found whole in the store and read, over reading as many CSV files: ``python …/bench_runs.py``."""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pandas as pd
from bench_growth import of_runs, seconds

from ncbook import settings

COUNT, ROUNDS = 3000, 3


def main() -> list[dict]:
    with TemporaryDirectory() as place, settings.within({"NCBOOK_RUNS": place}):
        ours = of_runs(COUNT)
        files = sorted(Path(place).glob("*/*/table.csv"))
        pairs = [(seconds(ours), seconds(lambda: pd.concat([pd.read_csv(file) for file in files]))) for _ in range(ROUNDS)]
    ratio, took = median(a / b for a, b in pairs), median(a for a, _ in pairs)
    what, instead = f"{COUNT:,} finished runs planned, checked and read", "pandas.read_csv of each file"
    print(f"{what}: {took:.2f} s, {ratio:.2f} of {instead}", flush=True)
    return [{"what": what, "instead": instead, "ratio": ratio, "seconds": took, "goal": None}]


if __name__ == "__main__":
    main()
