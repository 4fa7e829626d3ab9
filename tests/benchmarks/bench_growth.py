"""How the time of measuring grows: ``python tests/benchmarks/bench_growth.py``.

With images (N), dimensions (d), classes (C) and layers, one of them at a time, for `collapse_table` without k-means and `layer_table`; with
finished runs, for planning them, finding them in the store and reading their table. On one thread; each time is the least of three.
"""

from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd
import torch
from bench_metrics import features, without_kmeans

from ncbook import settings
from ncbook.metrics.layers import layer_table
from ncbook.publish.cost import slope
from ncbook.runs import store
from ncbook.runs.digest import canonical
from ncbook.runs.plan import plan, sweep


def nothing(*, seed: int, device: str = "cpu") -> pd.DataFrame:
    """A run that is never computed here."""
    raise NotImplementedError


def of_metrics(n: int, d: int, classes: int):
    data = features(n, d, classes)
    return lambda: without_kmeans(*data)


def of_layers(count: int):
    values, labels, *_ = features(4000, 256, 10)
    batches = list(zip(values.split(500), labels.split(500), strict=True))
    return lambda: layer_table(lambda x: dict.fromkeys(range(count), x), lambda: batches, num_classes=10)


def of_runs(count: int):
    """The store has `count` finished runs of 40 rows, each of which is planned, looked up and read."""
    grid = [{"seed": seed} for seed in range(count)]
    table = store.to_csv(pd.DataFrame({"step": range(40), "value": torch.rand(40, dtype=torch.float64)}))
    for run in plan(nothing, grid, device="cpu"):
        if not run.stored():
            store.write(run.experiment, run.key, table, {"parameters": canonical(run.parameters), "device": "cpu"})

    def once():
        assert len(sweep(nothing, grid, device="cpu")) == 40 * count

    return once


CASES = {
    "N": ("collapse_table, d = 512, C = 10", [2000, 4000, 8000, 16_000, 32_000], lambda n: of_metrics(n, 512, 10)),
    "d": ("collapse_table, N = 4,000, C = 10", [128, 256, 512, 1024, 2048, 4096], lambda d: of_metrics(4000, d, 10)),
    "C": ("collapse_table, N = 16,000, d = 256", [10, 30, 100, 300, 1000], lambda classes: of_metrics(16_000, 256, classes)),
    "layers": ("layer_table, N = 4,000, d = 256, C = 10", [1, 2, 4, 8, 16], of_layers),
    "runs": ("finished runs: planned, found, read", [100, 300, 1000, 3000, 10_000], of_runs),
}


def seconds(function) -> float:
    def once() -> float:
        start = perf_counter()
        function()
        return perf_counter() - start

    return min(once() for _ in range(3))


def main() -> list[dict]:
    torch.set_num_threads(1)
    found = []
    with TemporaryDirectory() as place, settings.within({"NCBOOK_RUNS": place}):
        for over, (what, at, make) in CASES.items():
            found.append({"over": over, "what": what, "at": at, "seconds": [seconds(make(value)) for value in at]})
            print(f"{over:>8} {what:45} slope {slope(found[-1]):.2f}: " + ", ".join(f"{t:.3g} s" for t in found[-1]["seconds"]), flush=True)
    return found


if __name__ == "__main__":
    main()
