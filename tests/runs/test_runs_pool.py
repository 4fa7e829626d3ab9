"""Real pools of processes: the same tables whatever JOBS is, and a failed run that loses itself only."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_experiments import faulty, notebook, slow, wave, without_parameters

from ncbook import settings
from ncbook.errors import InputError
from ncbook.publish.parameters import parameters
from ncbook.runs import SweepError, finish, plan, pool, read, store, sweep
from ncbook.runs.plan import finished
from ncbook.runs.pool import LONG
from ncbook.runs.run import missing, time_limit
from ncbook.runs.worker import call

GRID = [{"name": name, "seed": seed, "note": None} for name in ("a", "b") for seed in range(3)]


def calls(home: Path) -> list[str]:
    return sorted((home / "log").read_text().split("\n")[:-1]) if (home / "log").exists() else []


def contents(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in sorted((home / "data" / "runs").rglob("table.csv"))}


def test_tables_are_the_same_for_any_number_of_jobs_and_each_run_is_computed_once(home, monkeypatch):
    threads = os.environ.get("OMP_NUM_THREADS")
    alone = sweep(wave, GRID, jobs=1)
    assert len(calls(home)) == 6
    again = sweep(wave, GRID, jobs=2)
    assert len(calls(home)) == 6  # nothing was computed again
    first = contents(home)

    damaged = home / min(first)
    damaged.write_bytes(first[min(first)].replace(b"e-", b"e+", 1))
    more = sweep(wave, [*GRID, {"name": "c", "seed": 0, "note": None}], jobs=1)
    assert len(calls(home)) == 8  # the new run, and the damaged one
    assert calls(home)[-1] == "c 0"
    assert len(more) == len(alone) + 40
    assert first.items() < contents(home).items()
    back = sweep(wave, GRID)
    assert len(calls(home)) == 8  # a smaller grid again: nothing to do

    monkeypatch.setenv("NCBOOK_ROOT", str(home / "second"))
    (home / "second").mkdir()
    parallel = sweep(wave, GRID, jobs=2)
    assert len(calls(home)) == 14
    second = contents(home / "second")
    assert second == first  # byte for byte
    for other in (again, back, parallel):
        pd.testing.assert_frame_equal(alone, other, check_exact=True)
        assert store.to_csv(alone) == store.to_csv(other)
    assert list(alone.columns[:4]) == ["name", "seed", "note", "step"]
    assert alone["note"].isna().all()
    assert set(alone["text"]) == {"nan"}
    assert [run["parameters"]["seed"] for run in finished(plan(wave, GRID)).runs] == [0, 1, 2, 0, 1, 2] and not alone.attrs
    assert os.environ.get("OMP_NUM_THREADS") == threads  # the notebook's own later work keeps its threads


def test_finished_runs_that_were_exchanged_are_computed_again(home):
    table = sweep(wave, GRID, jobs=1)
    runs, first = plan(wave, GRID), contents(home)
    one, two = (store.folder(run.experiment, run.key) for run in runs[:2])
    one.rename(one.with_name("aside"))
    two.rename(one)
    one.with_name("aside").rename(two)
    assert missing(runs) == runs[:2]
    pd.testing.assert_frame_equal(sweep(wave, GRID, jobs=1), table, check_exact=True)
    assert contents(home) == first and len(calls(home)) == 8


def test_a_run_says_with_what_it_was_computed(home):
    sweep(wave, GRID[:1], jobs=1)
    (run,) = finished(plan(wave, GRID[:1])).runs
    for name in ("torch", "numpy", "scipy", "scikit_learn", "python"):
        assert run[name][0].isdigit() and run[name].count(".") >= 2
    assert run["numpy"] == np.__version__ and run["key"] == plan(wave, GRID[:1])[0].key


def test_failed_runs_lose_themselves_only_and_only_they_are_computed_again(home):
    failing = [
        "raise",
        "input",
        "unpicklable",
        "kill",
        "hang",
        "exit",
        "end",
        "interrupt",
        "generator",
        "fork",
        "timeout",
        "empty",
        "index",
        "doubled",
        "number",
    ]
    grid = [{"how": how, "seed": 0} for how in [*failing, "fine"]] + [{"how": "fine", "seed": 1}, {"how": "raise", "seed": 7}]
    with pytest.raises(SweepError) as caught:
        sweep(faulty, grid, jobs=2, timeout=4)
    assert calls(home) == ["fine 0", "fine 1"]
    assert [r.parameters for r in missing(plan(faulty, grid))] == [p for p in grid if p["how"] != "fine"]
    errors = {run.parameters["how"]: error for run, error, _ in caught.value.failures if run.parameters["seed"] == 0}
    assert errors == {
        "raise": "ZeroDivisionError: seed 0 is unlucky",
        "input": "the picture is damaged; fetch it again.",
        "unpicklable": "Unpicklable: this and that",
        "kill": "its process was killed by SIGKILL; did the memory run out?",
        "hang": "it ran past its time limit of 4 s",
        "exit": "SystemExit: 3",
        "end": "its process was ended by exit code 0",
        "interrupt": "KeyboardInterrupt: ",
        "generator": "GeneratorExit: of its own",
        "fork": "ChildProcessError: its child ended by 0",
        "timeout": "TimeoutError: the network is slow",
        "empty": "an experiment returns a DataFrame of at least one row, not DataFrame",
        "index": "the index epoch of the table would be lost; return table.reset_index().",
        "doubled": "a column of the table is named like a parameter: seed; rename it.",
        "number": "an experiment returns a DataFrame of at least one row, not float",
    }
    text = str(caught.value)
    assert text.startswith("16 of 18 runs failed; the others are kept.")
    for how in failing:
        assert f"toy_experiments.faulty(how='{how}', seed=0)" in text
    logs = {run.parameters["how"]: log for run, _, log in caught.value.failures}
    assert 'raise ZeroDivisionError(f"seed {seed} is unlucky")' in logs["raise"]
    assert logs["input"] == ""  # its sentence says it all

    (home / "cured").touch()
    table = sweep(faulty, [p for p in grid if p["how"] != "doubled"], jobs=2, timeout=60)
    assert calls(home).count("fine 0") == 1
    assert calls(home).count("fine 1") == 1
    assert len(table) == 17 * 40


def test_a_function_of_a_notebook_cell(home):
    space = notebook(
        "import numpy as np\nimport pandas as pd\n",
        "def double(x):\n    return 2 * x\n",
        "class Error(Exception): pass\n",
        (
            "def mine(*, seed, device):\n    if seed == 2:\n        raise ValueError('two')\n"
            "    return pd.DataFrame({'value': [double(v) for v in np.arange(3) + seed]})\n"
        ),
    )
    table = sweep(space["mine"], [{"seed": 0}, {"seed": 1}], jobs=1)
    assert table.value.tolist() == [0, 2, 4, 2, 4, 6]
    assert (home / "data" / "runs" / "__main__.mine").is_dir()


def test_what_cannot_run_is_said_before_anything_starts(home):
    def no_device(*, seed):
        return None

    cases = [
        (wave, [], "the grid of wave is empty"),
        (wave, [{"name": "a"}], r"wave\(name='a'\) cannot be called: missing a required .*argument: 'seed'"),
        (wave, [{"name": "a", "seed": 0, "speed": 3}], "unexpected keyword argument 'speed'"),
        (no_device, [{"seed": 0}], "unexpected keyword argument 'device'; a run gets the grid's parameters and device='cpu'"),
        (wave, [{"name": "a", "seed": 0}] * 2, r"the grid has this run twice: toy_experiments.wave\(name='a', seed=0\)"),
        (wave, [{"name": "a", "seed": float("nan")}], "parameters must be numbers"),
        (print, [{"seed": 0}], "made by `def`"),
    ]
    for function, grid, message in cases:
        with pytest.raises(InputError, match=message):
            sweep(function, grid)
    for bad in (0, -1):
        with pytest.raises(InputError, match="use a whole number from 1 to 1024"):
            sweep(wave, [{"name": "a", "seed": 0}], jobs=bad)
    assert not (home / "data" / "runs").exists() or not any((home / "data" / "runs").iterdir())


def test_an_unwritable_data_folder_is_one_sentence(home):
    (home / "data").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write to .*data/runs \("):
        sweep(wave, [{"name": "a", "seed": 0}])
    assert (home / "data").read_text() == "in the way"


def test_code_edited_between_planning_and_running_is_not_kept(home):
    import cloudpickle

    text, info = call(cloudpickle.dumps(wave), {"name": "a", "seed": 0}, "cpu", "another")
    assert text is None
    assert info == {"error": "its code was edited after the sweep began, or is of another version here; run it again.", "log": ""}
    assert calls(home) == []


def test_reading_what_is_not_there_says_so(home):
    with pytest.raises(InputError, match=r"wave\(name='a', seed=0\) is not in the store; run the sweep first"):
        read(plan(wave, [{"name": "a", "seed": 0}]))
    assert finish([]) == 0


def test_parameters_stand_before_the_rows_as_a_csv_holds_them(home):
    """Also where runs do not have the same ones, or none; and the text "nan" is no missing value."""
    grid = [{"name": "a", "seed": 0, "rows": 5}, {"name": "nan", "seed": 1, "note": [1, "x"]}]
    for _ in range(2):  # computed, and found
        table = sweep(wave, grid, jobs=1)
        assert list(table.columns) == ["name", "seed", "rows", "note", "step", "value", "third", "text"] and len(table) == 45
        assert table["name"].tolist() == ["a"] * 5 + ["nan"] * 40 and table["seed"].tolist() == [0] * 5 + [1] * 40
        assert table["rows"].tolist()[:5] == [5.0] * 5 and table["rows"][5:].isna().all()
        assert table["note"][:5].isna().all() and set(table["note"][5:]) == {"[1, 'x']"}
        for run, rows in table.groupby("seed"):
            own = store.from_csv(store.to_csv(wave(name="", seed=run, rows=len(rows))))
            pd.testing.assert_frame_equal(rows[own.columns].reset_index(drop=True), own, check_exact=True)
    assert sweep(without_parameters, [{}], jobs=1).to_dict("list") == {"step": [0, 1]}


def test_finished_runs_are_read_once(home, monkeypatch):
    sweep(wave, GRID, jobs=2)
    read_text, reads = store.read_text, []
    monkeypatch.setattr(store, "read_text", lambda *names, **how: reads.append(names) or read_text(*names, **how))
    assert len(sweep(wave, GRID)) == 40 * len(GRID) and len(reads) == len(set(reads)) == len(GRID)


def test_a_plan_knows_how_long_the_runs_of_a_chapter_take():
    """What decides on checkpoints, and on when a run hangs: also in a notebook that is opened without `make`."""
    from ncbook.chapters.wide_networks import experiment as chapter

    grid = chapter.heads_grid(**parameters("wide_networks", "paper"))[-1:]
    assert plan(chapter.experiment, grid, device="cpu")[0].seconds > LONG


def test_a_run_hangs_after_an_hour_and_twenty_times_what_the_longest_should_take():
    runs = [replace(run, seconds=seconds) for run, seconds in zip(plan(wave, GRID[:3], device="cpu"), (5.0, 60.0, 1.0), strict=True)]
    assert [time_limit(some) for some in (runs, runs[2:], [])] == [4800, 3620, 3600]


def test_the_environment_is_restored(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with settings.within(settings.workers_environment("avx2")):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        assert os.environ["ATEN_CPU_CAPABILITY"] == "avx2"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_budget_keeps_what_is_finished(home, monkeypatch):
    """The budget is spent when the first two runs have ended, however long they take: the third would last a minute."""
    real = pool._ended

    def until_two_have_ended(waiting, ended, until, *, here):
        assert 0 < until - time.monotonic() <= 30.0
        futures = real(waiting, ended, None, here=here)
        yield next(futures)
        yield next(futures)
        raise pool._Spent

    monkeypatch.setattr(pool, "_ended", until_two_have_ended)
    runs = plan(slow, [{"seed": s} for s in range(3)])
    assert finish(runs, jobs=1, budget=30.0) == 2
    assert missing(runs) == runs[2:]
    assert not list((home / "data" / "runs").glob("*/.*-*"))


def test_a_run_that_a_killed_worker_took_along_goes_to_another(home, monkeypatch):
    """As when a worker is killed between taking a run and saying so: its future neither runs nor ends. Here nobody ever gets the first."""
    import pebble

    real, lost = pebble.ProcessPool.schedule, []

    def schedule(self, *arguments, **options):
        if not lost:
            lost.append(pebble.ProcessFuture())
            return lost[0]
        return real(self, *arguments, **options)

    monkeypatch.setattr(pebble.ProcessPool, "schedule", schedule)
    monkeypatch.setattr(pool, "STALLED", 1.0)
    runs = plan(wave, GRID[:3])
    assert finish(runs, jobs=2) == 3 and not missing(runs) and not lost[0].done()


def test_a_budget_is_also_spent_while_nothing_ends(home):
    runs = plan(slow, [{"seed": 2}])  # a minute
    start = time.monotonic()
    assert finish(runs, jobs=1, budget=1.0) == 0 and missing(runs) == runs
    assert time.monotonic() - start < 40


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_finished(home):
    script = "from toy_experiments import slow; from ncbook.runs import sweep; sweep(slow, [{'seed': s} for s in range(3)], jobs=1)"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a test run in the background was told to ignore it
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen,  # noqa: PLW1509
    )
    while len(calls(home)) < 2:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, errors = run.communicate(timeout=30)
    assert run.returncode not in (0, None)
    assert "KeyboardInterrupt" in errors
    assert [r.parameters["seed"] for r in missing(plan(slow, [{"seed": s} for s in range(3)]))] == [2]


@pytest.mark.slow
def test_a_script_without_a_main_guard(home):
    script = home / "mine.py"
    script.write_text(
        textwrap.dedent("""
        import pandas as pd
        from ncbook.runs import sweep

        def f(*, seed, device):
            return pd.DataFrame({"value": [seed]})

        print(sweep(f, [{"seed": s} for s in range(2)], jobs=1).value.tolist())
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert 'call sweep below `if __name__ == "__main__":`' in done.stderr
    script.write_text(script.read_text().replace("print(", 'if __name__ == "__main__":\n    print('))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[0, 1]\n"


def test_a_run_is_computed_under_its_own_instruction_set(home, monkeypatch):
    """Whatever the environment says: `verify` trains under one set after another."""
    expected = {"generic": "DEFAULT", "avx2": "AVX2", "avx512": "AVX512"}
    monkeypatch.setenv("INSTRUCTION_SET", settings.instruction_sets()[0])
    for name in settings.instruction_sets():
        runs = [replace(run, instruction_set=name) for run in plan(wave, GRID[:1])]
        finish(runs, jobs=1)
        (run,) = finished(runs).runs
        assert run["instruction_set"] == name and run["cpu_capability"] == expected.get(name, run["cpu_capability"])
