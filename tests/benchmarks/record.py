"""All benchmarks in one run, kept in ``data/cost.json`` with machine, versions and day; the book's page of costs shows it.

``python tests/benchmarks/record.py``, a quarter of an hour. Let nothing else run.
"""

import os
import platform
import time

import bench_book
import bench_growth
import bench_metrics
import bench_runs
import bench_stacked
import bench_training
import torch

from ncbook import settings
from ncbook.publish import cost
from ncbook.runs.key import installed
from ncbook.runs.worker import cpu


def main() -> None:
    load = os.getloadavg()[0]
    ratios = [row for bench in (bench_training, bench_stacked, bench_metrics, bench_runs, bench_book) for row in bench.main()]
    cost.keep(
        {
            "when": time.strftime("%Y-%m-%d", time.gmtime()),
            "machine": f"{cpu() or platform.machine()}, {settings.jobs(on='cpu')} cores, {torch.backends.cpu.get_cpu_capability()}",
            "load": load,  # of other programs, before
            "versions": {**installed(), "torch": str(torch.__version__), "python": platform.python_version()},
            "ratios": ratios,
            "growth": bench_growth.main(),
        }
    )


if __name__ == "__main__":
    main()
