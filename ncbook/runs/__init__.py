"""Runs: an experiment over a grid of parameters (`sweep`), each run under its key, in a pool of processes, kept in a store.

The menu. Inside the package, import from the defining module.
"""

from ncbook.runs.grid import expand
from ncbook.runs.plan import plan, read, sweep
from ncbook.runs.pool import finish
from ncbook.runs.run import Run, SweepError
from ncbook.runs.worker import call

__all__ = ["Run", "SweepError", "call", "expand", "finish", "plan", "read", "sweep"]
