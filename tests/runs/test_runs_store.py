"""A run is in the store completely or not at all."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncbook.runs import store

TABLE = pd.DataFrame({"epoch": [1, 2], "value": [0.1 + 0.2, float("nan")], "name": ["nan", 'a,b\n"c"']})
INFO = {"seconds": 1.5, "device": "cpu", "parameters": {"seed": 0}}
KEPT = INFO | {"experiment": "toy", "key": "k1"}


@pytest.fixture
def entry(home):
    store.write("toy", "k1", store.to_csv(TABLE), INFO)
    return store.folder("toy", "k1")


def test_what_is_written_is_read_back_to_the_last_digit(entry):
    table, info = store.read("toy", "k1")
    pd.testing.assert_frame_equal(table, TABLE, check_exact=True)
    assert (
        info == KEPT and store.read_text("toy", "k1", parameters={"seed": 0}) and not store.read_text("toy", "k1", parameters={"seed": 1})
    )
    assert store.to_csv(table) == store.to_csv(TABLE)
    assert sorted(p.name for p in entry.parent.iterdir()) == ["k1"]  # nothing is left beside it


@pytest.mark.parametrize("name", ["table.csv", "run.json"])
def test_a_file_cut_anywhere_or_missing_is_not_read(entry, name):
    file = entry / name
    whole = file.read_bytes()
    for length in range(len(whole.rstrip())):
        file.write_bytes(whole[:length])
        assert store.read("toy", "k1") is None and not store.read_text("toy", "k1"), length
    file.unlink()
    assert store.read("toy", "k1") is None and not store.read_text("toy", "k1")


@pytest.mark.parametrize("name", ["table.csv", "run.json"])
def test_any_altered_byte_is_noticed(entry, name):
    file = entry / name
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = store.read("toy", "k1")
        # between the tokens of JSON a byte may turn into another blank: what is read is then still what was written
        assert found is None or (found[1] == KEPT and store.to_csv(found[0]) == store.to_csv(TABLE)), place


KINDS = [  # a column is of one kind in all runs of an experiment, and may be empty in some
    st.integers(-(2**40), 2**40) | st.floats() | st.none(),
    st.booleans() | st.none(),
    st.sampled_from(["", "nan", "None", "a", "1", "True", "a,b", 'say "x"', "two\nlines"]) | st.none(),
]


@given(st.data(), st.booleans())
def test_tables_parsed_at_once_are_those_parsed_one_by_one(data, same_columns):
    kinds = [data.draw(st.sampled_from(KINDS)) for _ in range(2)]
    rows = data.draw(st.lists(st.lists(st.tuples(*kinds), max_size=4), min_size=1, max_size=4))
    tables = [pd.DataFrame(part, columns=["x", "y" if same_columns or i else "z"]) for i, part in enumerate(rows)]
    texts = [store.to_csv(table) for table in tables]
    found, counts = store.tables(texts)
    parsed = [store.from_csv(text) for text in texts]
    assert counts == [len(table) for table in parsed]

    def kept(table):  # as `finished` gives it
        return store.from_csv(store.to_csv(table))

    pd.testing.assert_frame_equal(kept(found), kept(pd.concat(parsed, ignore_index=True)), check_exact=True)


@pytest.fixture
def other(entry):
    """A second run of the same experiment."""
    store.write("toy", "k2", store.to_csv(TABLE.head(1)), INFO | {"parameters": {"seed": 1}})
    return store.folder("toy", "k2")


def exchange(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


EXCHANGED = {"folders": [""], "tables": ["table.csv"], "run.json": ["run.json"], "both files": ["table.csv", "run.json"]}


@pytest.mark.parametrize("names", EXCHANGED.values(), ids=EXCHANGED)
def test_two_runs_that_were_exchanged_are_not_read_and_are_replaced(entry, other, names):
    for name in names:
        exchange(entry / name, other / name)
    assert store.read("toy", "k1") is None and store.read("toy", "k2") is None
    store.write("toy", "k1", store.to_csv(TABLE), INFO)
    assert store.read("toy", "k1")[1] == KEPT


def test_a_run_under_another_name_is_not_read(entry):
    entry.rename(entry.with_name("k3"))
    assert store.read("toy", "k3") is None
    entry.with_name("k3").rename(entry)
    assert store.read("toy", "k1") is not None
    entry.parent.rename(entry.parent.with_name("tot"))
    assert store.read("tot", "k1") is None


@pytest.mark.parametrize("parameters", [{"seed": 1}, {"seed": True}, {"seed": 0.0}, {"seed": 0, "rows": 3}, {}])
def test_a_run_of_other_parameters_is_not_read(entry, parameters):
    assert store.read("toy", "k1", parameters=INFO["parameters"], device="cpu") is not None
    assert store.read("toy", "k1", parameters=parameters) is None
    assert store.read("toy", "k1", device="cuda") is None
    store.write("toy", "k1", store.to_csv(TABLE), INFO | {"parameters": parameters})  # what lies there is of no use
    assert store.read("toy", "k1", parameters=parameters) is not None


def test_merging_leaves_out_what_was_exchanged_or_is_of_an_older_form(entry, other, monkeypatch, tmp_path_factory):
    theirs = entry.parents[1]
    exchange(entry, other)
    store.write("toy", "k4", store.to_csv(TABLE), INFO)
    older = store.folder("toy", "k5")
    older.mkdir()
    (older / "table.csv").write_text(store.to_csv(TABLE))
    (older / "run.json").write_text(json.dumps({**INFO, "sha256": store._checksum(store.to_csv(TABLE), INFO)}))
    assert store.read("toy", "k5") is None
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path_factory.mktemp("ours")))
    assert store.merge(theirs) == (1, 0, [theirs / "toy" / key for key in ("k1", "k2", "k5")])
    assert store.read("toy", "k4")[1] == INFO | {"experiment": "toy", "key": "k4"}
    assert store.merge(theirs) == (0, 1, [theirs / "toy" / key for key in ("k1", "k2", "k5")])


def test_a_text_that_is_no_table_is_not_taken_though_its_checksum_holds(home, monkeypatch, tmp_path_factory):
    """Taken, it would count as finished, and no table could be made."""
    store.write("toy", "k1", "", INFO)
    theirs = store.folder("toy", "k1").parents[1]
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path_factory.mktemp("ours")))
    assert store.merge(theirs) == (0, 0, [theirs / "toy" / "k1"])


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"sha256": 3}', "\udcff"])
def test_a_strange_run_json_is_not_read(entry, content):
    (entry / "run.json").write_bytes(content.encode(errors="surrogateescape"))
    assert store.read("toy", "k1") is None


def test_a_damaged_entry_is_replaced(entry):
    (entry / "table.csv").write_text("epoch,value\n1,2\n")
    assert store.read("toy", "k1") is None
    store.write("toy", "k1", store.to_csv(TABLE), INFO)
    assert store.read("toy", "k1")[1] == KEPT


def test_a_run_that_another_process_kept_meanwhile_is_left_alone(entry):
    store.write("toy", "k1", store.to_csv(TABLE.head(1)), INFO)
    assert len(store.read("toy", "k1")[0]) == 2


@pytest.mark.parametrize(("module", "function", "call"), [(os, "fsync", 1), (os, "fsync", 2), (Path, "rename", 1)])
def test_an_interrupted_write_leaves_nothing_that_is_read(home, monkeypatch, module, function, call):
    calls, real = [], getattr(module, function)

    def interrupted(*args):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(module, function, interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write("toy", "k2", store.to_csv(TABLE), INFO)
    monkeypatch.undo()
    os.environ["NCBOOK_ROOT"] = str(home)
    try:
        assert store.read("toy", "k2") is None
        assert list((home / "data" / "runs" / "toy").iterdir()) == []
    finally:
        del os.environ["NCBOOK_ROOT"]


def test_a_write_cut_off_by_the_power_leaves_nothing_that_is_read(home):
    aside = home / "data" / "runs" / "toy" / ".k3-0123abcd"  # what a killed process leaves behind
    aside.mkdir(parents=True)
    (aside / "table.csv").write_text(store.to_csv(TABLE))
    assert store.read("toy", "k3") is None
    store.write("toy", "k3", store.to_csv(TABLE), INFO)
    assert store.read("toy", "k3") is not None


def test_what_killed_processes_of_this_machine_were_writing_is_cleared(home, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here, folder = store._this_machine(), home / "data" / "runs" / "toy"
    names = {f".k-{here}-{ended.pid}-0123abcd": False, f".k-{here}-{os.getpid()}-0123abcd": True, f".k-elsewh-{ended.pid}-0123abcd": True}
    for name in names:
        (folder / name).mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr("platform.node", lambda: "another machine of the same file system")
        store.clear()
    assert all((folder / name).is_dir() for name in names)
    store.clear()
    assert {name: (folder / name).is_dir() for name in names} == names


def test_run_json_is_json_that_people_can_read(entry):
    assert json.loads((entry / "run.json").read_text())["parameters"] == {"seed": 0}


def test_large_mixed_columns_read_the_same_whatever_their_length():
    mixed = pd.DataFrame({"a": ["1"] * 300_000 + ["x"]})  # pandas would guess the type chunk by chunk, and warn
    assert store.from_csv(store.to_csv(mixed)).a.map(type).unique().tolist() == [str]
    assert math.isnan(store.from_csv('a\n1\n\n""\n').a.iloc[-1])
