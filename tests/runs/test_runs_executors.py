"""Other executors: the tables of this machine's own processes, whatever is lost on the way."""

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from toy_experiments import faulty, fragile, notebook, wave

from ncbook import settings
from ncbook.errors import InputError
from ncbook.runs import SweepError, executors, finish, plan, read, store, sweep
from ncbook.runs.run import missing

GRID = [{"name": name, "seed": seed} for name in ("a", "b") for seed in range(3)]
SEEDS = [{"seed": seed} for seed in range(8)]


def threads() -> ThreadPoolExecutor:
    """An executor as someone's own module may have one."""
    return ThreadPoolExecutor(2)


def spawned() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def calls(home) -> list[str]:
    return sorted((home / "log").read_text().split("\n")[:-1])


def local(home, monkeypatch, function, grid) -> str:
    """The table of a sweep by processes here, in another store."""
    with monkeypatch.context() as patch:
        patch.setenv("NCBOOK_RUNS", str(home / "local"))
        patch.setenv("TOY_LOG", "")
        patch.setenv("TOY_CURED", str(home))  # there: nothing kills
        return store.to_csv(sweep(function, grid, jobs=1))


def test_tables_of_another_executor_are_those_of_this_machine(home, monkeypatch):
    expected = local(home, monkeypatch, wave, GRID)
    before = settings.environment()
    monkeypatch.setenv("EXECUTOR", "test_runs_executors:threads")
    assert store.to_csv(sweep(wave, GRID)) == expected and len(calls(home)) == 6
    assert settings.environment() == before | {"EXECUTOR": "test_runs_executors:threads"}  # though threads changed it for their processes
    space = notebook("import pandas as pd\n", "def mine(*, seed, device):\n    return pd.DataFrame({'value': [seed]})\n")
    runs = plan(space["mine"], [{"seed": 3}])
    assert finish(runs, executor=threads) == 1 and read(runs).value.tolist() == [3]


def test_a_run_elsewhere_fails_as_it_does_here_and_loses_itself_only(home):
    """Time limit and kill included, which no other executor knows of: the run has a process of its own beside the worker."""
    grid = [{"how": how, "seed": 0} for how in ("raise", "kill", "hang", "end", "fine")] + [{"how": "fine", "seed": 1}]
    runs = plan(faulty, grid)
    with pytest.raises(SweepError) as caught:
        finish(runs, timeout=4, executor=threads)
    assert {run.parameters["how"]: error for run, error, _ in caught.value.failures} == {
        "raise": "ZeroDivisionError: seed 0 is unlucky",
        "kill": "its process was killed by SIGKILL; did the memory run out?",
        "hang": "it ran past its time limit of 4 s",
        "end": "its process was ended by exit code 0",
    }
    assert calls(home) == ["fine 0", "fine 1"] and len(missing(runs)) == 4


class Lossy(ThreadPoolExecutor):
    """Loses the workers of its first `losses` runs."""

    losses = 1

    def submit(self, function, /, *arguments):
        if self.losses:
            self.losses -= 1
            lost: Future = Future()
            lost.set_exception(ConnectionError("the node is gone"))
            return lost
        return super().submit(function, *arguments)


def test_a_run_whose_worker_was_lost_goes_to_another_once(home):
    assert finish(plan(wave, GRID[:2]), executor=lambda: Lossy(1)) == 2 and calls(home) == ["a 0", "a 1"]
    twice = Lossy(1)
    twice.losses = 4
    with pytest.raises(SweepError) as caught:
        finish(plan(wave, GRID[2:4]), executor=lambda: twice)
    assert [error for _, error, _ in caught.value.failures] == ["its worker was lost, twice (ConnectionError: the node is gone)"] * 2


@pytest.mark.slow
def test_an_executor_that_breaks_as_a_whole_is_made_once_more(home, monkeypatch):
    """A killed worker of the standard library's pool takes all of the pool's runs along."""
    made = []
    expected = local(home, monkeypatch, fragile, SEEDS[:4])
    runs = plan(fragile, SEEDS[:4])
    assert finish(runs, executor=lambda: made.append(1) or spawned()) == 4
    assert len(made) == 2 and store.to_csv(read(runs)) == expected


def test_what_is_no_executor_is_one_sentence(home, monkeypatch):
    runs = plan(wave, GRID[:1])
    for name, said in [
        ("slurm", "EXECUTOR='slurm': use local, parsl:CONFIG, dask:ADDRESS or MODULE:FACTORY"),
        ("parsl:", "use local, parsl:CONFIG"),
        ("no_such_module:pool", "EXECUTOR='no_such_module:pool' needs no_such_module, which this environment lacks"),
        ("toy_experiments:pool", "toy_experiments.py has no 'pool'"),
        ("parsl:mine.py", "there is no configuration mine.py; .* or one of kubernetes, slurm, workstation"),
    ]:
        with pytest.raises(InputError, match=said):
            finish(runs, executor=name)
    monkeypatch.setenv("EXECUTOR", "dask:tcp://login:8786")
    assert settings.device("cuda") == "cuda"  # the workers'


def test_the_budget_ends_what_another_executor_is_at(home):
    runs = plan(wave, GRID[:2])
    assert finish(runs, executor=lambda: Lossy(1), budget=1e-9) == 0 and missing(runs) == runs


parsl = pytest.mark.skipif(find_spec("parsl") is None, reason="Parsl is not installed: pip install 'ncbook[parsl]'")
dask = pytest.mark.skipif(find_spec("distributed") is None, reason="Dask is not installed: pip install 'ncbook[dask]'")

FOUR = """
def config():
    from parsl import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    provider = LocalProvider(init_blocks=1, max_blocks=1)
    return Config(executors=[HighThroughputExecutor(max_workers_per_node=4, address="127.0.0.1", provider=provider)])
"""


@pytest.mark.slow
@parsl
@pytest.mark.filterwarnings("ignore")  # Parsl's own
def test_four_workers_of_parsl_and_a_kill(home, monkeypatch):
    expected = local(home, monkeypatch, fragile, SEEDS)
    (home / "four.py").write_text(FOUR)
    runs = plan(fragile, SEEDS)
    assert finish(runs, timeout=300, executor=f"parsl:{home / 'four.py'}") == 8
    assert (home / "cured").exists()  # it was killed
    assert store.to_csv(read(runs)) == expected
    assert calls(home) == sorted(f"fragile {seed}" for seed in range(8))  # each once


@pytest.mark.slow
@dask
@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_four_workers_of_dask_and_a_kill(home, monkeypatch):
    from distributed import LocalCluster

    expected = local(home, monkeypatch, fragile, SEEDS)
    runs = plan(fragile, SEEDS)
    with LocalCluster(n_workers=4, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        assert finish(runs, timeout=300, executor=f"dask:{cluster.scheduler_address}") == 8
        assert cluster.scheduler.allowed_failures == 3  # as it was
    assert (home / "cured").exists()
    assert store.to_csv(read(runs)) == expected
    assert calls(home) == sorted(f"fragile {seed}" for seed in range(8))  # none that was finished is computed again


@parsl
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["workstation", "slurm"])
def test_ready_configurations_are_understood_by_parsl(name):
    from parsl import Config

    assert isinstance(executors._file(name).config(), Config)
