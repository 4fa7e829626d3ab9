"""The chapter on frames: its quantities on rows whose answer is plain, and its experiments at a tiny size."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook import chapters
from ncbook.chapters.symmetric_generalization import experiment as chapter
from ncbook.chapters.symmetric_generalization import quantities as q
from ncbook.claims.components import component, variance
from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.publish.parameters import parameters
from ncbook.runs.plan import plan
from ncbook.seeds import child_generator
from ncbook.theory import largest_cosine, simplex, spherical_code
from ncbook.training.together import outputs, train_together

# --- the quantities -------------------------------------------------------------------------------------------------------------------


def cells(y: np.ndarray, v=None, train_error=0.0) -> pd.DataFrame:
    """One layout's rows, of accuracies y (F, S) in percent."""
    frames, seeds = np.indices(y.shape).reshape(2, -1)
    v = np.random.default_rng(1).uniform(0.045, 0.055, y.shape) if v is None else v
    table = pd.DataFrame({"frame": frames, "seed": seeds, "test_error": (1 - y / 100).ravel(), "train_variance_ratio": v.ravel()})
    return table.assign(train_error=train_error).sample(frac=1, random_state=0)  # the order of rows says nothing


def noise(count: int, frame: float, *, seed=0, frames=20, seeds=2) -> np.ndarray:
    """Accuracies (count, F, S) of layouts: `frame` is the standard deviation over frames, in points, beside 1 of noise."""
    random = np.random.default_rng(seed)
    y = 80 + random.standard_normal((count, frames, 1)) * frame + 3 * random.standard_normal((count, 1, seeds))
    return y + random.standard_normal((count, frames, seeds))


def test_frame_variance_is_of_accuracy_in_points():
    y = noise(1, 3.0)[0]
    assert q.frame_variance(cells(y)) == pytest.approx(variance(y), rel=0.1)  # V explains next to nothing
    assert q.frame_variance(cells(y + 7)) == pytest.approx(q.frame_variance(cells(y)))


def test_what_collapse_explains_is_taken_out():
    y, v = noise(1, 0.0)[0], 10 ** np.linspace(-1.2, -1, 20)[:, None].repeat(2, 1)
    driven = 80 + 15 * np.log10(v) + 0.01 * y
    assert variance(driven) > 0.5
    assert abs(q.frame_variance(cells(driven, v))) < 0.01


def test_taking_collapse_out_finds_nothing_in_noise():
    random = np.random.default_rng(5)
    found = [q.frame_variance(cells(one, 0.05 * random.lognormal(0, 0.1, one.shape))) for one in noise(300, 0.0)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(300)


def test_frames_that_are_not_equally_collapsed_are_not_compared():
    y = noise(1, 3.0)[0]
    apart = np.where(np.arange(20)[:, None] == 4, 2.01, 1.0) * np.full(y.shape, 0.05)
    assert math.isnan(q.frame_variance(cells(y, apart)))
    assert math.isfinite(q.frame_variance(cells(y, np.minimum(apart, 0.0999))))
    assert math.isnan(q.frame_variance(cells(y, np.zeros(y.shape))))
    assert math.isnan(q.frame_variance(cells(y, train_error=np.arange(40) == 7)))
    assert q.spread_of_collapse(cells(y, apart)) == pytest.approx(2.01)


def test_share_of_networks_that_keep_an_error():
    assert q.unfitted(cells(noise(1, 0.0)[0], train_error=np.arange(40) < 10)) == 0.25


def test_gaps_of_free_features():
    at = pd.DataFrame({"scale": [100.0, 10.0], "largest_cosine": [0.41, 0.45], "best_cosine": 0.4})
    assert q.angle_gap(at) == pytest.approx(0.01)
    assert q.finite_scale_gap(at) == pytest.approx(0.05)
    assert math.isnan(q.finite_scale_gap(at[at.scale > 50]))


def test_share_of_the_way_that_is_left():
    at = {"epoch": [0, 0, 9, 9], "largest_cosine": [1.0, 0.9, 0.3, 0.5], "best_cosine": 0.1, "random_cosine": 0.9}
    rows = pd.DataFrame({**at, "train_error": [0.9, 0.9, 0.0, 0.0]})
    assert q.gap_left(rows) == pytest.approx((0.25 + 0.5) / 2)
    assert q.gap_before(rows) == pytest.approx((1.125 + 1) / 2)
    assert math.isnan(q.gap_left(rows.assign(train_error=[0.9, 0.9, 0.0, 0.01])))


def compared(**errors) -> pd.DataFrame:
    """Networks below codes on one training set: mean test errors of an arm, as ``best_9``, two networks 0.01 apart each."""
    rows = []
    for name, error in errors.items():
        code, dimension = name.split("_")
        for network in range(2):
            rows.append({"code": code, "dimension": int(dimension), "network": network, "test_error": error + 0.01 * network - 0.005})
    return pd.DataFrame(rows).assign(train_size=200, train_error=0.0)


def test_differences_between_codes():
    rows = compared(best_2=0.35, best_5=0.22, best_9=0.19, random_5=0.25)
    assert q.code_gain(rows) == pytest.approx(3)  # with best_5, not with the others
    assert q.dimension_loss(rows) == pytest.approx(3)
    assert q.low_dimension_loss(rows) == pytest.approx(16)
    assert q.same_code_gain(rows) == pytest.approx(1)  # the first network of each dimension less the second
    larger = compared(best_5=0.10, best_9=0.05).assign(train_size=1000)
    both = pd.concat([rows, larger])
    for quantity in (q.code_gain, q.low_dimension_loss, q.same_code_gain):  # with the fewest images
        assert quantity(both) == pytest.approx(quantity(rows))
    assert q.dimension_loss(larger) == pytest.approx(5)


def test_codes_whose_networks_keep_an_error_are_not_compared():
    rows = compared(best_2=0.35, best_5=0.22, best_9=0.19, random_5=0.25)
    wrong = rows.assign(train_error=np.where((rows.dimension == 5) & (rows.code == "best") & (rows.network == 1), 0.01, 0.0))
    assert math.isnan(q.code_gain(wrong)) and math.isnan(q.dimension_loss(wrong))
    assert q.low_dimension_loss(wrong) == pytest.approx(16)
    assert math.isnan(q.code_gain(rows[rows.code == "best"])) and math.isnan(q.dimension_loss(rows[rows.dimension == 9]))


# --- the experiments ------------------------------------------------------------------------------------------------------------------

TRAINING = {"dataset": "digits", "body": "mlp:16", "train_size": 100, "batch_size": 50, "learning_rate": 0.1, "weight_decay": 1e-3}
TINY = {**TRAINING, "features": "linear", "epochs": 3, "frames": 3, "seeds": 2}


def test_a_layout_has_a_row_a_cell_and_is_the_same_each_time():
    found = chapter.layout(**TINY, change="permutation", dimension=5, layout=0)
    assert found[["frame", "seed"]].drop_duplicates().shape[0] == len(found) == 6
    assert found.groupby("frame").assignment.nunique().eq(1).all()
    assert found.drop_duplicates("frame").assignment.nunique() == 3
    assert found.test_error.between(0, 1).all()
    assert found.equals(chapter.layout(**TINY, change="permutation", dimension=5, layout=0))
    assert not found.equals(chapter.layout(**TINY, change="permutation", dimension=5, layout=1))


@pytest.mark.parametrize(("change", "dimension"), [("permutation", 5), ("permutation", 9), ("rotation", 12)])
def test_a_changed_frame_is_the_same_code(change, dimension):
    draw = np.random.default_rng(0)
    frames, names = chapter.changed(change, dimension, 10, 4, draw)
    assert len(np.unique(np.round(frames, 9), axis=0)) == 4 and len(set(names)) == (4 if change == "permutation" else 1)
    code = spherical_code(dimension, 10)
    for frame, name in zip(frames, names, strict=True):
        gram = frame @ frame.T
        assert np.allclose(np.sort(gram.ravel()), np.sort((code @ code.T).ravel()))
        if change == "permutation":
            assert np.array_equal(frame, code[[int(k) for k in name.split()]])
        else:
            assert np.allclose(gram, code @ code.T) and name == ""
        assert np.allclose(gram, code @ code.T) == (dimension >= 9)  # below that another permutation has other neighbours


def test_what_cannot_be_compared_says_why():
    with pytest.raises(InputError, match="unknown change 'reflection'"):
        chapter.changed("reflection", 5, 10, 2, np.random.default_rng(0))
    with pytest.raises(InputError, match="unknown kind 'worst'"):
        chapter.unit_vectors("worst", 5, 10, np.random.default_rng(0))


def test_codes_as_a_table():
    found = chapter.codes(**TRAINING, epochs=3, codes=[["best", 3], ["best", 9], ["random", 3]], networks=2, seed=0)
    assert found.code.tolist() == ["best"] * 4 + ["random"] * 2 and found.network.tolist() == [0, 1] * 3
    best = found[found.code == "best"]
    assert best.largest_cosine.tolist() == pytest.approx([largest_cosine(spherical_code(3, 10))] * 2 + [-1 / 9] * 2)
    assert (found[found.code == "random"].largest_cosine > best.largest_cosine.max()).all()
    assert found.equals(chapter.codes(**TRAINING, epochs=3, codes=[["best", 3], ["best", 9], ["random", 3]], networks=2, seed=0))


def test_trained_classifiers_as_a_table():
    found = chapter.trained(**TRAINING, epochs=4, measured_epochs=[2, 4], dimensions=[2, 3], networks=2, seed=0)
    assert found.groupby(["dimension", "network"]).epoch.apply(list).tolist() == [[0, 2, 4]] * 4
    assert (found.largest_cosine <= 1 + 1e-9).all() and (found.best_cosine < found.random_cosine).all()
    assert found[found.epoch == 4].train_error.mean() < found[found.epoch == 0].train_error.mean()


def test_a_network_in_few_dimensions_never_uses_more():
    """A stack fills up with zeros; what is trained must leave them as they are."""
    data = load("digits", train_size=50, seed=0)
    stack = chapter.narrow([spherical_code(2, 10), simplex(10)], "mlp:16", data.image_shape, generator=child_generator(0, "weights"))
    fixed = stack.classifiers
    del stack.classifiers
    stack.classifiers = torch.nn.Parameter(fixed)
    settings = {"epochs": 3, "learning_rate": 0.1, "weight_decay": 1e-3, "batch_size": 25}
    train_together(stack, [data.train], generators=[child_generator(0, "batches")], **settings)
    features, _ = outputs(stack, [data.train])
    assert not features[0, :, 2:].any() and not stack.classifiers[0, :, 2:].any()
    assert features[0, :, :2].any() and features[1, :, 2:].any()


def test_free_features_as_a_table():
    found = chapter.optimisation(dimension=3, classes=4, scales=[1.0, 100.0], seed=0)
    assert found.largest_cosine.tolist() == pytest.approx([-1 / 3, -1 / 3], abs=1e-6)
    assert found.one_vs_rest.iloc[-1] == pytest.approx(4 / 3, abs=1e-5)


def test_grids():
    for profile in chapters.profiles("symmetric_generalization"):
        given = parameters("symmetric_generalization", profile)
        for name, (experiment, grid) in chapter.TABLES.items():
            runs = grid(**given)
            assert len(plan(experiment, runs)) == len(runs), (profile, name)
            assert {run.get("seed", run.get("layout")) for run in runs} == set(
                range(given["first_seed"], given["first_seed"] + given["seeds"])
            )


@pytest.mark.slow
def test_trained_networks_that_cannot_differ_rarely_alarm():
    """20 trained layouts of rotated simplices below linear features: at 5% one alarm is expected, and 4 or more have a chance of 1.6%."""
    cheap = {**TINY, "frames": 6, "seeds": 4, "epochs": 15}
    alarms = 0
    for number in range(20):
        found = chapter.layout(**cheap, change="rotation", dimension=9, layout=2000 + number)
        alarms += component(q.accuracy(found)).p <= 0.05
    assert alarms <= 3
