"""The chapter on many classes: softmax codes where they are known, quantities by hand, and runs."""

import math

import numpy as np
import pandas as pd
import pytest

from ncbook.chapters.many_classes import experiment as chapter
from ncbook.chapters.many_classes import quantities as q
from ncbook.publish.parameters import parameters
from ncbook.theory.geometry import one_vs_rest
from ncbook.theory.unconstrained import softmax_code

# --- codes ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dimension", "classes", "distance"),
    [(2, 8, 1 - math.cos(2 * math.pi / 8)), (4, 5, 5 / 4), (9, 4, 4 / 3), (4, 8, 1.0), (5, 7, 1.0), (3, 12, 1 - 1 / math.sqrt(5))],
)
def test_softmax_codes_have_the_distances_that_are_known(dimension, classes, distance):
    code = softmax_code(dimension, classes)
    assert code.shape == (classes, dimension)
    assert np.linalg.norm(code, axis=1) == pytest.approx(1)
    assert one_vs_rest(code).min() == pytest.approx(distance, abs=1e-3)


@pytest.mark.slow
def test_a_hundred_classes_in_ten_dimensions_lie_above_the_published_optimum():
    """0.614 by the authors' gradient ascent; an annealed search gives at least 0.639."""
    assert one_vs_rest(softmax_code(10, 100)).min() > 0.65


def test_free_rows_are_of_the_start_of_least_loss():
    given = {"dimension": 3, "classes": 10, "scales": [1.0, 7.0], "digits": 15, "seed": 1}
    few, many = (chapter.free(**given, starts=n) for n in (1, 3))
    assert few.scale.tolist() == many.scale.tolist() == [1.0, 7.0]
    assert (many.loss <= few.loss + 1e-12).all()
    assert few.loss.tolist() == pytest.approx([1.464354, 0.055979], abs=1e-5)  # the values of a minimiser of another hand
    assert few.largest_cosine.tolist() == pytest.approx([0.4175, 0.4294], abs=1e-3)


# --- quantities -----------------------------------------------------------------------------------------------------------------------


def end(scale, classifier="learned", dimension=10, **given):
    values = {
        "variance_ratio": 0.01,
        "one_vs_rest": 0.6,
        "one_vs_rest_of_code": 0.75,
        "off_weights": 0.001,
        "accuracy": 0.8,
        "train_error": 0.0,
    }
    last = {"scale": scale, "classifier": classifier, "dimension": dimension, "epoch": 60, **values, **given}
    return pd.DataFrame([{**last, "epoch": 0, "train_error": 0.9, "accuracy": 0.1, "one_vs_rest": 0.0}, last])


ROWS = pd.concat(
    [
        end(1.0, one_vs_rest=0.15, accuracy=0.7),
        end(7.0),
        end(30.0, variance_ratio=0.2, accuracy=0.6),
        end(7.0, "class means", accuracy=0.82),
        end(7.0, "random", accuracy=0.75, off_weights=0.02),
        end(1.0, dimension=62, accuracy=0.99, one_vs_rest=9),
        end(7.0, dimension=62, accuracy=0.99, one_vs_rest=9),
    ]
)


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        (q.collapse, 0.01),
        (q.collapse_cold, 0.2),
        (q.code, 0.8),
        (q.code_hot, 0.2),
        (q.off_weights, 0.001),
        (q.off_weights_random, 0.02),
        (q.temperature_gain, 0.1),
        (q.temperature_gain_cold, -0.1),
        (q.means_gain, 0.02),
        (q.random_gain, -0.05),
    ],
)
def test_quantities_of_networks(quantity, value):
    assert quantity(ROWS.sample(frac=1, random_state=0)) == pytest.approx(value)


def test_a_network_that_has_not_fitted_has_none():
    rows = pd.concat([ROWS[ROWS.scale != 1.0], end(1.0, train_error=0.02)])
    assert math.isnan(q.temperature_gain(rows)) and math.isnan(q.code_hot(rows))
    assert q.code(rows) == pytest.approx(0.8)
    assert math.isnan(q.means_gain(ROWS[ROWS.classifier != "class means"]))


def test_quantities_of_codes():
    rows = pd.DataFrame(
        {
            "dimension": [3, 3, 3, 3],
            "classes": [8, 8, 10, 10],
            "scale": [1.0, 100.0, 1.0, 100.0],
            "one_vs_rest": [0.7, 0.74, 0.5, 0.6],
            "best_known": [0.26, 0.26, 0.4, 0.4],
        }
    )
    assert q.code_over_known(rows) == pytest.approx(1)
    assert q.code_over_known_hot(rows) == pytest.approx(0.5 / 0.6)
    searches = rows.assign(classes=[8, 8, 8, 8], digits=[15, 15, 6, 6])
    assert q.free_hot(searches) == pytest.approx(0.7 / 0.74) and q.free_hot_stopped(searches) == pytest.approx(0.5 / 0.74)
    more = pd.concat([searches, searches.assign(classes=9, one_vs_rest=5.0)])
    assert q.free_hot(more) == pytest.approx(0.7 / 0.74)


# --- the experiment -------------------------------------------------------------------------------------------------------------------

SHORT = parameters("many_classes", "short")


def test_grids():
    runs = {name: grid(**parameters("many_classes")) for name, (_, grid) in chapter.TABLES.items()}
    arms = [(r["dimension"], r["scale"], r["classifier"]) for r in runs["networks"] if r["seed"] == runs["networks"][0]["seed"]]
    assert (10, 7, "class means") in arms and (10, 7, "random") in arms and (62, 1, "learned") in arms
    assert len(set(arms)) == len(arms) == 9
    assert {r["starts"] for r in runs["large"]} == {1} and {r["digits"] for r in runs["codes"]} == {15}


def test_what_judges_nothing_has_fewer_seeds():
    given = parameters("many_classes") | {"seeds": 3, "seeds_beside": 2, "first_seed": 7}
    seeds = lambda runs, **own: sorted(r["seed"] for r in runs if own.items() <= r.items())
    networks = chapter.networks_grid(**given)
    for scale, classifier in [(1, "learned"), (7, "learned"), (30, "learned"), (7, "class means"), (7, "random")]:
        assert seeds(networks, dimension=10, scale=scale, classifier=classifier) == [7, 8, 9]
    for own in ({"scale": 3}, {"classifier": "softmax code"}, {"dimension": 62, "scale": 1}, {"dimension": 62, "scale": 7}):
        assert seeds(networks, **own) == [7, 8]
    assert len(networks) == 5 * 3 + 4 * 2
    large = chapter.large_grid(**given)
    assert seeds(large, classes=62, digits=6) == seeds(large, classes=62, digits=15) == [7, 8, 9] and seeds(large, classes=100) == [7, 8]


def test_the_classifier_is_learned_follows_the_means_or_stays():
    of = {r["classifier"]: r for r in chapter.networks_grid(**SHORT) if r["scale"] == 7 and r["dimension"] == 4}
    tables = {name: chapter.network(**run) for name, run in of.items()}
    start, stays, follows, learns = (tables[n].one_vs_rest for n in ("random", "random", "class means", "learned"))
    assert stays.iloc[-1] == start.iloc[0] == learns.iloc[0]
    assert learns.iloc[-1] != stays.iloc[-1] and follows.iloc[-1] != stays.iloc[-1]
    good = tables["softmax code"]
    assert (good.one_vs_rest - good.one_vs_rest_of_code).abs().max() < 1e-5 and good.off_weights.iloc[0] != stays.iloc[0]
    assert tables["learned"].equals(chapter.network(**of["learned"]))
    assert (tables["learned"].one_vs_rest_of_code == tables["random"].one_vs_rest_of_code.iloc[0]).all()


def test_class_means_are_those_of_the_epochs_start():
    """After one epoch the rows are the means of the features that the first weights gave: what `one_vs_rest_of_means` said at epoch 0."""
    run = next(r for r in chapter.networks_grid(**SHORT) if r["classifier"] == "class means")
    table = chapter.network(**{**run, "epochs": 1, "measurements": 1}).set_index("epoch")
    assert table.one_vs_rest[1] == pytest.approx(table.one_vs_rest_of_means[0], rel=1e-5)
