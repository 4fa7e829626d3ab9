"""The command line: what make calls, and what a reviewer types."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ncbook import settings
from ncbook.cli import data
from ncbook.errors import InputError

app = typer.Typer(help=__doc__ or "", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(data.app, name="data")
runs_app = typer.Typer(help="Finished runs: those of another machine.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")
new_app = typer.Typer(help="A new chapter.", no_args_is_help=True)
app.add_typer(new_app, name="new")

Chapters = Annotated[list[str] | None, typer.Argument(help="Chapters; all of them when none is named.")]
Profile = Annotated[str, typer.Option(envvar="PROFILE", help="quick, laptop or paper.")]
Device = Annotated[str, typer.Option(envvar="DEVICE", help="cpu, cuda or auto.")]
Jobs = Annotated[int | None, typer.Option(envvar="JOBS", help="Runs at a time; one a core unless told.")]
Executor = Annotated[
    str | None,
    typer.Option(envvar="EXECUTOR", help="Who computes runs: local, parsl:CONFIG, dask:ADDRESS or MODULE:FACTORY."),
]
Seeds = Annotated[int | None, typer.Option(envvar="SEEDS", help="Seeds a setting; the profile's own number unless told.")]
From = Annotated[str | None, typer.Option("--from", envvar="FROM", help="record: show the tables on record, and train nothing.")]
Change = Annotated[list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Change a parameter of the chapters.")]


@app.command()
def run(
    chapters: Chapters = None,
    profile: Profile = "quick",
    device: Device = "auto",
    jobs: Jobs = None,
    executor: Executor = None,
    seeds: Seeds = None,
    p: Change = None,
    source: From = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs, their estimated time and disk, and train nothing.")] = False,
) -> None:
    """Train what chapters need and execute their notebooks; what is up to date is left alone."""
    from ncbook.publish import execute

    _settings(device, jobs, executor)
    requested = execute.prepare(chapters or [], profile, _changes(p), seeds, recorded=settings.from_record(source))
    if dry_run:
        execute.forecast(requested)
        return
    with _alone():
        failed = execute.run(requested, jobs=jobs)
    for chapter in requested:
        if chapter not in failed and (chapters or p):
            execute.report(chapter)
    _stop_if(failed)


@app.command()
def book(
    profile: Profile = "quick",
    device: Device = "auto",
    jobs: Jobs = None,
    executor: Executor = None,
    seeds: Seeds = None,
    source: From = None,
) -> None:
    """Run all chapters, build the HTML book, larger records beside it, and print the path of the page to open. A book that is not whole is
    not published."""
    from ncbook.publish import execute, render

    _settings(device, jobs, executor)
    render.check_place()
    with _alone():
        requested = execute.prepare([], profile, {}, seeds, recorded=settings.from_record(source))
        larger = execute.larger(requested)
        _stop_if(execute.run([*requested, *larger], jobs=jobs))
        page = render.build(requested, beside=larger)
    print(f"the book: {page}")


@app.command()
def train(
    chapters: Chapters = None,
    profile: Profile = "quick",
    device: Device = "auto",
    jobs: Jobs = None,
    executor: Executor = None,
    seeds: Seeds = None,
    p: Change = None,
    budget: Annotated[str | None, typer.Option(help="Stop after this long, as 90s, 9m or 2h, and keep what is finished.")] = None,
) -> None:
    """Train what chapters need and nothing else: for a machine without a notebook kernel, or one lent by the minute. Processes of torchrun
    train each network together."""
    from ncbook.runs import ranks

    _settings(device, jobs, executor, by_several=True)
    with ranks.joined(settings.device()) as leads:
        if leads:
            _train(chapters or [], profile, _changes(p), seeds, jobs=jobs, budget=_seconds(budget))


def _train(chapters: list[str], profile: str, changes: dict, seeds: int | None, *, jobs: int | None, budget: float | None) -> None:
    from ncbook.publish import execute
    from ncbook.runs.run import missing

    with _alone():
        requested = execute.prepare(chapters, profile, changes, seeds)
        failed = execute.train(requested, jobs=jobs, budget=budget)
        runs = [run for chapter in requested for run in chapter.runs()]
        left = len(missing(runs))
    _stop_if(failed)
    print(
        f"{len(runs) - left} of {len(runs)} runs are finished" + (f"; {left} are left: the same command goes on with them" if left else "")
    )
    if left:
        raise typer.Exit(3)


@app.command()
def record(
    chapters: Chapters = None,
    profile: Profile = "quick",
    jobs: Jobs = None,
) -> None:
    """Keep the finished tables of chapters in data/results, with where they come from and how their claims are judged."""
    from ncbook.publish import execute, records

    _settings("auto", jobs)
    with _alone():
        requested = execute.prepare(chapters or [], profile, {})
        for chapter in requested:
            here = records.write(chapter.name, profile, chapter.parameters)
            size = sum(file.stat().st_size for file in here.iterdir())
            print(f"{chapter.name} ({profile}): recorded in {here}, {size / 1000:.0f} kB")
        records.write_short([chapter.name for chapter in requested], jobs=jobs)


@app.command("verify")
def verify_profile(
    chapters: Chapters = None,
    profile: Profile = "quick",
    device: Device = "auto",
    jobs: Jobs = None,
    executor: Executor = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail what can be compared by a weaker class only.")] = False,
    reuse: Annotated[bool, typer.Option("--reuse", help="Compare runs that were trained here before, and train the others.")] = False,
) -> None:
    """Train a profile again in a clean place and compare every number with the record; exit 1 when one does not hold."""
    from ncbook.publish import execute, records, trust, verify

    _settings(device, jobs, executor)
    with _alone():
        requested = execute.prepare(chapters or [], profile, {})
        if not any(records.exists(profile, chapter.name) for chapter in requested):
            which = f"there is no record of {', '.join(chapters)}" if chapters else "no chapter has a record"
            raise InputError(f"{which} under the profile {profile}; `make record PROFILE={profile}` makes one.")
        results = verify.verify(requested, jobs=jobs, reuse=reuse)
        verify.write_report(results, profile)
    table = Table("chapter", "profile", "table", "verdict", "cells", "largest difference", box=None)
    for result in results:
        largest = "see below" if result.misses else result.largest
        table.add_row(result.chapter, result.profile, result.table, result.verdict, f"{result.cells:,}", largest)
    # a log has no width of its own, and 80 characters would break each line in six
    Console(markup=False, width=None if sys.stdout.isatty() else 160).print(table)
    for result in results:
        for miss in result.misses[:5] + [f"… and {len(result.misses) - 5} more"] * (len(result.misses) > 5):
            print(f"{result.chapter}, {result.profile}, {result.table}: {miss}")
    print(verify.summary(results) + "." * reuse + trust.reused(sum(result.reused for result in results)))
    if wrong := sum(bool(result.misses) for result in results):
        Console(stderr=True).print(f"[bold red]{wrong} of {len(results)} comparisons do not hold[/]")
        raise typer.Exit(1)
    if strict and any(result.is_weaker for result in results):
        Console(stderr=True).print("[bold red]some tables could be compared by their spread only, which --strict does not take[/]")
        raise typer.Exit(1)
    print(f"all {len(results)} comparisons hold")


@app.command()
def publish(jobs: Jobs = None) -> None:
    """Build the book that is published: each chapter from its largest record, smaller ones beside it. Trains nothing."""
    from ncbook.publish import execute, records, render

    _settings("auto", jobs)
    render.check_place()
    with _alone():
        if lacking := [name for name in _chapter_names() if not records.on_record(name)]:
            raise InputError(f"these chapters have no record: {', '.join(lacking)}; `make record` makes them.")
        requested = {name: [execute.prepare([name], p, {}, recorded=True)[0] for p in records.on_record(name)] for name in _chapter_names()}
        _stop_if(execute.run([chapter for of_chapter in requested.values() for chapter in of_chapter], jobs=jobs))
        page = render.build(
            [largest for largest, *_ in requested.values()], beside=[chapter for _, *smaller in requested.values() for chapter in smaller]
        )
    for name, (largest, *_) in requested.items():
        print(f"{name}: {largest.profile}, {records.why_shown(name)}")
    print(f"the book: {page}")


@app.command("pdf")
def print_book() -> None:
    """Print the built book to one PDF, with Chromium."""
    from ncbook import paths
    from ncbook.publish import pdf

    with _alone():
        printed = pdf.write(paths.build() / "html")
    print(f"the printed book: {printed}")


@runs_app.command("import")
def runs_import(folder: Annotated[str, typer.Argument(help="The data/runs of another machine, or a copy of it.")]) -> None:
    """Merge finished runs of another machine into this cache; what is not whole is left out and named."""
    from pathlib import Path

    from ncbook.runs import store

    with _alone():
        taken, known, broken = store.merge(Path(folder))
    print(f"{taken} runs taken, {known} known already" + (f", {len(broken)} left out as they are not whole:" if broken else ""))
    for path in broken:
        print(f"  {path}")
    if broken:
        raise typer.Exit(1)


@new_app.command("chapter")
def new_chapter(name: Annotated[str, typer.Argument(help="Its name as a module: wide_networks.")]) -> None:
    """Write a chapter that runs as it is, to be changed into yours: its folder, its notebook, a line in the table of contents."""
    from ncbook.publish import new_chapter

    for path in new_chapter.create(name):
        print(path)
    print(f"it runs: make figure-{name}; what a chapter is made of: CONTRIBUTING.md")


@app.command("list")
def list_chapters() -> None:
    """The chapters, and what of them has been run."""
    from ncbook.paths import build, checkout
    from ncbook.publish import notebooks

    checkout()
    table = Table("chapter", "title", "executed for", box=None)
    for name in notebooks.names():
        table.add_row(name, notebooks.title(name), ", ".join(p.parent.parent.name for p in sorted(build().glob(f"*/{name}/stamp"))) or "–")
    Console(markup=False).print(table)


@app.command()
def claims(profile: Profile = "quick") -> None:
    """The claims that the book tests, and their verdicts where the chapter has been run."""
    from ncbook.chapters import entries
    from ncbook.claims.text import MARKS, test_text
    from ncbook.publish import execute

    verdicts = {}
    for name in _chapter_names():
        try:
            judged = execute.verdicts(execute.Chapter(name, profile, {}))
            older = "" if not judged or execute.is_current(name, profile) else " (of an older state)"
            verdicts |= {v["id"]: (v["verdict"], older) for v in judged}
        except InputError as error:
            Console(stderr=True, highlight=False).print(f"left out: {error}", markup=False, soft_wrap=True)
    table = Table("claim", "statement", "test", f"verdict ({profile})", box=None)
    for fixed in (0, 2, 3):
        table.columns[fixed].no_wrap = True
    for claim in entries():
        verdict, older = verdicts.get(claim["id"], ("not run", ""))
        table.add_row(claim["id"], claim["statement"], test_text(claim), f"{MARKS.get(verdict, '–')} {verdict}{older}")
    Console(markup=False).print(table)


def _chapter_names() -> list[str]:
    from ncbook.publish import notebooks

    return notebooks.names()


def _seconds(text: str | None) -> float | None:
    """``90s``, ``9m``, ``2h`` or a number of seconds."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("s", "m", "h") else (text, "s")
    try:
        seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except ValueError:
        seconds = -1
    if not 0 < seconds < float("inf"):
        raise InputError(f"--budget {text!r}: write a time such as 90s, 9m or 2h.")
    return seconds


def _changes(given: list[str] | None) -> dict:
    changes = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"-p {text!r}: write it as -p name=value.")
        changes[name.strip()] = value.strip()
    return changes


def _settings(device: str, jobs: int | None, executor: str | None = None, *, by_several: bool = False) -> None:
    """Check that there is a checkout, and the machine's settings; hand them to the kernels through the environment."""
    from ncbook import paths

    if settings.rank().of > 1 and not by_several:
        raise InputError("torchrun is for `ncbook train` alone; then give this command without it.")
    paths.checkout()  # before a lock is left in a folder that is none
    settings.check_open_files()
    if executor is not None:
        from ncbook.runs import executors

        settings.keep(EXECUTOR=str(executors.chosen(executor)))
    settings.keep(DEVICE=settings.device(device), **({} if jobs is None else {"JOBS": str(settings.jobs(jobs))}))


def _alone():
    """One build a checkout: a second one waits for the first, and says so. Records that a killed command was replacing are put back,
    and runs that it was writing go."""
    from contextlib import contextmanager

    from filelock import FileLock, Timeout

    from ncbook import durable
    from ncbook.paths import results, runs, writable
    from ncbook.runs import store

    @contextmanager
    def waiting():
        place = writable(runs()) / ".lock"
        lock = FileLock(place)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            Console(stderr=True).print("another ncbook is at work in this checkout; waiting for it to finish")
            lock.acquire()
        except OSError as error:
            raise InputError(f"{place} cannot be locked ({error.strerror or error}); remove it, or let this user write it") from None
        try:
            for profile in results().glob("*/"):
                durable.recover(profile)
            store.clear()
            yield
        finally:
            lock.release()

    return waiting()


def _stop_if(failed: list) -> None:
    if failed:
        Console(stderr=True).print(f"[bold red]failed:[/] {', '.join(chapter.name for chapter in failed)}")
        raise typer.Exit(1)
