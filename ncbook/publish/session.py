"""A session: what a notebook knows of the chapter that it is, and of the build that executes it.

    chapter = open_chapter("train_test_collapse", globals())
    collapse = chapter.table("collapse")
    chapter.show(figure, "a-name", what="…", finding="…", table=…)
    chapter.judge()
    chapter.provenance()

A session alone knows the profile, the folder for figures and verdicts, and whether tables are trained or come from a record. A notebook
that is opened by hand has none of these: its profile is called ``by hand``, and its tables are trained; with ``FROM=record`` they are read
from the record of the parameters that stand in it.
"""

import inspect
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ncbook import chapters, paths, settings
from ncbook.errors import InputError, unknown
from ncbook.publish import figures, judge, notebooks, provenance, readings, records, verdicts
from ncbook.publish.parameters import parameters as parameters_of
from ncbook.publish.provenance import Markdown
from ncbook.publish.records import Record
from ncbook.publish.verdicts import Verdicts
from ncbook.runs.plan import Table, computed, finished, plan
from ncbook.runs.run import Run


@dataclass
class Session:
    """A chapter in a notebook: its parameters as they stand there, and its tables as far as they were asked for."""

    name: str
    parameters: dict
    profile: str
    output: Path
    record: Record | None  # what its tables are read from; None: they are trained
    read: dict[str, Table] = field(default_factory=dict)

    def source(self, *functions: str) -> Markdown:
        """The source of functions of ``experiment.py``, as a notebook shows it."""
        texts = [inspect.getsource(getattr(chapters.experiment(self.name), name)) for name in functions]
        return Markdown("\n".join(f"```python\n{text}```" for text in texts))

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables of the chapter by name, each over the grid of the notebook's parameters: trained where need be, or from the record."""
        known = chapters.experiment(self.name).TABLES
        if self.record is None:  # in one pool: to start a worker takes seconds
            planned = {name: self._planned(name) for name in known if name not in self.read}
            found = computed([run for runs in planned.values() for run in runs])
            self.read |= {name: finished(runs, found) for name, runs in planned.items()}
        return {name: self.table(name) for name in known}

    def table(self, name: str) -> pd.DataFrame:
        """One table of the chapter; an `InputError` where there is none of that name."""
        if name not in (known := chapters.experiment(self.name).TABLES):
            raise unknown(f"table of {self.name}", name, known)
        if name not in self.read:
            planned = self._planned(name)
            self.read[name] = self.record.table(planned) if self.record else finished(planned, computed(planned))
        return self.read[name].rows.copy()

    def _planned(self, name: str) -> list[Run]:
        experiment, grid = chapters.experiment(self.name).TABLES[name]
        return plan(experiment, grid(**self.parameters))

    def show(self, figure, name: str, *, what: str, finding: str, table: pd.DataFrame) -> None:
        """Keep a figure with its table and show it (see `ncbook.publish.figures.show`)."""
        figures.show(figure, name, what=what, finding=finding, table=table, folder=self.output / "figures")

    def readings(self, columns: list[str]) -> pd.DataFrame:
        """What each way to read the runs, told apart by `columns`, makes of the claims (see `ncbook.publish.readings`)."""
        return readings.readings(verdicts.judged(self.name, self.tables(), self.profile), columns)

    def judge(self) -> Verdicts:
        """Judge every claim of the chapter on its tables, and leave the verdicts for the ledger."""
        return judge.judge(self.name, self.tables(), profile=self.profile, folder=self.output, record=self.record)

    def provenance(self) -> Markdown:
        """Where the numbers of the page come from; the same lines are left for the page of trust."""
        self.tables()
        return provenance.provenance(list(self.read.values()), profile=self.profile, folder=self.output, record=self.record)


def open_chapter(name: str, namespace: dict) -> Session:
    """The session of the chapter `name` in a notebook, whose ``globals()`` hold the parameters that it declares.

    An `InputError` says which parameter the notebook lacks: its cell of parameters was not run.
    """
    declared = notebooks.defaults(name)
    if lacking := [parameter for parameter in declared if parameter not in namespace]:
        raise InputError(f"the notebook does not define {', '.join(lacking)}; run its cell of parameters first.")
    parameters = {parameter: namespace[parameter] for parameter in declared}
    if not (given := settings.session()):
        record = _record_of(name, parameters) if settings.from_record() else None
        return Session(name, parameters, "by hand", paths.build() / "by-hand", record)
    record = records.read(Path(given["record"])) if given.get("record") else None
    return Session(name, parameters, given["profile"], Path(given["output"]), record)


def _record_of(name: str, parameters: dict) -> Record:
    """The record of a profile that has these parameters."""
    for profile in (recorded := records.on_record(name)):
        if parameters_of(name, profile) == parameters:
            return records.read(paths.record(profile, name))
    raise InputError(
        f"FROM=record, and {name} has a record of its profiles {', '.join(recorded) or 'none'} only, whose parameters are not those of "
        "this notebook. Put them back, or unset FROM to train."
    )
