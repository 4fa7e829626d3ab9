"""The chapter on margins: its quantities on rows whose answer is plain, the stack's training, its score, and tiny runs."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.chapters.nonconservative_generalization import experiment as chapter
from ncbook.chapters.nonconservative_generalization import quantities as q
from ncbook.claims.curves import lasting_onset
from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.metrics.margins import loss_bounds
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.seeds import child_generator
from ncbook.theory.assignment import assignment_score, assignments, confusability
from ncbook.theory.codes import simplex, spherical_code
from ncbook.training.staged import errors, history
from ncbook.training.together import measured, train_together

EPOCHS = [0, 1, 4, 8, 10, 16, 20]
WRONG = [0.9, 0.2, 0.0, 0.1, 0.0, 0.0, 0.0]  # lasting from 10 on, twice that is 20


def rows(**columns) -> pd.DataFrame:
    """One seed's rows; columns that are not given do not change."""
    given = {"epoch": EPOCHS, "train_error": [0.9, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0], "weight_decay": 0.0, "test_error": 0.1}
    cosines = {f"svm_cosine{name}": 0.8 for name in ("", "_first", "_other", "_other_first")}
    table = pd.DataFrame({**given, "p_min": 1.0, "normalised_min": 0.1, **cosines, **columns})
    return table.sample(frac=1, random_state=0)  # the order of rows says nothing


def test_terminal_phase_lasts():
    assert lasting_onset(rows()) == (4, 8)
    assert lasting_onset(rows(train_error=WRONG))[0] == 10
    assert math.isnan(lasting_onset(rows(train_error=WRONG))[1])  # twice 10 is the last epoch
    for never in ([0.1] * 7, [0.0] * 6 + [0.1], [0.1] * 6 + [0.0]):
        assert all(map(math.isnan, lasting_onset(rows(train_error=never))))


def test_accuracy_rise():
    assert q.accuracy_rise(rows(test_error=[1, 1, 0.12, 0.2, 0.01, 0.01, 0.10])) == pytest.approx(2)
    assert q.accuracy_rise(rows(test_error=[1, 1, 0.12, 0.2, 0.01, 0.01, 0.15])) == pytest.approx(-3)
    assert math.isnan(q.accuracy_rise(rows(train_error=[0.1] * 7)))


def test_margin_quantities_start_at_twice_the_first_epoch():
    p = [-5, -1, 0.01, 2.0, 3.0, 4.0, 8.0]
    assert q.margin_rise(rows(p_min=p)) == pytest.approx(6)
    assert q.norm_share(rows(p_min=p)) == pytest.approx(1)  # the normalised margin stays
    assert q.norm_share(rows(p_min=p, normalised_min=np.array(p) / 10)) == pytest.approx(0)
    assert q.norm_share(rows(p_min=p, normalised_min=[0, 0, 0, 0.1, 0.1, 0.1, 0.2])) == pytest.approx(0.5)
    assert math.isnan(q.norm_share(rows()))
    assert math.isnan(q.norm_share(rows(p_min=[8.0, 7, 6, 5, 4, 3, 2])))  # a margin that shrank


def test_svm_approach_is_the_classifiers_own_turning():
    """The last classifier against the first, both with the last machine: what came nearer by the machine's own moving is in both."""
    last = {"svm_cosine": 0.9, "svm_cosine_first": 0.8, "svm_cosine_other": -0.2, "svm_cosine_other_first": 0.4}
    turned = rows(**{name: [math.nan, math.nan, 0, 0.1, 0.2, 0.3, value] for name, value in last.items()})
    assert q.svm_approach(turned) == pytest.approx(0.5)
    assert q.svm_approach_of_others(turned) == pytest.approx(2)
    assert q.svm_approach(rows(svm_cosine=0.7, svm_cosine_first=0.7)) == 1  # it stayed


@pytest.mark.parametrize("quantity", [q.margin_rise, q.norm_share, q.svm_approach, q.svm_approach_of_others])
def test_margins_are_of_networks_without_weight_decay(quantity):
    growing = rows(p_min=[0, 0, 1, 2, 3, 4, 5.0])
    beside = rows(p_min=9.0, normalised_min=0.9, svm_cosine=0.1, svm_cosine_other=0.2, weight_decay=1e-3)
    assert quantity(pd.concat([growing, beside])) == quantity(growing)
    assert math.isnan(quantity(beside))
    assert math.isnan(quantity(rows(train_error=[0.1] * 7)))


def layout(effect, *, score=None, noise=0.2, seed=0, frames=8, seeds=3, **columns) -> pd.DataFrame:
    """A layout in which frame f changes the test error by effect[f] points."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame([(f, s) for s in range(seeds) for f in range(frames)], columns=["frame", "seed"])
    table["test_error"] = 0.2 + (np.asarray(effect)[table.frame] + random.normal(size=len(table)) * noise) / 100
    table["terminal_test_error"], table["train_error"] = 0.25, 0.0
    table["train_variance_ratio"] = 0.05 * np.exp(0.05 * random.normal(size=len(table)))
    table["normalised_q05"], table["terminal_normalised_q05"] = random.normal(0.4, 0.02, size=len(table)), 0.3
    for name in ("score", "least_lipschitz", "covering"):
        table[name] = np.asarray(score if score is not None else np.arange(frames) + 1.0)[table.frame]
    return table.assign(**columns).sample(frac=1, random_state=1)


def test_alignment_quantities_see_an_effect_and_its_order():
    strong = layout(np.arange(8.0))
    assert q.frame_variance(strong) == pytest.approx(np.var(np.arange(8), ddof=1), rel=0.2)
    for order in (q.order_by_score, q.order_by_lipschitz, q.order_by_covering):
        assert order(strong) == pytest.approx(1)
        assert order(layout(-np.arange(8.0), noise=0)) == pytest.approx(-1)
        assert math.isnan(order(layout(np.arange(8.0), score=np.ones(8) + 1e-12)))  # the same for all frames: 0/0
    assert math.isnan(q.order_by_covering(strong.assign(covering=strong.covering.where(strong.frame > 0))))  # a margin that is not positive


def test_what_is_shuffled_loses_its_order_and_keeps_its_numbers():
    strong = layout(np.arange(8.0))
    assert abs(q.order_by_shuffled_score(strong)) < 0.5
    assert q.order_by_shuffled_score(strong) == q.order_by_shuffled_score(strong)
    random = np.random.default_rng(0)
    variances = [q.shuffled_variance(layout(random.permutation(np.arange(8.0)), seed=seed)) for seed in range(40)]
    assert abs(np.mean(variances)) < 4 * np.std(variances) / math.sqrt(40) < q.frame_variance(strong) / 2
    assert math.isnan(q.shuffled_variance(strong.assign(train_error=0.01)))
    assert math.isnan(q.growth_and_gain_shuffled(strong.assign(terminal_test_error=math.nan)))


@pytest.mark.parametrize("broken", [{"train_error": 0.005}, {"train_variance_ratio": 0.0}])
def test_frames_that_are_not_equally_collapsed_are_not_compared(broken):
    strong = layout(np.arange(8.0))
    assert math.isnan(q.frame_variance(strong.assign(**broken)))
    wide = strong.train_variance_ratio * np.where(strong.frame == 3, 2.5, 1)
    assert math.isnan(q.frame_variance(strong.assign(train_variance_ratio=wide)))


def test_growth_of_margins_and_gain_are_compared_within_training_sets():
    table = layout(np.zeros(8), noise=1.0)
    gain = 100 * (0.25 - table.test_error)
    growing = table.assign(normalised_q05=0.3 + gain / 1000 + 0.1 * table.seed, terminal_normalised_q05=0.3)
    assert q.growth_and_gain(growing) == pytest.approx(1)  # the seeds' own levels do not matter
    assert q.growth_and_gain(growing.assign(normalised_q05=0.6 - growing.normalised_q05)) == pytest.approx(-1)
    assert abs(q.growth_and_gain_shuffled(growing)) < 0.4
    assert q.margin_and_error(growing) == pytest.approx(1)
    assert q.margin_and_error(growing.assign(terminal_test_error=math.nan)) == pytest.approx(1)  # it needs no terminal phase
    for missing in ({"terminal_test_error": math.nan}, {"terminal_normalised_q05": math.nan}):
        assert math.isnan(q.growth_and_gain(growing.assign(**missing)))
    assert math.isnan(q.margin_and_error(growing.assign(test_error=0.1)))  # all equal: 0/0


def test_share_of_norms_below_a_fixed_classifier():
    table = layout(np.zeros(8), p_min=4.0, terminal_p_min=1.0, normalised_min=0.2, terminal_normalised_min=0.1)
    assert q.norm_share_under_decay(table) == pytest.approx(0.5)
    assert q.norm_share_under_decay(table.assign(normalised_min=0.4)) == pytest.approx(0)
    assert math.isnan(q.norm_share_under_decay(table.assign(p_min=0.5)))  # no growth
    assert math.isnan(q.norm_share_under_decay(table.assign(terminal_p_min=np.where(table.frame == 0, math.nan, 1.0))))  # no terminal phase


def test_score_of_alignments():
    alike = torch.rand(10, 10, generator=child_generator(0, "alike"))
    alike = (alike + alike.T).fill_diagonal_(5)
    vectors = spherical_code(5, 10)
    slow = sum(float(alike[i, j]) * float(vectors[i] @ vectors[j]) for i in range(10) for j in range(10) if i != j)
    assert assignment_score(vectors, alike) == pytest.approx(slow)
    orders = assignments(simplex(10), 4, np.random.default_rng(0))
    assert np.ptp([assignment_score(simplex(10)[o], alike) for o in orders]) == pytest.approx(0, abs=1e-9)
    assert len({tuple(o) for o in orders}) == 4
    assert np.ptp([assignment_score(vectors[o], alike) for o in assignments(vectors, 4, np.random.default_rng(0))]) > 0.01
    with pytest.raises(InputError, match="do not fit"):
        assignment_score(vectors, alike[:3])


def stack(data, seed=0):
    vectors = torch.tensor(np.stack([spherical_code(2, 10)] * 4))
    return FixedClassifiers("mlp:16", data.image_shape, vectors, generator=child_generator(seed, "weights"))


def test_training_by_epoch_is_training_together():
    sets = [load("digits", train_size=100, seed=s) for s in (0, 1)]
    settings = {"epochs": 3, "learning_rate": 0.1, "weight_decay": 1e-3, "batch_size": 50}
    splits = [d.train for d in sets]
    one, other = stack(sets[0]), stack(sets[0])
    train_together(one, splits, generators=[child_generator(s, "b") for s in (0, 1)], **settings)
    train, test = history(
        other, splits, [d.test for d in sets], range(1, 4), generators=[child_generator(s, "b") for s in (0, 1)], **settings
    )
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert train.shape == test.shape == (4, 3)
    assert train[:, -1].tolist() == measured(one, splits)["error"] == errors(other, splits).tolist()


def test_confusability_is_symmetric_and_blind_to_tests():
    data = load("digits", train_size=100, seed=0)
    settings = {"epochs": 5, "learning_rate": 0.1, "weight_decay": 1e-3, "batch_size": 25}
    table = confusability(data, "mlp:16", networks=4, seed=0, **settings)
    assert table.shape == (10, 10) and torch.equal(table, table.T) and not table.diagonal().any()
    assert (table >= 0).all() and (table.sum(1) < 1).all() and table.sum() > 0


def test_a_tiny_network_obeys_the_sandwich():
    settings = {"learning_rate": 0.1, "batch_size": 20, "precision": "float32", "svm": True, "covering": True}
    table = chapter.terminal(
        dataset="digits", model="mlp_plain", train_size=60, epochs=60, measurements=6, weight_decay=0.0, seed=1000, **settings
    )
    for row in table.itertuples():
        low, high = loss_bounds(row.p_min, 60, 10)
        assert low * (1 - 1e-9) <= row.loss <= high * (1 + 1e-9)
        assert -1 <= row.normalised_min <= 1
    last = table.iloc[-1]
    assert last.train_error == 0 and 0 < last.svm_share <= 1.001 and last.svm_cosine <= 1
    begun = table[table.p_min > 0]
    assert begun.svm_cosine_first.iloc[0] == begun.svm_cosine.iloc[0] and (begun.svm_cosine > begun.svm_cosine_other).all()
    assert table[table.p_min <= 0].filter(like="svm_").isna().all(axis=None)
    for space in ("train_features", "test_features", "images", "any_network"):
        assert 10 / 120 - 1e-9 <= last[f"covering_{space}_low"] <= last[f"covering_{space}_high"]
    assert last.covering_any_network_low <= last.covering_images_low
    assert table.equals(
        chapter.terminal(
            dataset="digits", model="mlp_plain", train_size=60, epochs=60, measurements=6, weight_decay=0.0, seed=1000, **settings
        )
    )


@pytest.mark.parametrize(("dimension", "features"), [(5, "linear"), (32, "relu")])
def test_a_tiny_layout(dimension, features):
    settings = {"train_size": 100, "epochs": 30, "learning_rate": 0.2, "weight_decay": 5e-3, "batch_size": 50, "measure_every": 2}
    table = chapter.alignment(
        dataset="digits", dimension=dimension, features=features, frames=3, seeds=2, body="mlp:32", layout=1000, scored=True, **settings
    )
    assert len(table) == 6 and table.groupby("frame").score.nunique().eq(1).all()
    assert (table.score.round(9).nunique() == 1) == (dimension == 32)  # of a simplex the same for all
    begun = table.dropna(subset=["terminal_epoch"])
    assert len(begun) > 0
    assert (begun.terminal_epoch % 2 == 0).all() and begun.train_error.eq(0).all()
    assert begun.covering.notna().all() and table.test_error.between(0, 1).all()
    assert (begun.terminal_p_min > 0).all() and begun.filter(like="terminal_").notna().all(axis=None)


def test_what_is_not_scored_is_the_same_layout_without_scores():
    settings = {"train_size": 50, "epochs": 4, "learning_rate": 0.2, "weight_decay": 5e-3, "batch_size": 50, "measure_every": 2}
    settings |= {"dataset": "digits", "dimension": 5, "features": "linear", "frames": 2, "seeds": 1, "body": "mlp:16", "layout": 0}
    scored, plain = (chapter.alignment(scored=scored, **settings) for scored in (True, False))
    assert set(scored) - set(plain) == {"score", "least_lipschitz", "covering"}
    assert scored[list(plain)].equals(plain)


def test_grids():
    from ncbook import chapters
    from ncbook.publish.parameters import parameters as parameters_of
    from ncbook.runs import plan

    for profile in chapters.profiles():
        parameters = parameters_of("nonconservative_generalization", profile)
        for experiment, grid in chapter.TABLES.values():
            runs = grid(**parameters)
            if profile == "quick":
                assert len(plan(experiment, runs)) == len(runs)
