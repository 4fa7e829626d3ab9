"""The command line: what make calls, and what a reviewer types."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ncbook.errors import InputError

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
data_app = typer.Typer(help="Data sets: which there are, how to get them, whether they are whole.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Chapters = Annotated[list[str] | None, typer.Argument(help="Chapters; all of them when none is named.")]
Profile = Annotated[str, typer.Option(envvar="PROFILE", help="quick, laptop or paper.")]
Device = Annotated[str, typer.Option(envvar="DEVICE", help="cpu, cuda or auto.")]
Jobs = Annotated[int | None, typer.Option(envvar="JOBS", help="Runs at a time; one a core unless told.")]
Seeds = Annotated[int | None, typer.Option(envvar="SEEDS", help="Seeds a setting; the profile's own number unless told.")]
Change = Annotated[list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Change a parameter of the chapters.")]


@app.command()
def run(
    chapters: Chapters = None,
    profile: Profile = "quick",
    device: Device = "auto",
    jobs: Jobs = None,
    seeds: Seeds = None,
    p: Change = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs, their estimated time and disk, and train nothing.")] = False,
) -> None:
    """Train what chapters need and execute their notebooks; what is up to date is left alone."""
    from ncbook import execute

    _settings(device, jobs)
    asked = execute.prepare(chapters or [], profile, _changes(p), seeds)
    if dry_run:
        execute.forecast(asked)
        return
    with _alone():
        failed = execute.run(asked, jobs=jobs)
    for chapter in asked:
        if chapter not in failed and (chapters or p):
            execute.report(chapter)
    _stop_if(failed)


@app.command()
def book(
    profile: Profile = "quick",
    device: Device = "auto",
    jobs: Jobs = None,
    seeds: Seeds = None,
) -> None:
    """Run all chapters, build the HTML book and print the path of the page to open. A book that is not whole is not published."""
    from ncbook import execute, render

    _settings(device, jobs)
    with _alone():
        asked = execute.prepare([], profile, {}, seeds)
        _stop_if(execute.run(asked, jobs=jobs))
        page = render.build(asked)
    print(f"the book: {page}")


@app.command("list")
def list_chapters() -> None:
    """The chapters, and what of them has been run."""
    from ncbook import chapters as book
    from ncbook.paths import build

    table = Table("chapter", "title", "executed for", box=None)
    for name in book.names():
        table.add_row(name, book.title(name), ", ".join(p.parent.parent.name for p in sorted(build().glob(f"*/{name}/stamp"))) or "–")
    Console().print(table)


@app.command()
def claims(profile: Profile = "quick") -> None:
    """The claims that the book tests, and their verdicts where the chapter has been run."""
    import json

    from ncbook.claims.entries import entries
    from ncbook.claims.text import MARKS, test_text
    from ncbook.paths import build

    verdicts = {}
    for path in build().glob(f"{profile}/*/verdicts.json"):
        verdicts |= {v["id"]: v["verdict"] for v in json.loads(path.read_text(encoding="utf-8"))["verdicts"]}
    table = Table("claim", "statement", "test", f"verdict ({profile})", box=None)
    for fixed in (0, 2, 3):
        table.columns[fixed].no_wrap = True
    for claim in entries():
        verdict = verdicts.get(claim["id"], "not run")
        table.add_row(claim["id"], claim["statement"], test_text(claim), f"{MARKS.get(verdict, '–')} {verdict}")
    Console().print(table)


@data_app.command("list")
def data_list() -> None:
    """The data sets, and which of them are here."""
    from ncbook.data.files import check, data_root
    from ncbook.data.presets import PRESETS

    table = Table("name", "what", "train / test", "classes", "here", box=None)
    for name, spec in _published(PRESETS):
        try:
            check(name)
            here = "yes"
        except InputError:
            here = "no"
        table.add_row(name, spec.title, f"{spec.train_size:,} / {spec.test_size:,}", str(spec.num_classes), here)
    table.add_row("folder:PATH", "your own images: PATH/train/CLASS/*.png, PATH/test/CLASS/*.png", "–", "–", "–")
    out = Console()
    out.print(table)
    out.print(f"\ndata folder: {data_root()} (another one: NCBOOK_DATA); to download: ncbook data fetch NAME", highlight=False, soft_wrap=True)


@data_app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="Data sets to download.")]) -> None:
    """Download data sets, check them, and put them in place whole."""
    from ncbook.data.download import fetch

    for name in names:
        print(f"{name}: {'fetched and checked' if fetch(name) else 'already here and whole'}")


@data_app.command("check")
def data_check(names: Annotated[list[str] | None, typer.Argument(help="Data sets; all that are here when none is named.")] = None) -> None:
    """Compare every file with the published one, byte for byte."""
    from ncbook.data.files import check
    from ncbook.data.presets import PRESETS

    wrong = 0
    for name in names or [name for name, _ in _published(PRESETS)]:
        try:
            print(f"{name}: whole, {len(check(name))} files")
        except InputError as error:
            wrong += bool(names) or "is not in" not in str(error)  # a set that nobody fetched is no fault, unless it was named
            print(f"{name}: {error}")
    if wrong:
        raise typer.Exit(1)


def _published(presets) -> list:
    """The presets that stand for one set; ``folder`` stands for any."""
    return [(name, spec) for name, spec in presets.items() if name != "folder"]


def _changes(given: list[str] | None) -> dict:
    changes = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"-p {text!r}: write it as -p name=value.")
        changes[name.strip()] = value.strip()
    return changes


def _settings(device: str, jobs: int | None) -> None:
    """Check the machine's settings and hand them to the kernels through the environment."""
    import os

    from ncbook import settings

    os.environ["DEVICE"] = settings.device(device)
    if jobs is not None:
        os.environ["JOBS"] = str(settings.jobs(jobs))


def _alone():
    """One build a checkout: a second one waits for the first, and says so."""
    from contextlib import contextmanager

    from filelock import FileLock, Timeout

    from ncbook.paths import runs, writable

    @contextmanager
    def waiting():
        lock = FileLock(writable(runs()) / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            Console(stderr=True).print("another ncbook is at work in this checkout; waiting for it to finish")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    return waiting()


def _stop_if(failed: list) -> None:
    if failed:
        Console(stderr=True).print(f"[bold red]failed:[/] {', '.join(chapter.name for chapter in failed)}")
        raise typer.Exit(1)


def main() -> None:
    """Entry point: an `InputError` ends with its sentence and exit code 2, anything else with its traceback."""
    try:
        app()
    except InputError as error:
        Console(stderr=True, highlight=False).print(f"ncbook: {error}", markup=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
