"""Records and their verification without training: the store holds the runs of a tracked record, as if they had just been computed here."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from checkouts import BOOK, Checkout

from ncbook import paths, settings
from ncbook.errors import InputError
from ncbook.publish import execute, provenance, records, sealed, verify
from ncbook.publish.parameters import parameters
from ncbook.publish.verdicts import changed_code
from ncbook.runs import store
from ncbook.runs.plan import Table
from ncbook.runs.run import Run, SweepError

CHAPTER, TABLE = "train_test_collapse", "collapse"
PROFILES = ("short", "quick")
INFO = {
    "seconds": 1.5, "peak_memory_mb": 99, "torch": "9.0", "numpy": "9.1", "scipy": "9.2", "scikit_learn": "9.3", "python": "3.99",
    "machine": "x86_64", "cpu": "A CPU", "cpu_capability": "AVX2", "gpu": None, "finished": "2026-01-01T00:00:00Z",
}  # fmt: skip


def planned_of(profile: str) -> dict[str, list[Run]]:
    """The runs of every table of the chapter."""
    return records.planned_short(CHAPTER) if profile == "short" else records.planned(CHAPTER, parameters(CHAPTER, profile), device="cpu")


def runs_of(profile: str) -> list[Run]:
    return planned_of(profile)[TABLE]


def rows_of(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """What the run itself returned: its rows, without its parameters."""
    mine = table
    for name, value in run.parameters.items():
        mine = mine[mine[name].isna() if value is None else mine[name] == value]
    assert len(mine)
    return mine.drop(columns=list(run.parameters))


def took(run: Run) -> dict:
    """What a run took, and where: not all took as much."""
    odd = run.parameters["seed"] % 2
    return INFO | {"seconds": 1.5 + odd, "peak_memory_mb": 99 + odd}


def tracked(profile: str, table: str = TABLE) -> bytes:
    """A table of the repository's own record."""
    return gzip.decompress((BOOK / "data" / "results" / profile / CHAPTER / f"{table}.csv.gz").read_bytes())


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> dict[str, dict[str, pd.DataFrame]]:
    """A checkout of one chapter whose store holds all its runs, and a record made of them: the true tables by profile and name."""
    checkout = Checkout(tmp_path_factory.mktemp("stored") / "checkout", chapters=[CHAPTER])
    tables = {}
    with settings.within({**checkout.env(), "NCBOOK_RUNS": ""}):
        for profile in PROFILES:
            for name, runs in planned_of(profile).items():
                table = store.from_csv(tracked(profile, name).decode())
                for run in runs:
                    info = {**took(run), "parameters": run.parameters, "device": "cpu", "instruction_set": run.instruction_set}
                    store.write(run.experiment, run.key, store.to_csv(rows_of(table, run)), info)
            records.write(CHAPTER, profile, parameters(CHAPTER, profile))
        for profile in PROFILES:
            tables[profile] = {name: record(profile).table(runs).rows for name, runs in planned_of(profile).items()}
        yield tables


@pytest.fixture(autouse=True)
def untouched(stored):
    """Whatever a test does to the record, the next one finds it as it was."""
    before = {path: path.read_bytes() for path in paths.results().rglob("*.*")}
    yield
    for path, content in before.items():
        path.write_bytes(content)


def record(profile: str = "quick") -> records.Record:
    return records.read_as_it_is(profile, CHAPTER)


# --- records ------------------------------------------------------------------------------------------------------------------------------


def forged(change: Callable[[dict], dict]) -> None:
    """Write the record's provenance anew, sealed as if it had been recorded so."""
    path = record().folder / "provenance.json"
    known, _ = sealed.opened(path.read_text())
    path.write_text(sealed.seal(change(known)))


RESEALED = {
    "no tables": (lambda known: {**known, "tables": {}}, "its files are not those of its tables"),
    "a table more": (
        lambda known: {**known, "tables": {**known["tables"], "x": {"experiment": ""}}},
        "its files are not those of its tables",
    ),
    "another chapter": (lambda known: {**known, "chapter": "transfer_degradation"}, "it is of transfer_degradation under quick"),
    "another profile": (lambda known: {**known, "profile": "laptop"}, "it is of train_test_collapse under laptop"),
    "a commit that is a number": (lambda known: {**known, "commit": 3}, "it holds no commit"),
    "no parameters": (lambda known: {k: v for k, v in known.items() if k != "parameters"}, "it holds no parameters"),
    "claims without names": (lambda known: {**known, "claims": [{}]}, "a claim or a verdict in it is none"),
    "a file elsewhere": (lambda known: {**known, "files": {**known["files"], "../x.csv.gz": ""}}, "its files are not those of its tables"),
    "a table that is nothing": (lambda known: {**known, "tables": dict.fromkeys(known["tables"])}, "AttributeError"),
    "a table of no experiment": (lambda known: {**known, "tables": {n: {} for n in known["tables"]}}, "a table in it is none"),
    "a claim with a list for a name": (lambda known: {**known, "claims": [{"id": []}]}, "a claim or a verdict in it is none"),
    "a verdict of parts that are none": (
        lambda known: {**known, "verdicts": [{**known["verdicts"][0], "parts": ["x"]}]},
        "a claim or a verdict in it is none",
    ),
    "verdicts of text": (lambda known: {**known, "verdicts": ["supported"]}, "AttributeError"),
}


@pytest.mark.parametrize("name", RESEALED)
def test_a_provenance_that_nobody_recorded_is_one_sentence_though_its_checksum_holds(stored, name):
    change, says = RESEALED[name]
    forged(change)
    with pytest.raises(InputError, match=says) as refused:
        records.check("quick", CHAPTER, parameters(CHAPTER, "quick"))
    assert "cannot be read" in str(refused.value) and "Restore it with git" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda runs: pd.concat([runs, runs.tail(1)]), "it holds a run twice"),
        (lambda runs: runs.assign(seconds="long"), "what its runs took is no number"),
        (lambda runs: runs.assign(seconds=-runs["seconds"]), "what its runs took is no number"),
        (lambda runs: runs.assign(seconds=[float("nan"), *runs["seconds"][1:]]), "what its runs took is no number"),
        (lambda runs: runs.assign(peak_memory_mb=float("inf")), "what its runs took is no number"),
        (lambda runs: runs.drop(columns="device"), "its runs have no device"),
        (lambda runs: runs.drop(columns="key"), "its runs have no key"),
        (lambda runs: runs.drop(columns="table"), "KeyError"),
        (lambda runs: runs.assign(table="collapse"), "its tables are not those of its runs"),
    ],
)
def test_runs_that_nobody_recorded_are_one_sentence_though_their_checksum_holds(stored, change, says):
    path = record().folder / "runs.csv.gz"
    text = store.to_csv(change(record().runs))
    forged(lambda known: {**known, "files": {**known["files"], path.name: hashlib.sha256(text.encode()).hexdigest()}})
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(InputError, match=says):
        records.check("quick", CHAPTER, parameters(CHAPTER, "quick"))


def test_a_processor_without_a_name_is_called_by_its_kind_before_and_after_it_is_read(stored):
    unnamed = record().runs.assign(cpu=None)
    read = store.from_csv(store.to_csv(unnamed))
    assert records._totals(unnamed) == records._totals(records._text_where_text(read))
    assert records._totals(unnamed)["machines"][0].startswith(unnamed["machine"][0])


def test_a_record_that_no_disk_takes_leaves_the_one_before(stored):
    """No file may take more than its first kilobyte, as where a disk is full."""
    before = {path: path.read_bytes() for path in paths.results().rglob("*") if path.is_file()}
    limited = "import resource as r, sys; r.setrlimit(r.RLIMIT_FSIZE, (1000, 1000)); from ncbook.cli import main; main()"
    command = [sys.executable, "-c", limited, "record", CHAPTER]
    done = subprocess.run(command, env={**os.environ, "NCBOOK_ROOT": str(paths.root())}, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("ncbook: File too large") and done.stderr.count("\n") == 1, done.stderr
    assert {path: path.read_bytes() for path in paths.results().rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in (paths.results() / "quick").iterdir()) == [CHAPTER]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_recorded_is_what_was_stored_digit_for_digit(stored, profile):
    assert gzip.decompress((record(profile).folder / f"{TABLE}.csv.gz").read_bytes()) == tracked(profile)
    planned, keys = planned_of(profile), [run.key for runs in planned_of(profile).values() for run in runs]
    assert [row.key for row in record(profile).runs.itertuples()] == keys
    assert record(profile).provenance["tables"] == {
        name: {"experiment": runs[0].experiment, "runs": len(runs), "rows": len(stored[profile][name])} for name, runs in planned.items()
    }
    known, each = record(profile).provenance, [took(run) for runs in planned.values() for run in runs]
    assert known["core_seconds"] == sum(one["seconds"] for one in each)
    assert known["longest_run_seconds"] == max(one["seconds"] for one in each)
    assert known["peak_memory_mb"] == max(one["peak_memory_mb"] for one in each)
    infos = [info for runs in planned.values() for info in record(profile).table(runs).runs]
    assert [{name: info[name] for name in INFO} for info in infos] == each


def test_the_same_runs_give_the_same_bytes(stored):
    path = record().folder / f"{TABLE}.csv.gz"
    before = path.read_bytes()
    records.write(CHAPTER, "quick", parameters(CHAPTER, "quick"))
    assert path.read_bytes() == before and before[4:8] == b"\0\0\0\0"  # gzip would keep the time


def test_a_record_of_part_of_a_grid_is_refused(stored):
    more = parameters(CHAPTER, "quick", {"seeds": parameters(CHAPTER, "quick")["seeds"] + 1})
    with pytest.raises(InputError, match="runs are not finished; a record holds complete grids only"):
        records.write(CHAPTER, "quick", more)
    asked = records.planned(CHAPTER, more)[TABLE]
    older = replace(record(), provenance={**record().provenance, "parameters": {**record().provenance["parameters"], "seeds": 99}})
    with pytest.raises(InputError, match=r"does not hold the runs .* \(recorded with seeds=99, now"):
        older.table(asked)


def test_code_that_has_changed_since_is_told_of_each_run(stored):
    runs = runs_of("quick")
    assert not any(info["changed"] for info in record().table(runs).runs)
    edited = [replace(run, code="0" * 20) for run in runs]
    assert all(info["changed"] for info in record().table(edited).runs)
    older = replace(record(), runs=record().runs.drop(columns="instruction_set"))  # a record that does not say is of the one asked for
    assert not any(info["changed"] for info in older.table(runs).runs)
    one = [edited[0], *runs[1:]]
    assert [info["changed"] for info in record().table(one).runs] == [True] + [False] * (len(runs) - 1)


def test_code_that_has_changed_and_gives_the_same_digits_says_so(stored, monkeypatch):
    """A larger record is not made anew for every edit: the short runs, which are, say whether the edit moved a digit."""
    known = record().provenance
    assert set(known["short"]) == {f"{name}.csv.gz" for name in known["tables"]} and record("short").provenance["short"] == {}
    assert record().same_short_runs()
    moved = replace(record(), provenance={**known, "short": {**known["short"], f"{TABLE}.csv.gz": "0" * 64}})
    older = replace(record(), provenance={name: value for name, value in known.items() if name != "short"})
    assert not moved.same_short_runs() and not older.same_short_runs()
    edited = [{"changed": True} for _ in runs_of("quick")]
    assert "has changed since**, and gives the same digits in the short runs" in provenance._record(with_commit(edited), record())
    assert provenance._record(with_commit(edited), moved).count("same digits") == 0
    with monkeypatch.context() as patch:  # the short runs on record are of older code themselves, and say nothing
        patch.setattr(records, "key_on", lambda *given: "another")
        assert not record().same_short_runs()
    (record("short").folder / f"{TABLE}.csv.gz").write_bytes(gzip.compress(b"edited"))
    assert not record().same_short_runs()


def with_commit(runs: list[dict]) -> list[dict]:
    return [{**run, **{name: record().provenance[name] for name in ("commit", "dirty", "recorded")}} for run in runs]


def test_what_judges_and_has_changed_since_is_named(stored):
    known = record().provenance
    assert changed_code(known) == []
    for name in known["judged_by"]:
        assert changed_code({**known, "judged_by": {**known["judged_by"], name: "0" * 20}}) == [name]


def test_a_file_that_was_edited_is_named_and_nothing_is_read(stored):
    path = record().folder / f"{TABLE}.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"1", b"2", 1), mtime=0))
    assert record().edited == [f"{TABLE}.csv.gz"]
    with pytest.raises(InputError, match=f"{TABLE}.csv.gz in .* changed after it was recorded"):
        records.check("quick", CHAPTER, parameters(CHAPTER, "quick"))
    path.unlink()
    with pytest.raises(InputError, match=r"cannot be read .*Restore it with git"):
        record()


def test_larger_records_are_those_of_what_a_larger_profile_asks_for_today(monkeypatch, capsys):
    asked = {"quick": {"epochs": 1}, "laptop": {"epochs": 1}, "paper": {"epochs": 2}, "paper-full": {"epochs": 3}}

    def check(profile, chapter, parameters):
        assert parameters == asked[profile]
        if profile == "paper-full":
            raise InputError("its parameters are not those of the profile any more")

    monkeypatch.setattr(records, "on_record", lambda chapter: list(reversed(asked)))
    monkeypatch.setattr(execute, "parameters", lambda chapter, profile, changes: asked[profile])
    monkeypatch.setattr(records, "check", check)

    def shown(profile: str) -> list[str]:
        return [one.profile for one in execute.larger([execute.Chapter(CHAPTER, profile, asked.get(profile, {}))])]

    assert shown("quick") == ["paper"]  # laptop asks for no more than quick
    assert "left out, " in (said := capsys.readouterr().err) and "under paper-full: its parameters" in said
    assert shown("paper") == shown("short") == shown("custom") == []
    monkeypatch.setattr(execute.Chapter, "is_done", lambda self: True)  # executed, and so checked: nothing is read again
    monkeypatch.delattr(records, "check")
    assert shown("quick") == ["paper-full", "paper"]


# --- verification -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def verified(stored, monkeypatch) -> Callable:
    """Verify the record as if training here had given another table: words of each comparison. The machine is another one unless told."""

    def run(
        quick: Callable = lambda table: table, short: Callable = lambda table: table, *, reuse: bool = False, **here: str
    ) -> list[verify.Compared]:
        change, run.places = {"quick": quick, "short": short}, []

        def ready(planned, chosen, name, *, jobs):
            run.places.append((chosen, name))
            profile = name.split("-")[1] if name else "quick"
            read = {}
            for place, runs in planned.items():
                table = stored[profile][place[1]].copy()
                if place[1] == TABLE:
                    table = change[profile](table)
                if chosen != settings.instruction_set():  # what another way of rounding makes of it
                    table["variance_ratio"] *= 1 + 1e-7 * np.random.default_rng(0).standard_normal(len(table))
                infos = [{**INFO, "device": "cpu", "cpu": "Another CPU", **here} for _ in runs]
                read[place] = Table(store.from_csv(store.to_csv(table)), infos)
            return read, {}

        monkeypatch.setattr(verify, "_trained", ready)
        monkeypatch.setattr(settings, "instruction_sets", lambda: ["generic", "avx2"])
        return verify.verify(execute.prepare([CHAPTER], "quick", {}), reuse=reuse)

    return run


def of_table(results: list[verify.Compared], profile: str) -> verify.Compared:
    return next(result for result in results if (result.profile, result.table) == (profile, TABLE))


def told(results: list[verify.Compared]) -> list[str]:
    return [f"{r.profile} {r.table}: {miss}" for r in results for miss in r.misses]


def scaled(by: float, where: str = "epoch >= 0", column: str = "variance_ratio") -> Callable:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        rows = table.query(where).index
        table.loc[rows, column] = table.loc[rows, column] * by
        return table

    return change


def test_the_same_digits_are_exact(verified):
    results = verified()
    assert told(results) == [] and [r.by for r in results] == ["exact"] * (len(results) - 1) + ["claims"]
    assert verify.summary(results) == f"{len(results)} exact" and len(results) == 1 + sum(len(planned_of(profile)) for profile in PROFILES)


@pytest.mark.parametrize("reuse", [False, True])
def test_runs_that_were_trained_here_are_compared_only_when_asked_for(stored, monkeypatch, reuse):
    places = []

    def fail(runs, **_):
        places.append(paths.runs())
        raise SweepError([(run, "stopped", "") for run in runs], len(runs))

    monkeypatch.setattr(verify, "finish", fail)
    cache = paths.runs()
    results = verify.verify(execute.prepare([CHAPTER], "quick", {}), reuse=reuse)
    assert (sum(result.reused for result in results) > 0) is reuse
    short, quick = places
    assert short != cache and (quick == cache) is reuse


@pytest.mark.parametrize("reuse", [False, True])
def test_what_rounding_does_is_measured_with_runs_that_were_trained_here_only_when_asked_for(verified, monkeypatch, reuse):
    """And the report counts those runs as well."""
    monkeypatch.setattr(verify, "missing", lambda runs: [run for run in runs if run.instruction_set == settings.instruction_set()])
    results = verified(quick=scaled(1 + 1e-7), reuse=reuse)
    chosen = settings.instruction_set()
    (other,) = {way for way, _ in verified.places} - {chosen}
    short, asked, again = verified.places
    assert short == (chosen, "verify-short") and told(results) == [] and of_table(results, "quick").by == "rounding"
    assert [asked, again] == ([(chosen, None), (other, None)] if reuse else [(chosen, "verify-quick"), (other, f"verify-quick-{other}")])
    runs = len(planned_of("quick")[TABLE])
    assert {r.table: r.reused for r in results if r.reused} == ({TABLE: runs} if reuse else {})


def test_other_last_digits_are_rounding_on_another_processor_and_a_miss_on_this_one(verified):
    results = verified(short=scaled(1 + 1e-7), quick=scaled(1 + 1e-7))
    assert told(results) == [] and {r.by for r in results if r.table == TABLE} == {"rounding"}
    assert told(verified(quick=scaled(1 + 1e-7), cpu=INFO["cpu"]))


@pytest.mark.parametrize("by", [0.999, 1.001, 0.5, 2.0, -1.0])
def test_a_column_that_is_off_is_a_miss_whichever_way(verified, by):
    """Also where each cell taken alone could be rounding: the column as a whole is off."""
    short, quick = of_table(verified(short=scaled(by)), "short"), of_table(verified(quick=scaled(by)), "quick")
    assert short.verdict == quick.verdict == "MISS"
    assert any(miss.startswith(f"variance_ratio: in the middle of {len(runs_of('quick'))} runs") for miss in quick.misses) or by < 0


@pytest.mark.parametrize("by", [1.001, 0.999])
def test_a_cell_before_training_is_a_miss_whichever_way(verified, by):
    assert [m for m in told(verified(quick=scaled(by, "epoch == 0 and seed == 100"))) if "variance_ratio recorded" in m]


def test_what_cannot_be_measured_is_compared_by_a_weaker_class_and_counted_so(verified, monkeypatch):
    monkeypatch.setattr(verify, "_other_ways", lambda *_: [])
    results = verified(quick=scaled(1 + 1e-7))
    assert told(results) == [] and of_table(results, "quick").is_weaker
    assert verify.summary(results) == f"{len(results) - 1} exact, 1 within its spread (weaker)"


def test_a_few_networks_may_be_off_after_training_and_none_in_the_short_runs(verified):
    few = scaled(1.3, "epoch > 0 and seed == seed.min()")
    results = verified(short=few, quick=few)
    assert of_table(results, "short").verdict == "MISS" and of_table(results, "quick").verdict == "within rounding"


def test_a_record_of_another_device_may_be_further_away_and_is_counted_as_weaker(verified):
    """1.01 is more than rounding makes, and less than the seeds do."""
    results = verified(quick=scaled(1.01), device="cuda")
    assert told(results) == [] and of_table(results, "quick").is_weaker and not of_table(results, "short").is_weaker


def test_on_a_gpu_rounding_can_be_measured_in_the_short_runs_only(stored, monkeypatch):
    monkeypatch.setattr(settings, "instruction_sets", lambda: ["generic", "avx512", "avx2"])
    monkeypatch.setattr(settings, "instruction_set", lambda: "avx2")
    short, quick = (execute.Chapter(CHAPTER, profile, {}) for profile in PROFILES)
    for device, ways in (("cpu", ["generic", "avx512"]), ("cuda", [])):
        monkeypatch.setattr(settings, "device", lambda device=device: device)
        assert verify._other_ways(quick, {(CHAPTER, TABLE): None}) == ways
        assert verify._other_ways(short, {(CHAPTER, TABLE): None}) == ["generic", "avx512"]
        assert verify._other_ways(short, {}) == []  # where every table is exact


def test_runs_that_fail_are_a_miss_of_their_table_with_the_reason(stored, monkeypatch):
    failed = ["seed=100: ValueError: no such thing"]
    monkeypatch.setattr(verify, "_trained", lambda planned, *how, jobs: ({}, dict.fromkeys(planned, failed)))
    results = [r for r in verify.verify(execute.prepare([CHAPTER], "quick", {})) if r.by != "claims"]
    assert [(r.profile, r.table) for r in results] == [(profile, table) for profile in PROFILES for table in planned_of(profile)]
    assert {(r.by, r.cells, r.verdict, *r.misses) for r in results} == {("run", 0, "MISS", *failed)}


def resealed(change: Callable[[dict], None]) -> None:
    """Change the provenance, and make its checksum hold again."""
    path = record().folder / "provenance.json"
    known = json.loads(path.read_text())
    known.pop("sha256")
    change(known)
    path.write_text(sealed.seal(known))


FORGED = {
    "threshold recorded": lambda known: known["claims"][0].update(threshold=0.00123),
    "the record does not hold it": lambda known: known["claims"].pop(0),
    "recorded exploratory, judged": lambda known: known["verdicts"][0].update(verdict="exploratory"),
    "low recorded": lambda known: known["verdicts"][0]["parts"][0].update(low=-9e9),
    "high recorded": lambda known: known["verdicts"][0]["parts"][0].update(high=9e9),
    "settings recorded": lambda known: known["verdicts"][0]["parts"].pop(),
    "the record holds no verdicts": lambda known: known.update(verdicts=[]),
    "the record holds no verdict on it": lambda known: known["verdicts"].pop(0),
    "recorded a verdict, and none is judged": lambda known: known["verdicts"].append({"id": "x", "verdict": "supported", "parts": []}),
    "holds it more than once": lambda known: known["verdicts"].insert(0, {**known["verdicts"][0], "verdict": "supported"}),
    "train-collapse: the record holds it more than once": lambda known: known["claims"].insert(0, {**known["claims"][0], "threshold": 99}),
    "the record holds no claims": lambda known: known.update(claims=[]),
    "parameter epochs recorded 1, in fact": lambda known: known["parameters"].update(epochs=1),
    "parameter zeal recorded 1, in fact None": lambda known: known["parameters"].update(zeal=1),
    "data recorded {'digits': '0'}, in fact": lambda known: known.update(data={"digits": "0"}),
    "reason recorded 'FORGED', judged": lambda known: known["verdicts"][0].update(reason="FORGED"),
    "parameter epochs recorded None, in fact": lambda known: known["parameters"].pop("epochs"),
    "core_seconds recorded 0.1, in fact": lambda known: known.update(core_seconds=0.1),
    "machines recorded ['a GPU'], in fact": lambda known: known.update(machines=["a GPU"]),
    "collapse: rows recorded -1, in fact": lambda known: known["tables"]["collapse"].update(rows=-1),
}


@pytest.mark.parametrize("words", FORGED)
def test_claims_and_verdicts_that_are_not_those_of_the_tables_are_misses(verified, words):
    resealed(FORGED[words])
    assert any(words in miss for miss in told(verified())), told(verified())


def test_a_record_that_is_not_there_or_was_edited_is_a_miss(verified):
    path = record("short").folder / "provenance.json"
    path.unlink()
    assert any(miss.startswith("short –: there is no record") for miss in told(verified()))
    path = record().folder / "provenance.json"
    path.write_text(path.read_text().replace('"core_seconds": ', '"core_seconds": 1'))
    assert "quick provenance.json: provenance.json was edited after it was recorded: its checksum does not hold" in told(verified())


def test_the_report_is_sealed_and_says_whether_all_holds(verified):
    folder = paths.build() / "verify" / "quick"
    for change, holds in ((1, True), (1.01, False)):
        verify.write_report(verified(quick=scaled(change)), "quick")
        report, whole = sealed.opened((folder / "report.json").read_text())
        assert whole and report["holds"] is holds and report["tables"][-1]["by"] == "claims"
        assert ("Every table holds" in (folder / "report.html").read_text()) is holds
