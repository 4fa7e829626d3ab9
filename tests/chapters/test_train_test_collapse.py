"""The experiment of the first chapter: its grid, its table, and every profile's code path at a tiny size."""

import numpy as np
import pandas as pd
import pytest

from ncbook import chapters
from ncbook.chapters.train_test_collapse.experiment import TABLES, experiment, generated, grid, linear_grid, overlapping_grid
from ncbook.data.gaussian import bayes_error
from ncbook.errors import InputError
from ncbook.publish.parameters import parameters as parameters_of

TINY = {"epochs": 2, "train_size": 20, "measurements": 2, "batch_size": 10}


def quick(**changes):
    return {**grid(**parameters_of("train_test_collapse"))[0], **TINY, **changes}


@pytest.mark.parametrize("profile", chapters.profiles())
def test_every_profile_has_a_full_grid(profile):
    parameters = parameters_of("train_test_collapse", profile)
    runs = grid(**parameters)
    swept = ("dataset", "model", "loss", "train_size")
    assert len(runs) == parameters["seeds"] * np.prod([len(parameters[name]) for name in swept])
    assert len({str(sorted(run.items())) for run in runs}) == len(runs)


# `paper-full` has the networks and settings of `paper`
@pytest.mark.parametrize("profile", ["quick", "laptop", pytest.param("paper", marks=pytest.mark.slow)])
def test_the_code_path_of_every_profile_runs_at_a_tiny_size(profile):
    parameters = parameters_of("train_test_collapse", profile)
    for loss in parameters["loss"]:
        run = next(run for run in grid(**parameters) if run["loss"] == loss)
        table = experiment(**{**run, **TINY, "dataset": "digits"})  # the network, loss, schedule and precision of the profile
        assert table.groupby("split").epoch.apply(list).to_dict() == {"test": [0, 1, 2], "train": [0, 1, 2]}
        measured = table[["variance_ratio", "nc1", "nc3_self_duality", "weak_nearest_mean", "weak_kmeans", "error"]]
        assert np.isfinite(measured.to_numpy()).all()
        # undefined for a network that gives all images one label, as it may before it has learned anything
        assert np.isfinite(table["v_confused"][table["error"] < 0.9]).all()


def test_smaller_training_sets_get_as_many_steps_or_epochs():
    parameters = parameters_of("train_test_collapse", changes={"train_size": [100, 250, 1000], "epochs": 60, "batch_size": 100})
    epochs = {equal: {run["train_size"]: run["epochs"] for run in grid(**{**parameters, "equal": equal})} for equal in ("steps", "epochs")}
    assert epochs == {"steps": {100: 600, 250: 200, 1000: 60}, "epochs": {100: 60, 250: 60, 1000: 60}}


def test_one_run_twice_is_the_same_table_and_another_seed_is_not():
    one, two, other = experiment(**quick()), experiment(**quick()), experiment(**quick(seed=1))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not np.allclose(one.variance_ratio, other.variance_ratio)


def test_controls_train_for_as_many_steps_as_the_largest_training_set():
    parameters = parameters_of("train_test_collapse")
    steps = {
        name: {run["epochs"] * -(-run["train_size"] // run["batch_size"]) for run in grid(**parameters)}
        for name, (_, grid) in TABLES.items()
    }
    assert steps == {name: {600} for name in TABLES}
    assert {run["seed"] for _, grid in TABLES.values() for run in grid(**parameters)} == set(range(100, 100 + parameters["seeds"]))


def test_a_linear_network_is_one():
    (run,) = linear_grid(**{**parameters_of("train_test_collapse"), "seeds": 1})
    assert run["linear"] and run["loss"] == "cross_entropy"
    straight, bent = (experiment(**{**run, **TINY, "linear": linear}) for linear in (True, False))
    assert not np.allclose(straight.variance_ratio, bent.variance_ratio)


def test_the_rule_that_knows_the_means_makes_the_bayes_error():
    run = overlapping_grid(**{**parameters_of("train_test_collapse"), "seeds": 1})[0]
    table = generated(**{**run, **TINY, "dataset": "gaussian:separation=3", "test_size": 5000})
    (known,), (counted,) = table.bayes_error.unique(), table.bayes_rule_error.unique()
    assert known == pytest.approx(bayes_error(10, 3.0))
    assert counted == pytest.approx(known, abs=4 * np.sqrt(known * (1 - known) / 5000))


def test_train_and_test_columns_agree_where_they_must():
    table = experiment(**quick())
    train = table[table.split == "train"]
    np.testing.assert_allclose(train.variance_ratio, train.variance_ratio_train_means, rtol=1e-6)
    states = table.pivot(index="epoch", columns="split", values="training_loss")
    assert states.train.equals(states.test) and states.train.isna().tolist() == [True, False, False]


@pytest.mark.parametrize(("changes", "says"), [({"loss": ["hinge"]}, "cross_entropy"), ({"equal": "time"}, "'steps' or equal 'epochs'")])
def test_a_grid_of_unknown_things_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        grid(**{**parameters_of("train_test_collapse"), **changes})
