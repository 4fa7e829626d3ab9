"""The chapter on transfer: its quantities on rows whose answer is plain, its pre-training tasks, and one tiny run."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.chapters.transfer_degradation import experiment as chapter
from ncbook.chapters.transfer_degradation import quantities as q
from ncbook.claims.rule import judge_part
from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.moments import ClassMoments
from ncbook.training.recipe import Recipe

EPOCHS = [0, 1, 10, 20, 40]
FALL = [0.9, 0.9, 0.8, 0.6, 0.5]  # loses 0.3 from epoch 10 on
FLAT = [0.9, 0.9, 0.8, 0.8, 0.8]
V = [10, 5, 1, 0.1, 0.01]


def arm(accuracy, *, v=V, labels="coarse", weight_decay=1e-2, layer="hidden3", probe="logistic", terminal=10.0, source=None, blur=0.0):
    """One seed's rows of one layer and probe; the start of the terminal phase is known from it on, as the experiment leaves it."""
    source = source or [0.5, 0.8, 0.9, 0.9, 0.9]
    rows = [
        {
            "epoch": epoch,
            "terminal_epoch": terminal if epoch >= terminal else math.nan,
            "labels": labels,
            "weight_decay": weight_decay,
            "layer": layer,
            "last_layer": layer == "hidden3",
            "probe": probe,
            "blur": blur,
            "accuracy": accuracy[i],
            "variance_ratio_train": v[i],
            "source_error_test": 1 - source[i],
            "source_classes": 2,
            "fine_classes": 10,
        }
        for i, epoch in enumerate(EPOCHS)
    ]
    return pd.DataFrame(rows)


def together(*arms) -> pd.DataFrame:
    return pd.concat(arms).sample(frac=1, random_state=0)  # the order of rows says nothing


# beside the main arm: rows that no quantity of the main arm may see
BESIDE = (
    arm(FLAT, weight_decay=1e-3),
    arm(FLAT, labels="fine"),
    arm(FLAT, labels="random"),
    arm(FLAT, probe="whitened"),
    arm(FLAT, layer="hidden1"),
    arm(FLAT, blur=1e-3),
)


def test_change():
    assert q.change(together(arm(FALL), *BESIDE)) == pytest.approx(-0.3)
    assert q.change(arm(FLAT)) == 0
    assert q.change(arm(FALL, terminal=20.0)) == pytest.approx(-0.1)


def test_change_of_probe_is_that_of_the_rows_given():
    assert q.change_of_probe(together(arm(FALL, probe="whitened"), arm(FLAT, probe="whitened", layer="hidden1"))) == pytest.approx(-0.3)
    assert q.change_of_probe(together(arm(FALL, probe="centre"), arm(FLAT, probe="centre", weight_decay=0.0))) == pytest.approx(-0.3)


def test_source_change():
    assert q.source_change(together(arm(FALL, source=[0.5, 0.8, 0.9, 0.9, 0.95]), *BESIDE)) == pytest.approx(0.05)
    assert q.source_change(arm(FALL, source=[0.5, 0.8, 0.9, 0.9, 0.85])) == pytest.approx(-0.05)


def test_slope_over_training_is_in_accuracy_a_decade_and_looks_at_the_terminal_phase_only():
    line = [0.0, 1.0, 0.8, 0.7, 0.6]  # two decades cost 0.2
    assert q.slope_over_training(together(arm(line), *BESIDE)) == pytest.approx(0.1)
    assert q.slope_over_training(arm(FLAT)) == pytest.approx(0)
    assert q.slope_over_training(arm([0, 0, 0.6, 0.7, 0.8])) == pytest.approx(-0.1)
    assert math.isnan(q.slope_over_training(arm(line, terminal=20.0)))  # two points have no slope worth the name


def test_slope_over_weight_decay_is_at_the_last_epoch():
    def ending(accuracy, v, **kwargs):
        return arm([*FLAT[:-1], accuracy], v=[*V[:-1], v], **kwargs)

    arms = ending(0.5, 0.01), ending(0.7, 0.1, weight_decay=5e-3), ending(0.9, 1.0, weight_decay=1e-3)
    others = arm(FLAT, labels="fine", weight_decay=0.5), arm(FLAT, probe="centre", weight_decay=2e-3), arm(FLAT, layer="hidden1")
    assert q.slope_over_weight_decay(together(*arms, *others)) == pytest.approx(0.2)
    assert q.slope_over_weight_decay(together(*arms[:2])) == pytest.approx(0.2)
    assert math.isnan(q.slope_over_weight_decay(arms[0]))


def test_last_layer_beyond_compares_with_the_earlier_layer_that_loses_most():
    some = [0.9, 0.9, 0.8, 0.8, 0.7]
    assert q.last_layer_beyond(together(arm(FALL), arm(some, layer="hidden2"), arm(FLAT, layer="hidden1"))) == pytest.approx(-0.2)
    assert q.last_layer_beyond(together(arm(some), arm(FALL, layer="hidden2"), arm(FLAT, layer="hidden1"))) == pytest.approx(0.2)
    assert math.isnan(q.last_layer_beyond(arm(FALL)))


def test_beyond_fine_labels():
    assert q.beyond_fine_labels(together(arm(FALL), arm(FLAT, labels="fine"))) == pytest.approx(-0.3)
    assert q.beyond_fine_labels(together(arm(FALL), arm(FALL, labels="fine", terminal=20.0))) == pytest.approx(-0.2)
    assert math.isnan(q.beyond_fine_labels(arm(FALL)))


def test_above_ceiling():
    assert q.above_ceiling(together(arm(FALL), *BESIDE)) == pytest.approx(0.3)  # 0.5 - 2 / 10


@pytest.mark.parametrize("terminal", [math.nan, 40.0], ids=["never", "at the last epoch"])
@pytest.mark.parametrize(
    "quantity", [q.change, q.change_of_probe, q.source_change, q.slope_over_training, q.last_layer_beyond, q.beyond_fine_labels]
)
def test_without_a_terminal_phase_there_is_no_number(quantity, terminal):
    rows = together(*(arm(FALL, terminal=terminal, layer=n) for n in ("hidden1", "hidden3")), arm(FLAT, labels="fine"))
    assert math.isnan(quantity(rows))


def false_alarms(quantity, simulate, test, draws=200):
    """How often five seeds of noise alone are judged to support a claim."""
    random = np.random.default_rng(0)
    calls = [judge_part([quantity(simulate(random)) for _ in range(5)], test=test, threshold=0).p_for <= 0.025 for _ in range(draws)]
    return np.mean(calls)


def constant(random, **kwargs):
    """An accuracy that does not change, measured each time on another 500 test images."""
    return arm(list(random.binomial(500, 0.8, size=len(EPOCHS)) / 500), **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantity", "test", "simulate"),
    [
        (q.change, "less", constant),
        (q.slope_over_training, "greater", constant),
        (
            q.slope_over_weight_decay,
            "greater",
            lambda r: pd.concat([constant(r, weight_decay=w, v=[*V[:-1], v]) for w, v in ((0.01, 0.005), (0.007, 0.04), (0.003, 1.0))]),
        ),
        (q.last_layer_beyond, "less", lambda r: pd.concat([constant(r, layer=f"hidden{i}") for i in (1, 2, 3)])),
        (q.beyond_fine_labels, "less", lambda r: pd.concat([constant(r), constant(r, labels="fine")])),
    ],
    ids=["change", "over training", "over weight decay", "last layer", "fine labels"],
)
def test_noise_alone_is_called_support_no_more_often_than_the_rule_says(quantity, test, simulate):
    assert false_alarms(quantity, simulate, test) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 200)


RECIPE = Recipe(dataset="digits", model="mlp", train_size=100, epochs=1, learning_rate=0.1, weight_decay=0.0, batch_size=10)


def test_source_tasks_differ_in_the_labels_only():
    tasks = {name: chapter.source_task(RECIPE, name, 3, "cpu") for name in chapter.LABELS}
    plain = load("digits", train_size=100, seed=3)
    for task in tasks.values():
        for split, same in ((task.train, plain.train), (task.test, plain.test)):
            assert torch.equal(split.images, same.images)
            assert torch.equal(split.fine_labels, same.fine_labels)
    assert [tasks[name].num_classes for name in chapter.LABELS] == [2, 10, 2]
    assert torch.equal(tasks["fine"].train.labels, plain.train.labels)
    assert torch.equal(tasks["coarse"].train.labels, plain.train.labels // 5)


def test_random_groups_are_as_large_as_the_coarse_classes_and_another_draw_for_each_seed():
    draws = [chapter.source_task(RECIPE, "random", seed, "cpu") for seed in range(4)]
    groupings = {tuple(d.coarse_of_fine.tolist()) for d in draws}
    assert len(groupings) == 4
    for task in draws:
        assert task.coarse_of_fine.bincount().tolist() == [5, 5]
        for split in (task.train, task.test):
            assert torch.equal(split.labels, task.coarse_of_fine[split.fine_labels])
    with pytest.raises(InputError, match="pre-training labels 'groups'"):
        chapter.source_task(RECIPE, "groups", 0, "cpu")


def test_blur_by_itself_makes_the_share_asked_for():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4000) % 2
    points = torch.stack([labels.float() * 6, torch.zeros(4000), torch.ones(4000)], 1)
    train, test = chapter.blurred(points, points[:10], labels, 0.25, seed=1)
    assert variance_ratio(ClassMoments.from_features(train, labels)).item() == pytest.approx(0.25, rel=0.05)
    assert test.shape == (10, 3)
    noisy = points + torch.randn(points.shape, generator=generator)
    assert chapter.blurred(noisy, points, labels, 0.0, seed=1)[0] is noisy


SMALL = {"train_size": 100, "test_size": 100, "loss": "cross_entropy", "learning_rate": 0.1, "batch_size": 25, "schedule": "cosine"}
GRID = {"dataset": "digits", "model": "mlp", "precision": "float32", "measurements": 3, "measurements_beside": 2, "blurs": [0.01]}


def test_the_grid_has_one_main_arm():
    runs = chapter.grid(**GRID, **SMALL, labels=["coarse", "fine", "random"], weight_decay=[0.01, 0.001], epochs=8, seeds=2)
    arms = [(r["labels"], r["weight_decay"], r["measurements"], r["every_layer"], r["blurs"]) for r in runs if r["seed"] == 0]
    assert arms == [
        ("coarse", 0.01, 3, True, [0.01]),
        ("coarse", 0.001, 2, False, []),
        ("fine", 0.01, 2, False, []),
        ("random", 0.01, 2, False, []),
    ]
    assert len(runs) == 8


def test_a_tiny_run():
    run = chapter.grid(**GRID, **SMALL, labels=["coarse"], weight_decay=[0.01], epochs=8, seeds=1)[0]
    table = chapter.experiment(**run)
    assert table.equals(chapter.experiment(**run))
    assert sorted(table.epoch.unique()) == sorted({0, 1, 3, 8, int(table.terminal_epoch.max())})
    assert table.accuracy.between(0, 1).all()
    assert set(table[table.blur > 0].epoch) == {0, 8, int(table.terminal_epoch.max())}
    assert set(table[table.epoch == 8].layer) == {"hidden1", "hidden2", "hidden3"}
    one = ["epoch", "layer", "probe", "blur"]
    assert not table.duplicated(one).any()
    last = table[(table.epoch == 8) & table.last_layer & (table.blur == 0)].iloc[0]
    assert last.variance_ratio_train < table.variance_ratio_train[0]
    assert (last.source_classes, last.fine_classes) == (2, 10)
