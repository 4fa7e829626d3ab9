"""Train the grids of the chapters asked for in one pool, then execute their notebooks, each into a folder of its own.

``book/_build/<profile>/<chapter>/`` holds the executed notebook, figures, verdicts and a stamp of all that went in and came out: what was
edited since is made again. A folder is there only after its notebook ran to the end; a notebook that fails is left beside it, in
``<chapter>.failed/``.
"""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ncbook import chapters, paths, settings
from ncbook.chapters import entries
from ncbook.claims.text import MARKS, estimate_text, setting_text, test_text
from ncbook.errors import InputError
from ncbook.publish import notebooks, outputs, sealed
from ncbook.publish.parameters import parameters
from ncbook.runs.code import PACKAGE, files_of, module_code
from ncbook.runs.digest import canonical, digest
from ncbook.runs.key import data_fingerprints, libraries

CELL = 3600  # seconds after which a cell counts as hanging, where all that it shows was trained before
TRAINING_CELL = 48 * 3600  # where the notebook trains by itself
_at_work: list = []  # kernels that execute a notebook now
console = Console(stderr=True, highlight=False)
# what IPython and Matplotlib read and keep
HOMES = {"IPYTHONDIR": "ipython", "MPLCONFIGDIR": "matplotlib", "MATPLOTLIBRC": "matplotlib"}


@dataclass(frozen=True)
class Chapter:
    """A chapter as it is asked for: which parameters, under which name of profile."""

    name: str
    profile: str
    parameters: dict
    recorded: bool = False  # its tables are read from its record, and nothing is trained

    @property
    def folder(self) -> Path:
        """Where its results lie once it has been executed."""
        return paths.build() / self.profile / self.name

    @property
    def failed(self) -> Path:
        return self.folder.with_name(f"{self.name}.failed")

    def stamp(self) -> str:
        """Digest of all that the executed notebook depends on. Computed without torch, so that a build with nothing to do is quick."""
        return digest(
            {
                "notebook": digest(notebooks.notebook(self.name).read_text(encoding="utf-8")),
                "parameters": canonical(self.parameters),
                "profile": self.profile,
                "tables": self._record_digest() if self.recorded else data_fingerprints(self.parameters),
                "experiment": _code(PACKAGE / "chapters" / self.name / "experiment.py"),
                "quantities": _code(PACKAGE / "chapters" / self.name / "quantities.py"),
                "imports": sorted(module_code(file) for file in files_of(notebooks.imports(self.name), ours=False)),
                "claims": entries(self.name),
                "device": settings.device(),
                "libraries": libraries(),
            }
        )

    def _record_digest(self) -> str:
        try:
            return digest((paths.record(self.profile, self.name) / "provenance.json").read_bytes().hex())
        except FileNotFoundError:
            raise InputError(
                f"there is no record of {self.name} under the profile {self.profile}; leave FROM=record out to train it, "
                f"then `make record PROFILE={self.profile}` keeps it."
            ) from None

    def is_done(self) -> bool:
        """Whether its results are there, as they were left, and were made from what is there now."""
        made_from = sealed.made_from(self.folder)
        return made_from is not None and made_from == self.stamp()

    def runs(self) -> list:
        """The runs that its tables need; none when no experiment module belongs to it (its notebook then trains by itself)."""
        if _code(PACKAGE / "chapters" / self.name / "experiment.py") is None:
            return []
        from ncbook.publish.records import planned

        return [run for of_table in planned(self.name, self.parameters).values() for run in of_table]


def _code(path: Path) -> str | None:
    return module_code(path) if path.is_file() else None


def prepare(names: list[str], profile: str, changes: dict, seeds: int | None = None, *, recorded: bool = False) -> list[Chapter]:
    """The chapters asked for (all when none is named), their parameters checked. With `changes` the profile is called ``custom``."""
    names = names or notebooks.names()
    if recorded and (changes or seeds is not None):
        raise InputError("a record holds the profile's own parameters; leave FROM=record out to change them.")
    label = "custom" if changes else profile
    if seeds is not None:
        changes = {**changes, "seeds": seeds}
    return [Chapter(name, label, parameters(name, profile, changes), recorded) for name in names]


def larger(requested: list[Chapter]) -> list[Chapter]:
    """The same chapters from their records under larger profiles, the largest first, unless these ask for just the same.

    A record that was edited, or is of other parameters than its profile's today, is named and left out.
    """
    from ncbook.publish import records

    found = []
    for chapter in requested:
        order = chapters.profiles(chapter.name)
        above = order[order.index(chapter.profile) + 1 :] if chapter.profile in order else []
        for profile in (name for name in records.on_record(chapter.name) if name in above):
            (one,) = prepare([chapter.name], profile, {}, recorded=True)
            if one.parameters == chapter.parameters:
                continue
            try:
                if not one.is_done():  # it was checked when it was executed, and this loads torch
                    records.check(profile, chapter.name, one.parameters)
            except InputError as error:
                console.print(f"left out, {chapter.name} under {profile}: {error}", markup=False, soft_wrap=True)
            else:
                found.append(one)
    return found


def is_current(name: str, profile: str) -> bool:
    """Whether a chapter's results under a profile are of what is there now, be it trained or recorded."""
    if profile not in chapters.profiles(name):  # results of changed parameters, which nothing says any more
        return False
    for recorded in (False, True):
        with suppress(InputError):  # there is no record
            if prepare([name], profile, {}, recorded=recorded)[0].is_done():
                return True
    return False


def run(requested: list[Chapter], *, jobs: int | None = None) -> list[Chapter]:
    """Train and execute what is not up to date; returns the chapters that failed, after printing why. The others are finished."""
    _sweep()
    stale = [chapter for chapter in requested if not chapter.is_done()]
    for chapter in requested:
        if chapter not in stale:
            console.print(f"{chapter.name} ({chapter.profile}): up to date")
    if not stale:
        return []
    for chapter in stale:
        entries(chapter.name)  # what is wrong with its claims is better known before they are trained for
    if recorded := [chapter for chapter in stale if chapter.recorded]:
        from ncbook.publish import records

        for chapter in recorded:  # one sentence now rather than a traceback of the notebook
            records.check(chapter.profile, chapter.name, chapter.parameters)
    paths.writable(paths.build())
    paths.writable(paths.runs())
    # neither a reader's own styles and start-up files nor a home that cannot be written change a figure
    homes = {variable: str(paths.writable(paths.build() / ".home" / name)) for variable, name in HOMES.items()}
    with settings.within({**homes, "PYTHONSTARTUP": ""}):
        return _run(stale, jobs=jobs)


def _run(stale: list[Chapter], *, jobs: int | None) -> list[Chapter]:
    """Train and execute chapters, in the environment that there is; returns those that failed."""
    broken = train(stale, jobs=jobs)
    ready = [chapter for chapter in stale if chapter not in broken]
    if ready and not list((paths.build() / ".home" / HOMES["MPLCONFIGDIR"]).glob("fontlist*")):  # once: a kernel would say so on its page
        subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=False, stderr=subprocess.DEVNULL)
    from ncbook.publish import kernels

    # each kernel is a process of its own, and waits a good part of its time
    with kernels.server() as server, ThreadPoolExecutor(2 * settings.jobs(jobs)) as pool:
        working = [pool.submit(_execute, chapter, server) for chapter in ready]
        try:
            return broken + [chapter for chapter, future in zip(ready, working, strict=True) if not future.result()]
        except BaseException:  # Ctrl-C, of which only a terminal tells the kernels, or another signal: the threads end when the kernels do
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in working):  # more than once: one may be starting
                for kernel in list(_at_work):
                    _kill(kernel)
                time.sleep(0.1)
            raise


def _kill(kernel) -> None:
    """Kill a kernel and the processes that it started, which are of its group."""
    if kernel.provisioner and kernel.provisioner.pgid:
        with suppress(ProcessLookupError):
            os.killpg(kernel.provisioner.pgid, signal.SIGKILL)


def train(stale: list[Chapter], *, jobs: int | None = None, budget: float | None = None) -> list[Chapter]:
    """Train all missing runs, for `budget` seconds at most; returns the chapters that have a failed run, after
    printing why."""
    from ncbook.data.files import check, folder
    from ncbook.data.presets import spec
    from ncbook.runs.pool import finish
    from ncbook.runs.run import SweepError, missing, time_limit

    planned = {chapter.name: chapter.runs() for chapter in stale if not chapter.recorded}
    todo = missing([run for runs in planned.values() for run in runs])
    for name in sorted({run.parameters["dataset"] for run in todo if "dataset" in run.parameters}):
        check(name)  # one sentence now rather than one failure a run
        if (dataset := spec(name)).path and (said := folder(dataset).said()):
            console.print(f"{name}: {said}", markup=False, soft_wrap=True)
    try:
        finish(todo, jobs=jobs, timeout=time_limit(todo), budget=budget)  # a run that hangs must not hang make
    except SweepError as error:
        console.print(f"training failed: {error}", markup=False, soft_wrap=True)
        for log in {message: log for _, message, log in error.failures if log}.values():
            console.print(log, markup=False, soft_wrap=True)
        keys = {run.key for run, _, _ in error.failures}
        return [chapter for chapter in stale if keys & {run.key for run in planned.get(chapter.name, [])}]
    return []


def _execute(chapter: Chapter, server=None) -> bool:
    """Execute a notebook aside and move the result into place; on failure print the cell and its traceback and keep them."""
    # a grammar of addresses that takes a second to load; jsonschema does without, and the schema of notebooks never asks
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill
    from jupyter_core.utils import run_sync

    from ncbook.publish import kernels

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of parameters whose text holds an equals sign
    chapter.folder.parent.mkdir(parents=True, exist_ok=True)
    socket = tempfile.mkdtemp(prefix="ncb")  # sockets of its own instead of ports: those are raced for when kernels start together
    aside = chapter.folder.with_name(f".{chapter.name}-{Path(socket).name}")  # it names both, for `_sweep`
    aside.mkdir()
    stamp, start = chapter.stamp(), time.perf_counter()
    source = notebooks.notebook(chapter.name)
    changed = {k: v for k, v in chapter.parameters.items() if v != notebooks.defaults(chapter.name)[k]}
    kernel = kernels.manager(server, transport="ipc", ip=os.path.join(socket, "k"), connection_file=os.path.join(socket, "kernel.json"))
    record = str(paths.record(chapter.profile, chapter.name)) if chapter.recorded else None
    session = Path(socket, "session.json")
    session.write_text(json.dumps({"profile": chapter.profile, "output": str(aside), "record": record}), encoding="utf-8")
    told = {settings.SESSION: str(session), "NCBOOK_ROOT": str(paths.root())}
    kernel.kernel_spec.env |= {name: value.replace("$", "$$") for name, value in told.items()}  # it is a template for variables
    _at_work.append(kernel)
    printed = outputs.Printed(stop=lambda: _kill(kernel))
    try:
        executed = papermill.execute_notebook(
            str(source), str(aside / source.name), changed, kernel_name="python3", cwd=str(paths.root()), progress_bar=False, km=kernel,
            execution_timeout=CELL if _code(PACKAGE / "chapters" / chapter.name / "experiment.py") else TRAINING_CELL,
            stdout_file=printed, stderr_file=printed,
            request_save_on_cell_execute=False,  # all pictures anew, twice a cell; a failure is written as well
        )  # fmt: skip
        outputs.check_size(executed.cells)
    except papermill.PapermillExecutionError as error:
        shutil.rmtree(chapter.failed, ignore_errors=True)
        aside.rename(chapter.failed)
        console.print(f"[bold red]{chapter.name} failed[/] in cell {error.cell_index + 1}:\n", markup=True)
        console.print(f"{error.source}\n", markup=False, soft_wrap=True)
        print("\n".join(error.traceback), file=sys.stderr)  # it carries colours of its own
        console.print(f"the notebook, up to there: {chapter.failed / source.name}", markup=False, soft_wrap=True)
        return False
    except Exception as error:  # noqa: BLE001 - a kernel killed, a full disk: this chapter is lost, not the others
        why = printed.fault() or (str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}")
        console.print(f"{chapter.name} failed: {why}", style="red", markup=False, soft_wrap=True)
        return False
    else:
        (aside / "seconds").write_text(f"{time.perf_counter() - start:.1f}")
        shown = [output for cell in executed.cells for output in cell.get("outputs", [])]
        # with a warning in it, which no page may show, it is executed again by the next command: what caused it may be gone by then
        sealed.close(aside, "" if any(outputs.fault(output) for output in shown) else stamp)
        shutil.rmtree(chapter.folder, ignore_errors=True)
        shutil.rmtree(chapter.failed, ignore_errors=True)
        aside.rename(chapter.folder)
        console.print(f"{chapter.name} ({chapter.profile}): executed in {time.perf_counter() - start:.0f} s")
        return True
    finally:
        _at_work.remove(kernel)
        run_sync(kernel.shutdown_kernel)(now=True)
        shutil.rmtree(socket, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _sweep() -> None:
    """Remove what a killed build left: a notebook's folder that is not in place, and the folder of its kernel's sockets."""
    for aside in paths.build().glob("*/.*-ncb*"):
        if named := re.fullmatch(r"\.\w+-(ncb\w+)", aside.name):
            shutil.rmtree(Path(tempfile.gettempdir(), named[1]), ignore_errors=True)
            shutil.rmtree(aside, ignore_errors=True)


def forecast(requested: list[Chapter]) -> None:
    """Print what a run would do: runs cached and missing, estimated time and disk. Nothing is trained."""
    from ncbook.runs import store
    from ncbook.runs.run import missing

    table = Table("chapter", "profile", "runs", "cached", "to train", "core time", "disk", box=None)
    for chapter in requested:
        runs = chapter.runs()
        todo = missing(runs)
        lacking = {run.key for run in todo}
        sizes = [sum(f.stat().st_size for f in store.folder(r.experiment, r.key).iterdir()) for r in runs if r.key not in lacking]
        each = sum(sizes) / len(sizes) if sizes else 30_000
        seconds = sum(r.seconds for r in todo)
        table.add_row(
            chapter.name, chapter.profile, str(len(runs)), str(len(runs) - len(todo)), str(len(todo)),
            f"about {seconds / 60:.0f} min" if seconds > 90 else f"about {seconds:.0f} s", f"{each * len(runs) / 1e6:.1f} MB",
        )  # fmt: skip
    Console(markup=False).print(table)


def report(chapter: Chapter) -> None:
    """Print the verdicts of an executed chapter and where its notebook and figures are."""
    out = Console(highlight=False, markup=False)
    tests = {entry["id"]: test_text(entry) for entry in entries(chapter.name)}
    table = Table("claim", "verdict", "setting", "estimate [95% interval]", "test", box=None)
    for verdict in verdicts(chapter):
        for i, part in enumerate(verdict["parts"] or [{}]):
            head = (verdict["id"], f"{MARKS[verdict['verdict']]} {verdict['verdict']}") if i == 0 else ("", "")
            table.add_row(*head, setting_text(part), estimate_text(part) or verdict["reason"], tests[verdict["id"]])
    if table.row_count:
        out.print(table)
    out.print(f"notebook and figures: {chapter.folder}", soft_wrap=True)


def verdicts(chapter: Chapter) -> list[dict]:
    """The verdicts that an executed chapter left; none for a notebook that judges nothing. `InputError` where they were edited since."""
    path = chapter.folder / "verdicts.json"
    if chapter.folder.exists() and sealed.made_from(chapter.folder) is None:
        raise InputError(
            f"{chapter.folder} holds results that were edited after they were made; `ncbook run {chapter.name}` makes them again."
        )
    return json.loads(path.read_text(encoding="utf-8"))["verdicts"] if path.is_file() else []
