"""The runs that the store lacks, computed by whoever there is, each kept as it ends."""

import shutil
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from queue import Empty, SimpleQueue

import cloudpickle
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ncbook import settings
from ncbook.errors import InputError
from ncbook.paths import runs, writable
from ncbook.renamed import moved_name
from ncbook.runs import executors, ranks, store
from ncbook.runs.digest import canonical, digest
from ncbook.runs.run import Run, SweepError, missing
from ncbook.runs.worker import reason

STARTING, STALLED = 600.0, 60.0  # seconds that runs may wait, and none be at work, before a pool has begun and after that
LONG = 300.0  # seconds that a run is expected to take, from which on it keeps checkpoints
ALIKE = ("seed", "layout", "weight_decay", "learning_rate")  # parameters that change no shape of a network


def __getattr__(name: str):
    return moved_name(__name__, name)


def finish(
    planned: list[Run],
    *,
    jobs: int | None = None,
    timeout: float | None = None,
    budget: float | None = None,
    executor: executors.Choice | None = None,
) -> int:
    """Compute the runs that the store lacks, longest first, and keep each as it ends; returns how many that were.

    After `budget` seconds it stops: what is finished is kept, what is at work is lost. `executor` is who computes them, see
    `ncbook.runs.executors`. Of an experiment `in_stacks` several runs that differ in `ALIKE` only go to one process here, which trains
    their networks as one.

    A failed, killed or overdue run (`timeout` seconds each) loses itself only: the others finish, then `SweepError` names the failed ones.
    A run whose worker of another executor was lost goes to another, once. Processes of ``torchrun`` compute each run together, one after
    another (`ncbook.runs.ranks`); then there are no time limits, and a budget ends between two runs.
    """
    todo = sorted(missing(planned), key=lambda run: -run.seconds)
    if not todo:
        return 0
    writable(runs())
    who = executors.chosen(executor)
    first = todo[0]
    workers = min(settings.jobs(jobs, on=first.device), len(todo))
    if ranks.together() and who != executors.LOCAL:
        raise InputError(f"EXECUTOR={who!r}, but torchrun has started the processes that compute; leave one of the two out.")
    console = Console(stderr=True, force_jupyter=False)  # in a notebook it would ask for ipywidgets
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    at_a_time = f"{workers} at a time" if who == executors.LOCAL else f"by {who if isinstance(who, str) else 'an executor of yours'}"
    if ranks.together():
        at_a_time = "one at a time, by all processes"
    console.print(f"training {len(todo)} runs, {at_a_time}", highlight=False, markup=False, soft_wrap=True)
    until = None if budget is None else time.monotonic() + budget
    sent = _Sent(todo, timeout, workers)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(first.experiment.split(".")[0], total=len(todo))

        def show(ended: Iterator[Run]) -> None:
            for run in ended:
                bar.update(task, advance=1, description=run.experiment.split(".")[0])

        while sent.left:
            try:
                if ranks.together():
                    show(sent.in_turn(until))
                    continue
                with executors.opened(who, workers=workers, instruction_set=first.instruction_set, device=first.device) as submit:
                    show(sent.answered(submit, until, here=who == executors.LOCAL))
            except _Stalled:
                continue  # what is left goes to new processes
            except _Spent:
                break
    if sent.failures:
        raise SweepError(sent.failures, len(todo))
    return len(todo) - len(sent.left)


class _Sent:
    """The runs that are `left`, and why others failed."""

    def __init__(self, todo: list[Run], timeout: float | None, workers: int):
        self.left = {(run.experiment, run.key): run for run in todo}
        self.failures: list[tuple[Run, str, str]] = []
        self.timeout, self.workers = timeout, workers
        self.lost: set[str] = set()  # keys of runs whose worker was lost once

    def answered(self, submit: executors.Submit, until: float | None, *, here: bool) -> Iterator[Run]:
        """Send all that is left, and give each run when it is kept or has failed; see `_ended`.

        A run whose worker is lost is sent again, once. What an executor that is broken as a whole does not take stays left, for a new one.
        """
        ended: SimpleQueue[Future] = SimpleQueue()
        waiting: dict[Future, list[Run]] = {}

        def send(*group: Run) -> None:
            orders = [_order(run) for run in group]
            future = submit(orders if len(group) > 1 else orders[0], self.timeout and self.timeout * len(group))
            waiting[future] = list(group)
            future.add_done_callback(ended.put)

        for group in _stacks(list(self.left.values()), self.lost, self.workers) if here else [[run] for run in self.left.values()]:
            send(*group)
        for future in _ended(waiting, ended, until, here=here):
            group, failure = waiting.pop(future), None
            try:
                answers = future.result()
            except Exception as error:  # noqa: BLE001 - of the pool; elsewhere, any at all says that the worker was lost
                # of a stack it is not known which run ended the process: each goes alone
                lost = not isinstance(error, BrokenProcessPool) if len(group) > 1 else not here and group[0].key not in self.lost
                if lost:
                    self.lost |= {run.key for run in group}
                    for run in group:
                        with suppress(Exception):
                            send(run)
                    continue
                failure = reason(error, self.timeout) if here else (f"its worker was lost, twice ({type(error).__name__}: {error})", "")
            del future  # Dask computes a run again whose worker goes, however long it is finished, while a name holds its future
            for number, run in enumerate(group):
                self._done(run, failure or _keep(run, *(answers[number] if len(group) > 1 else answers)))
                yield run

    def in_turn(self, until: float | None) -> Iterator[Run]:
        """As `answered`, by all processes of ``torchrun``, and one run after another."""
        for run in list(self.left.values()):
            if until is not None and time.monotonic() >= until:
                raise _Spent
            self._done(run, _keep(run, *ranks.compute(_order(run))))
            yield run

    def _done(self, run: Run, failure: tuple[str, str] | None) -> None:
        if failure:
            self.failures.append((run, *failure))
        del self.left[run.experiment, run.key]


def _stacks(runs: list[Run], lost: set[str], workers: int) -> list[list[Run]]:
    """The runs in groups that go to one process, longest first: of those that differ in `ALIKE` only up to as many as their experiment
    stacks, as long as all together need no checkpoint and no other process waits for them in the end. What was `lost` goes alone."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        rest = {name: value for name, value in canonical(run.parameters).items() if name not in ALIKE}
        alone = run.key if run.key in lost else None
        alike.setdefault(digest([run.experiment, run.device, rest, alone]), []).append(run)
    longest = min(LONG, sum(run.seconds for run in runs) / workers / 2)
    stacks = []
    for group in alike.values():
        most = getattr(group[0].function, "stack", 1) if group[0].device == "cpu" else 1
        size = max(1, min(most, int(longest / max(run.seconds for run in group))))
        count = -(-len(group) // size)  # of about equal size
        stacks += [group[i::count] for i in range(count)]
    return sorted(stacks, key=lambda stack: -sum(run.seconds for run in stack))


class _Spent(Exception):
    """The time is over."""


class _Stalled(Exception):
    """Nobody works at the runs that are left."""


def _ended(waiting: dict[Future, list[Run]], ended: SimpleQueue[Future], until: float | None, *, here: bool) -> Iterator[Future]:
    """The futures of `waiting` as they end, while there are any; whoever takes one removes it. Raises `_Spent` at the time
    `until`, and `_Stalled` when no process `here` is at work for long.

    A process that is killed after it took a run, and before it said so, takes it along: the pool knows of nothing to wait for, not even a
    time limit, and no other process will ever take that run. Elsewhere a run may wait for hours until a machine is free.
    """
    begun, seen = False, time.monotonic()
    while waiting:
        now = time.monotonic()
        if until is not None and now >= until:
            raise _Spent
        try:
            yield ended.get(timeout=1.0 if until is None else min(1.0, until - now))
            begun, seen = True, time.monotonic()
        except Empty:
            if any(future.running() for future in waiting):
                begun, seen = True, time.monotonic()
            elif here and time.monotonic() - seen > (STALLED if begun else STARTING):
                raise _Stalled from None


def _order(run: Run) -> tuple:
    """The arguments of `ncbook.runs.worker.call` for a run."""
    in_a_file = run.function.__module__ != "__main__"
    checkpoints = store.checkpoints(run.experiment, run.key) if run.seconds > LONG else None
    return cloudpickle.dumps(run.function), run.parameters, run.device, run.code if in_a_file else None, checkpoints, run.instruction_set


def _keep(run: Run, text: str | None, info: dict) -> tuple[str, str] | None:
    """Put a run that has ended into the store; its error and log if there is nothing to put."""
    failure = None
    if text is None:  # it would fail again in the same way
        failure = info["error"], info["log"]
    else:
        about = {"parameters": canonical(run.parameters), "device": run.device, "instruction_set": run.instruction_set}
        try:
            store.write(run.experiment, run.key, text, {**about, **info})
        except OSError as error:  # of the disk
            return f"{type(error).__name__}: {error}", traceback.format_exc()
    shutil.rmtree(store.checkpoints(run.experiment, run.key), ignore_errors=True)
    return failure
