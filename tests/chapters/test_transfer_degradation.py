"""The chapter on transfer: its quantities on rows whose answer is plain, its pre-training tasks, and one tiny run."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook import chapters
from ncbook.chapters.transfer_degradation import experiment as chapter
from ncbook.chapters.transfer_degradation import quantities as q
from ncbook.claims.rule import judge_part
from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.moments import ClassMoments
from ncbook.training.recipe import Recipe

CLAIMS = {claim.id: claim for claim in chapters.claims("transfer_degradation")}
EPOCHS = [0, 1, 10, 20, 40]
FALL = [0.9, 0.9, 0.8, 0.6, 0.5]  # loses 0.3 from epoch 10 on
FLAT = [0.9, 0.9, 0.8, 0.8, 0.8]
V = [10, 5, 1, 0.1, 0.005]


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
    arm(FLAT, labels="shuffled"),
    arm(FLAT, layer="hidden1"),
    arm(FLAT, blur=1e-3),
)


def test_change():
    assert q.change(together(arm(FALL), *BESIDE)) == pytest.approx(-0.3)
    assert q.change(arm(FLAT)) == 0
    assert q.change(arm(FALL, v=[10, 5, 1, 0.5, 0.005], terminal=20.0)) == pytest.approx(-0.1)


def test_changes_of_the_other_arms():
    rows = together(arm(FALL), arm(FLAT, labels="fine"), arm([0.9, 0.9, 0.8, 0.7, 0.7], labels="new"))
    assert q.change_with_fine_labels(rows) == 0
    assert q.change_on_new_classes(rows) == pytest.approx(-0.1)
    assert math.isnan(q.change_with_fine_labels(arm(FALL))) and math.isnan(q.change_on_new_classes(arm(FALL)))


def test_source_change():
    assert q.source_change(together(arm(FALL, source=[0.5, 0.8, 0.9, 0.9, 0.95]), *BESIDE)) == pytest.approx(0.05)
    assert q.source_change(arm(FALL, source=[0.5, 0.8, 0.9, 0.9, 0.85])) == pytest.approx(-0.05)


def test_slope_over_weight_decay_is_at_the_last_epoch():
    def ending(accuracy, v, **kwargs):
        return arm([*FLAT[:-1], accuracy], v=[*V[:-1], v], **kwargs)

    arms = ending(0.5, 0.005), ending(0.7, 0.05, weight_decay=5e-3), ending(0.9, 0.5, weight_decay=1e-3)
    others = arm(FLAT, labels="fine", weight_decay=0.5), arm(FLAT, layer="hidden1")
    assert q.slope_over_weight_decay(together(*arms, *others)) == pytest.approx(0.2)
    assert q.slope_over_weight_decay(together(*arms[:2])) == pytest.approx(0.2)
    assert math.isnan(q.slope_over_weight_decay(arms[0]))
    assert math.isnan(q.slope_over_weight_decay(together(arms[0], ending(0.7, 0.04, weight_decay=5e-3))))  # less than a decade apart
    fine = [ending(0.8, v, labels="fine", weight_decay=d) for v, d in ((0.005, 1e-2), (0.5, 1e-3))]
    assert q.slope_with_fine_labels(together(*arms, *fine)) == pytest.approx(0)


def test_fine_structure_is_a_share_of_what_the_untrained_network_has():
    noise = {"blur": 1e-4, "probe": "whitened"}
    kept = arm([0.8, 0.8, 0.8, 0.6, 0.5], **noise)  # the ceiling is 2 / 10
    means = arm([0.2] * 5, layer="class means", **noise).query("epoch == 40")
    assert q.fine_structure(together(kept, means)) == pytest.approx(0.5)
    assert q.fine_structure_of_class_means(together(kept, means)) == pytest.approx(0)
    assert math.isnan(q.fine_structure_of_class_means(kept))
    for untrained, known in ((0.3, True), (0.299, False)):  # a tenth above the ceiling, and less
        rows = together(arm([untrained, 0.8, 0.8, 0.6, 0.25], **noise), means)
        assert math.isfinite(q.fine_structure(rows)) is math.isfinite(q.fine_structure_of_class_means(rows)) is known


def every(rows):
    return [
        q.change(rows),
        q.change_with_fine_labels(rows),
        q.change_on_new_classes(rows),
        q.source_change(rows),
        q.slope_over_weight_decay(rows),
        q.slope_with_fine_labels(rows),
        q.fine_structure(rows),
        q.fine_structure_of_class_means(rows),
    ]


@pytest.mark.parametrize(
    "changes",
    [{"terminal": math.nan}, {"terminal": 40.0}, {"v": [10, 5, 1, 0.5, 0.02]}, {"v": [10, 5, 0.04, 0.03, 0.005]}],
    ids=["no terminal phase", "only at the last epoch", "not collapsed", "less than a decade"],
)
def test_the_guard(changes):
    def rows(**changes):
        arms = [arm(FALL, labels=name, **changes) for name in ("coarse", "fine", "new")]
        low = [arm(FALL, labels=name, weight_decay=1e-3, **{**changes, "v": [10, 5, 1, 1, 0.9]}) for name in ("coarse", "fine")]
        return together(*arms, *low, arm(FLAT, layer="class means", **changes).query("epoch == 40"))

    assert np.isnan(every(rows(**changes))).all()
    assert np.isfinite(every(rows(v=[10, 5, 1, 0.1, 0.005]))).all()


def rates(name, simulate, draws=400):
    """How often five seeds of surrogate rows are judged to support a claim, and to contradict it."""
    claim, random = CLAIMS[name], np.random.default_rng(0)
    parts = [
        judge_part([claim.compute(simulate(random)) for _ in range(5)], test=claim.test, threshold=claim.threshold) for _ in range(draws)
    ]
    return np.mean([part.p_for <= 0.025 for part in parts]), np.mean([part.p_against <= 0.025 for part in parts])


def falling(random, by, **kwargs):
    """An accuracy that falls by so much over the terminal phase, measured each time on another 500 test images."""
    shares = np.array([0.9, 0.9, 0.8, 0.8 - by / 2, 0.8 - by])
    return arm(list(random.binomial(500, shares) / 500), **kwargs)


def by_decay(random, slope):
    """Two weight decays two decades of V apart."""
    return pd.concat(
        [falling(random, 2 * slope), falling(random, 0, weight_decay=1e-3, v=[*V[:-1], V[-1] * 100])],
    )


def with_structure(random, share):
    return falling(random, 0.8 - (0.2 + share * 0.7), blur=1e-4, probe="whitened")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "simulate", "null", "power"),
    [
        ("transfer-falls", falling, 0.01, 0.8),
        ("transfer-new-classes", lambda r, by: falling(r, by, labels="new"), 0.01, 0.7),
        ("transfer-collapse-at-equal-epochs", by_decay, 0.02, 0.8),
        ("transfer-fine-structure-stays", with_structure, 0.1, 0.8),
    ],
)
def test_claims_are_seen_at_their_effect_and_not_made_of_noise(name, simulate, null, power):
    allowed = 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    supported, contradicted = rates(name, lambda r: simulate(r, null))
    assert supported <= allowed and contradicted <= allowed
    assert rates(name, lambda r: simulate(r, abs(CLAIMS[name].effect)))[0] >= power


RECIPE = Recipe(dataset="digits", model="mlp", train_size=100, epochs=1, learning_rate=0.1, weight_decay=0.0, batch_size=10)


def test_tasks_on_the_same_images_differ_in_the_labels_only():
    found = {name: chapter.tasks(RECIPE, name, 3, "cpu") for name in ("coarse", "fine", "shuffled")}
    plain = load("digits", train_size=100, seed=3)
    for data, target in found.values():
        assert target is data
        for split, same in ((data.train, plain.train), (data.test, plain.test)):
            assert torch.equal(split.images, same.images)
            assert torch.equal(split.fine_labels, same.fine_labels)
    assert [found[name][0].num_classes for name in found] == [2, 10, 2]
    assert torch.equal(found["fine"][0].train.labels, plain.train.labels)
    assert torch.equal(found["coarse"][0].train.labels, plain.train.labels // 5)
    shuffled = found["shuffled"][0].train.labels
    assert shuffled.bincount().tolist() == [50, 50] and not torch.equal(shuffled, plain.train.labels // 5)
    assert torch.equal(found["shuffled"][0].test.labels, plain.test.labels // 5)
    with pytest.raises(InputError, match="pre-training labels 'groups'"):
        chapter.tasks(RECIPE, "groups", 0, "cpu")


def test_new_classes_are_the_images_that_the_network_does_not_see():
    data, target = chapter.tasks(RECIPE, "new", 3, "cpu")
    plain = load("digits", train_size=100, seed=3)
    assert (data.num_classes, data.class_names, target.class_names) == (5, tuple("01234"), tuple("56789"))
    for side in ("train", "test"):
        seen, unseen, whole = (getattr(one, side) for one in (data, target, plain))
        assert torch.equal(seen.images, whole.images[whole.labels < 5]) and torch.equal(unseen.images, whole.images[whole.labels >= 5])
        assert torch.equal(seen.labels, whole.labels[whole.labels < 5])
        assert torch.equal(unseen.fine_labels, whole.labels[whole.labels >= 5] - 5)


def test_on_class_means_two_points_are_left():
    labels = torch.tensor([0, 0, 1, 1])
    train, test = torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([[5.0], [7.0]])
    a, b = chapter.on_class_means(train, test, labels)
    assert (a.flatten().tolist(), b.flatten().tolist()) == ([1, 1, 11, 11], [1, 11])


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
    runs = chapter.grid(**GRID, **SMALL, labels=["coarse", "fine", "new"], weight_decay=[0.01, 0.001], epochs=8, seeds=2)
    arms = [(r["labels"], r["weight_decay"], r["measurements"], r["every_layer"], r["blurs"]) for r in runs if r["seed"] == 0]
    assert arms == [
        ("coarse", 0.01, 3, True, [0.01]),
        ("coarse", 0.001, 2, False, []),
        ("fine", 0.01, 2, False, []),
        ("fine", 0.001, 2, False, []),
        ("new", 0.01, 2, False, []),
    ]
    assert len(runs) == 10


def test_a_tiny_run():
    run = chapter.grid(**GRID, **SMALL, labels=["coarse"], weight_decay=[0.01], epochs=8, seeds=1)[0]
    table = chapter.experiment(**run)
    assert table.equals(chapter.experiment(**run))
    assert sorted(table.epoch.unique()) == sorted({0, 1, 3, 8, int(table.terminal_epoch.max())})
    assert table.accuracy.between(0, 1).all()
    assert set(table[table.blur > 0].epoch) == {0, 8, int(table.terminal_epoch.max())}
    assert set(table[table.epoch == 8].layer) == {"hidden1", "hidden2", "hidden3", "class means"}
    one = ["epoch", "layer", "probe", "blur"]
    assert not table.duplicated(one).any()
    last = table[(table.epoch == 8) & table.last_layer & (table.blur == 0)].iloc[0]
    assert last.variance_ratio_train < table.variance_ratio_train[0]
    assert (last.source_classes, last.fine_classes) == (2, 10)
