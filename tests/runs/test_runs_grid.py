"""`expand`: which runs a grid has, in which order, and what it refuses."""

import pytest

from ncbook.errors import InputError
from ncbook.runs.grid import expand


def experiment(*, dataset, width, rate=0.1, seed, device="cpu"): ...


def layout(*, dataset, seeds, layout, device="cpu"): ...


CHAPTER = {"dataset": ["digits", "mnist"], "width": [4, 8], "seeds": 2, "unused": None}


def test_the_first_axis_varies_slowest_and_the_seed_fastest():
    runs = expand(experiment, CHAPTER, over=["dataset", "width"])
    assert [(r["dataset"], r["width"], r["seed"]) for r in runs] == [(d, w, s) for d in ("digits", "mnist") for w in (4, 8) for s in (0, 1)]
    assert all(
        list(run) == ["dataset", "width", "seed"] for run in runs
    )  # in the order of the signature; a default that nobody sets stays one


def test_one_value_in_the_place_of_a_list():
    assert len(expand(experiment, CHAPTER | {"dataset": "digits", "width": 4}, over=["dataset", "width"])) == 2


def test_what_is_given_comes_before_what_the_chapter_declares_and_an_arm_before_both():
    (run,) = expand(experiment, CHAPTER | {"seeds": 1}, over=[[{"dataset": "gaussian", "width": 2}]], dataset="mnist", rate=0.5)
    assert run == {"dataset": "gaussian", "width": 2, "rate": 0.5, "seed": 0}


def test_arms_are_parameters_that_change_together():
    arms = [{"width": 4, "rate": 0.1}, {"width": 8, "rate": 0.01}]
    runs = expand(experiment, CHAPTER, over=["dataset", arms])
    assert [(r["dataset"], r["width"], r["rate"], r["seed"]) for r in runs[:3]] == [
        ("digits", 4, 0.1, 0),
        ("digits", 4, 0.1, 1),
        ("digits", 8, 0.01, 0),
    ]
    assert len(runs) == 8


def test_seeds_may_be_something_else():
    assert [r["seed"] for r in expand(experiment, CHAPTER | {"dataset": "digits", "width": 4}, seed=7)] == [7]
    runs = expand(layout, CHAPTER, over=["dataset", "layout"], layout=range(2), seeds=3)
    assert [(r["dataset"], r["layout"], r["seeds"]) for r in runs] == [("digits", 0, 3), ("digits", 1, 3), ("mnist", 0, 3), ("mnist", 1, 3)]


def test_seeds_among_the_arms_are_all_there_are():
    runs = expand(experiment, CHAPTER | {"width": 4, "dataset": "digits"}, over=[[{"seed": 7}, {"seed": 9, "rate": 1}]])
    assert [(run["seed"], run.get("rate")) for run in runs] == [(7, None), (9, 1)]


def test_the_seeds_begin_where_the_chapter_says():
    assert [run["seed"] for run in expand(experiment, CHAPTER | {"width": 4, "first_seed": 100}, over=["dataset"])] == [100, 101, 100, 101]
    assert [run["seed"] for run in expand(experiment, CHAPTER | {"width": 4, "first_seed": 100}, over=["dataset"], seed=7)] == [7, 7]


@pytest.mark.parametrize(
    ("parameters", "over", "given", "says"),
    [
        ({"width": 4, "seeds": 1}, ["dataset"], {}, "is to run over 'dataset'"),
        ({"width": 4, "seeds": 1}, [], {}, "takes 'dataset', which neither"),
        ({"dataset": "digits", "width": 4}, [], {}, "takes 'seed', which neither"),
        (CHAPTER, ["dataset"], {"widht": 4}, "parameter of experiment 'widht'; did you mean 'width'"),
        (CHAPTER, [[{"datset": "digits"}]], {}, "did you mean 'dataset'"),
    ],
)
def test_what_is_missing_or_unknown_is_named(parameters, over, given, says):
    with pytest.raises(InputError, match=says):
        expand(experiment, parameters, over, **given)
