"""How long a run should take, from what runs like it took."""

import csv
import gzip
import json

import pytest
from toy_experiments import wave

from ncbook import paths
from ncbook.runs.digest import digest
from ncbook.runs.durations import TIMED, expected
from ncbook.runs.plan import plan
from ncbook.runs.run import missing

NAME = "toy_experiments.wave"


def store(key: str, seconds, device: str = "cpu", **parameters) -> None:
    folder = paths.runs() / NAME / key
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"parameters": parameters, "seconds": seconds, "device": device}))


def record(text: bytes | None = None, **seconds: float) -> None:
    """A record of runs by their names, each of seed 0."""
    folder = paths.root() / "data" / "results" / "laptop" / "toy_experiments"
    folder.mkdir(parents=True)
    lines = [f"{digest({'name': name, 'seed': 0})},{value}" for name, value in seconds.items()]
    (folder / "runs.csv.gz").write_bytes(gzip.compress(text or "\n".join(["parameters,seconds", *lines]).encode()))


def test_nothing_known_is_a_second(home):
    assert expected(NAME, [{"seed": 0}], "cpu") == [1.0]
    assert [run.seconds for run in plan(wave, [{"name": "a", "seed": 0}])] == [1.0]


def test_a_run_takes_as_long_as_the_same_setting_took_here(home):
    store("a", 7.5, name="a", seed=0)
    store("b", 2.5, name="b", seed=3)
    assert expected(NAME, [{"name": "b", "seed": 0}, {"name": "a", "seed": 9}], "cpu") == [2.5, 7.5]
    assert [run.seconds for run in plan(wave, [{"name": "a", "seed": 1}], device="cpu")] == [7.5]


def test_a_run_that_is_there_and_not_whole_takes_as_long_as_it_did(home):
    """Of a grid of which all is there no times are looked up; by these it is told whether a run hangs."""
    grid = [{"name": "a", "seed": 0}]
    (planned,) = plan(wave, grid, device="cpu")
    store(planned.key, 5000.0, **grid[0])
    (todo,) = missing(plan(wave, grid, device="cpu"))
    assert todo.seconds == 5000.0 and todo.key == planned.key


def test_this_kind_of_device_comes_before_another(home):
    store("a", 60.0, name="a", seed=0)
    store("b", 2.0, device="cuda", name="a", seed=0)
    assert expected(NAME, [{"name": "a", "seed": 1}], "cuda") == [2.0]
    assert expected(NAME, [{"name": "a", "seed": 1}], "cpu") == [60.0]


def test_a_large_network_timed_on_a_cpu_is_not_taken_for_long_on_a_gpu(home):
    """Else each of them would keep checkpoints, of which it has no use: gigabytes a run."""
    store("a", 6000.0, model="resnet18", dataset="cifar10", epochs=10, seed=0)
    store("b", 60.0, model="mlp", dataset="cifar10", epochs=10, seed=0)
    runs = [{"model": model, "dataset": "cifar10", "epochs": epochs, "seed": 1} for model in ("resnet18", "mlp") for epochs in (10, 20)]
    assert expected(NAME, runs, "cuda") == [30.0, 60.0, 60.0, 120.0]
    assert expected(NAME, runs, "cpu") == [6000.0, 12000.0, 60.0, 120.0]


def test_what_is_not_in_the_store_may_be_in_a_record(home):
    record(a=11.0)
    store("b", 2.0, name="b", seed=0)
    assert expected(NAME, [{"name": "a", "seed": 0}, {"name": "b", "seed": 1}], "cpu") == [11.0, 2.0]


def test_other_runs_are_scaled_by_what_there_is_more_of(home):
    store("a", 10.0, model="mlp", dataset="digits", epochs=10, train_size=100, seed=0)
    store("b", 99.0, model="cnn", dataset="mnist", epochs=10, train_size=100, seed=0)
    assert expected(NAME, [{"model": "mlp", "dataset": "mnist", "epochs": 20, "train_size": 300, "seed": 0}], "cpu") == [60.0]


@pytest.mark.parametrize("seconds", ["long", None, float("nan"), -1.0])
def test_a_time_that_is_none_is_left_out(home, seconds):
    store("a", seconds, name="a", seed=0)
    record(b"\x00 no table")
    assert expected(NAME, [{"name": "a", "seed": 0}], "cpu") == [1.0]


def test_the_table_of_timed_runs_holds_each_experiment_of_the_book(home):
    with open(TIMED, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["experiment"].partition(".")[0] for row in rows} == {
        path.name for path in paths.chapters().glob("[!_]*") if (path / "experiment.py").is_file()
    }
    assert all(float(row["seconds"]) > 0 and isinstance(json.loads(row["parameters"]), dict) for row in rows)
