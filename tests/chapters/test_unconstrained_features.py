"""Unconstrained features: the tasks that networks get, what is read of their classifiers, and the quantities of the claims."""

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.chapters.unconstrained_features import experiment as chapter
from ncbook.chapters.unconstrained_features import quantities as q
from ncbook.data.datasets import load
from ncbook.errors import InputError

FEW = torch.tensor([1, 3, 5, 7, 9])
PLAIN = {"labels": "true", "ratio": 1.0, "unequal": False, "seed": 0}


@pytest.fixture(scope="module")
def digits():
    return load("digits", train_size=200, seed=0)


def counts(data) -> list[int]:
    return torch.bincount(data.train.labels, minlength=10).tolist()


def test_a_plain_task_is_the_data_itself(digits):
    task = chapter.task(digits, FEW, **PLAIN)
    assert torch.equal(task.train.images, digits.train.images) and torch.equal(task.train.labels, digits.train.labels)


def test_unequal_classes_lose_images_and_equal_ones_lose_as_many(digits):
    unequal = chapter.task(digits, FEW, **PLAIN | {"ratio": 10.0, "unequal": True})
    equal = chapter.task(digits, FEW, **PLAIN | {"ratio": 10.0})
    assert counts(unequal) == [20, 2] * 5 and counts(equal) == [11] * 10
    assert len(unequal.train) == len(equal.train) == 110
    at = {int(i): (image, int(y)) for i, image, y in zip(digits.train.index, digits.train.images, digits.train.labels, strict=True)}
    for i, image, y in zip(unequal.train.index, unequal.train.images, unequal.train.labels, strict=True):
        assert torch.equal(at[int(i)][0], image) and at[int(i)][1] == int(y)


def test_no_class_is_left_with_one_image(digits):
    assert min(counts(chapter.task(digits, FEW, **PLAIN | {"ratio": 1000.0, "unequal": True}))) == 2


def test_renamed_classes_are_the_same_groups_and_shuffled_ones_are_not(digits):
    pairs = {}
    for name in ("renamed", "shuffled"):
        task = chapter.task(digits, FEW, **PLAIN | {"labels": name})
        assert counts(task) == counts(digits) and torch.equal(task.train.images, digits.train.images)
        pairs[name] = len(set(zip(digits.train.labels.tolist(), task.train.labels.tolist(), strict=True)))
    assert pairs["renamed"] == 10 and pairs["shuffled"] > 60
    with pytest.raises(InputError, match="unknown labels 'random'"):
        chapter.task(digits, FEW, **PLAIN | {"labels": "random"})


def test_minority_reads_rows_by_class():
    weight = torch.zeros(6, 4)
    weight[[0, 2, 4]] = torch.tensor([3.0, 0, 0, 0])  # one direction
    weight[[1, 3, 5], [1, 2, 3]] = 6.0  # orthogonal
    assert chapter.minority(weight, torch.tensor([0, 2, 4])) == pytest.approx(
        {"minority_cosine": 1.0, "majority_cosine": 0.0, "minority_norm": 0.5}
    )


def test_a_classifier_without_bias_has_none_and_the_seed_says_everything():
    settings = {"dataset": "digits", "model": "mlp", "train_size": 50, "loss": "squared", "epochs": 2, "measurements": 1}
    settings |= {"learning_rate": 0.1, "weight_decay": 0.002, "batch_size": 25, "activation": "tanh", "labels": "true", "ratio": 1.0}
    runs = [chapter.network(**settings, bias=bias, unequal=False, seed=3) for bias in (True, False, False)]
    assert runs[1].equals(runs[2]) and not runs[0].equals(runs[1])


SETTINGS = {"dataset": "digits", "model": "mlp", "train_size": 50, "loss": "squared", "epochs": 2, "measurements": 1}
SETTINGS |= {"learning_rate": 0.1, "weight_decay": 0.002, "batch_size": 25, "activation": "relu", "bias": True, **PLAIN}


def test_a_fixed_classifier_stays_and_another_does_not():
    """The distances from both frames, and the size of the classifier, are those of the first weights."""
    frames = ["to_orthogonal", "to_simplex", "minority_norm"]
    fixed, free = (chapter.network(**SETTINGS, fixed=fixed).set_index("epoch")[frames] for fixed in (True, False))
    assert fixed.loc[0].equals(free.loc[0]) and fixed.loc[2].equals(fixed.loc[0]) and not free.loc[2].equals(free.loc[0])


def test_a_decay_of_features_changes_training_and_not_the_start():
    plain, decayed = (chapter.network(**SETTINGS, feature_decay=decay) for decay in (0.0, 0.1))
    assert plain.iloc[0].equals(decayed.iloc[0]) and not plain.iloc[-1].equals(decayed.iloc[-1])


def test_the_loss_is_split_with_the_decay_that_the_network_is_trained_with(monkeypatch):
    """A loss of 1/2N over ten classes is five times torch's, and so is the penalty beside it."""
    given = []
    monkeypatch.setattr(chapter, "central_path", lambda *args, penalty: given.append((len(args), penalty)) or {})
    for bias in (True, False):
        chapter.network(**SETTINGS | {"bias": bias, "epochs": 1})
    assert given == [(4, 0.01)] * 2 + [(3, 0.01)] * 2


# --- quantities -----------------------------------------------------------------------------------------------------------------------


def frames(**columns) -> pd.DataFrame:
    row = {"loss": "squared", "bias": True, "epoch": 9, "train_error": 0.0, "to_orthogonal": 0.1, "to_simplex": 0.02}
    return pd.DataFrame([row | {"epoch": 0, "to_simplex": 0.5}, row | columns])


def test_distance_from_its_frame():
    assert q.off_its_frame(frames()) == pytest.approx(0.2)
    assert q.off_its_frame(frames(bias=False).assign(bias=False)) == pytest.approx(5.0)
    assert np.isnan(q.off_its_frame(frames(train_error=0.02)))
    assert q.orthogonal_in_cross_entropy(frames().assign(loss="cross_entropy", bias=False)) == pytest.approx(5.0)
    relu = pd.concat([frames(to_orthogonal=0.01).assign(bias=False, activation="relu"), frames().assign(bias=False, activation="tanh")])
    assert q.orthogonal_in_relu(relu) == pytest.approx(0.5) and np.isnan(q.orthogonal_in_cross_entropy(relu))


def path(**columns) -> pd.DataFrame:
    row = {"loss": "squared", "activation": "relu", "terminal_epoch": np.nan, "variance_ratio": 2.0, "squared_loss": 0.8, "off_path": 0.6}
    begins = row | {"epoch": 4, "terminal_epoch": 4.0, "squared_loss": 0.5, "off_path": 0.4}
    end = begins | {"epoch": 9, "variance_ratio": 0.01, "off_path": 0.01, "squared_loss": 0.1}
    return pd.DataFrame([row | {"epoch": 0}, begins, end | columns])


def test_fall_off_the_path_is_of_shares_and_from_the_terminal_phase_on():
    assert q.off_path_fall(path()) == pytest.approx(0.1 / 0.8)
    others = [path(off_path=0.1).assign(activation="tanh"), path(off_path=0.1).assign(loss="cross_entropy")]
    assert q.off_path_fall(pd.concat([path(), *others])) == pytest.approx(0.1 / 0.8)
    assert np.isnan(q.off_path_fall(path(variance_ratio=0.2)))
    assert np.isnan(q.off_path_fall(path().assign(terminal_epoch=np.nan)))
    assert np.isnan(q.off_path_fall(path().query("epoch < 9")))  # it begins at the last epoch


def shuffles(**v) -> pd.DataFrame:
    v = {"true": 0.01, "renamed": 0.01, "shuffled": 0.05} | v
    return pd.DataFrame([{"labels": k, "epoch": e, "train_error": 0.0, "variance_ratio": x + 9 - e} for k, x in v.items() for e in (0, 9)])


def test_labels_are_compared_at_the_end_and_where_they_are_fitted():
    assert q.shuffled_over_true(shuffles()) == pytest.approx(5) and q.renamed_over_true(shuffles()) == pytest.approx(1)
    assert np.isnan(q.shuffled_over_true(shuffles(true=0.2)))
    unfitted = shuffles()
    unfitted.loc[unfitted["labels"] == "shuffled", "train_error"] = 0.5
    assert np.isnan(q.shuffled_over_true(unfitted)) and q.renamed_over_true(unfitted) == pytest.approx(1)


def sizes(**cosines) -> pd.DataFrame:
    cosines = {"equal": -0.11, "few": -0.1, "unequal": 0.1, "unequal_more": 0.4} | cosines
    rows = []
    for decay in (0.001, 0.01):
        for ratio, unequal, cosine in ((1, False, "equal"), (25, False, "few"), (25, True, "unequal" if decay < 0.01 else "unequal_more")):
            row = {"weight_decay": decay, "ratio": ratio, "unequal": unequal, "epoch": 9, "majority_error": 0.0}
            rows.append(row | {"minority_cosine": cosines[cosine]})
    return pd.DataFrame(rows)


def test_minority_rows_by_ratio_and_by_decay():
    assert q.merging(sizes()) == pytest.approx(0.51)
    assert q.merging_with_fewer_images(sizes()) == pytest.approx(0.01)
    assert q.merging_by_decay(sizes()) == pytest.approx(0.3)
    assert q.merging_by_decay_with_equal_classes(sizes()) == pytest.approx(0)
    wrong = sizes()
    wrong.loc[wrong["unequal"], "majority_error"] = 0.05
    assert np.isnan(q.merging(wrong)) and q.merging_with_fewer_images(wrong) == pytest.approx(0.01)
