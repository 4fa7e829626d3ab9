"""The chapter on cascading collapse: its numbers on curves whose answer is plain, its readings of a layer, one tiny run of each network."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.chapters.cascading_collapse import quantities as q
from ncbook.chapters.cascading_collapse.experiment import PLACE, experiment, grid, readings
from ncbook.models.networks import build_model

EPOCHS = [0, 10, 40]


def profiles(train: list[list[float]], test=None, *, column="variance_ratio", terminal=10.0, start=1) -> pd.DataFrame:
    """One seed's rows: the values over depth (from `start`) at each of EPOCHS, for train and test, in no order."""
    rows = []
    for split, curves in (("train", train), ("test", train if test is None else test)):
        for epoch, values in zip(EPOCHS, curves, strict=True):
            known = terminal if epoch >= terminal else math.nan
            rows += [{"split": split, "epoch": epoch, "depth": start + i, column: v, "terminal_epoch": known} for i, v in enumerate(values)]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


FLAT, MIDDLE = [1.0] * 5, [1, 0.5, 0.2, 0.1, 0.1]


def test_terminal_falls():
    rows = profiles([FLAT, MIDDLE, [1, 0.1, 0.1, 0.01, 0.0001]])
    assert q.terminal_fall(rows).tolist() == pytest.approx([1, 0.2, 0.5, 0.1, 0.001])
    assert q.next_to_last_fall(rows) == pytest.approx(0.1)
    assert q.typical_earlier_fall(rows) == pytest.approx(0.35)  # the median of 1, 0.5, 0.2, 0.1
    assert q.typical_earlier_fall(profiles([FLAT, MIDDLE, [*MIDDLE[:4], 1e-9]])) == pytest.approx(1)  # the last layer does not count
    assert q.typical_earlier_fall(profiles([FLAT, MIDDLE, [*MIDDLE[:3], 1e-9, 1e-9]])) == pytest.approx(1)  # nor one next to it


@pytest.mark.parametrize("terminal", [math.nan, 40.0], ids=["never", "at the last epoch"])
def test_without_a_terminal_phase_there_is_no_fall(terminal):
    rows = profiles([FLAT, MIDDLE, MIDDLE], terminal=terminal)
    assert math.isnan(q.typical_earlier_fall(rows)) and math.isnan(q.next_to_last_fall(rows))
    assert math.isnan(terminal) == math.isnan(q.chance_of_straighter_at_onset(rows.assign(nc1=rows.variance_ratio)))


def test_the_input_is_no_layer_of_the_profile():
    rows = profiles([[9.0, *FLAT]] * 2 + [[1e-9, 5, 4, 3, 2, 1]], start=0)
    assert q.depth_order(rows) == -1
    assert q.terminal_fall(rows).index.tolist() == [1, 2, 3, 4, 5]


def test_depth_order():
    assert q.depth_order(profiles([FLAT, FLAT, [5, 4, 3, 2, 1]])) == -1
    assert q.depth_order(profiles([FLAT, FLAT, [1, 2, 3, 4, 5]])) == 1
    assert q.depth_order(profiles([FLAT, FLAT, FLAT])) == 0
    assert q.depth_order(profiles([FLAT, FLAT, [5, 4, 3, 1, 2]])) == pytest.approx(-0.8)  # one pair of ten out of order: the threshold


def test_slope_made_by_training():
    falls = [1, 0.1, 0.01, 1e-3, 1e-4]
    assert q.slope_made_by_training(profiles([FLAT, FLAT, falls])) == pytest.approx(-1)
    assert q.slope_made_by_training(profiles([falls, FLAT, falls])) == pytest.approx(0)  # the architecture's own
    assert q.slope_made_by_training(profiles([falls, FLAT, FLAT])) == pytest.approx(1)


def test_stall():
    falls, half = [1, 1, 1, 0.1, 0.01], [1, 1, 1, 10**-0.5, 0.1]
    assert q.stall(profiles([FLAT, FLAT, falls], [FLAT, FLAT, falls])) == pytest.approx(-1)  # test follows: minus half of two decades
    assert q.stall(profiles([FLAT, FLAT, falls], [FLAT, FLAT, half])) == pytest.approx(0)  # half the fall: the threshold
    assert q.stall(profiles([FLAT, FLAT, falls], [FLAT, FLAT, FLAT])) == pytest.approx(1)
    assert q.stall(profiles([FLAT] * 3)) == 0
    even = [[1.0] * 8] * 2 + [[9, 9, 9, 1, 1, 1, 1, 0.01]]  # of eight layers the middle is the fourth
    assert q.stall(profiles(even, [[1.0] * 8] * 3)) == pytest.approx(1)
    rows = profiles([FLAT, FLAT, falls], [FLAT, FLAT, FLAT], column="weak_nearest_mean")
    assert q.stall_without_labels(rows) == pytest.approx(1)


def test_a_geometric_decay_is_straighter_than_any_random_curve_and_others_are_not():
    assert q.chance_of_straighter(profiles([[1.0] * 9] * 2 + [list(0.3 ** np.arange(9))], column="nc1")) == pytest.approx(0, abs=1e-4)
    kink = [1.0, 1, 1, 1, 1, 0.1, 1e-2, 1e-3, 1e-4]  # flat, then geometric
    assert q.chance_of_straighter(profiles([[1.0] * 9] * 2 + [kink], column="nc1")) > 0.5
    onset = profiles([[1.0] * 9, list(0.3 ** np.arange(9)), kink], column="nc1")
    assert q.chance_of_straighter_at_onset(onset) == pytest.approx(0, abs=1e-4) and q.chance_of_straighter(onset) > 0.5
    rises = list(3.0 ** np.arange(9))
    assert q.chance_of_straighter(profiles([[1.0] * 9] * 2 + [rises], column="nc1")) == 1


def test_false_alarms_of_the_law_are_nominal():
    """Curves that merely fall pass for geometric as often as the threshold says, whatever their number of layers; noise hardly ever."""
    random = np.random.default_rng(5)
    for n in (6, 9):
        falling = [chance(-np.r_[0, random.exponential(size=n - 1).cumsum()]) for _ in range(150)]
        assert np.mean(falling) == pytest.approx(0.5, abs=0.09)
        assert np.mean(np.array(falling) < 0.05) < 0.1
        noise = [chance(random.normal(size=n)) for _ in range(150)]
        assert np.mean(np.array(noise) < 0.05) < 0.02


def chance(log_nc1) -> float:
    rows = pd.DataFrame({"depth": range(len(log_nc1)), "nc1": 10.0**log_nc1, "split": "train", "epoch": 1})
    return q.chance_of_straighter(rows)


def test_line_against_numpy_and_two_pieces():
    x, y = np.arange(1, 8), np.array([0.1, -0.4, -0.8, -1.7, -2.0, -2.2, -3.1])
    fit = q.line(pd.Series(10**y, index=x))
    slope, intercept = np.polyfit(x, y, 1)
    assert (fit.slope, fit.intercept, fit.rate) == pytest.approx((slope, intercept, 10**slope))
    assert fit.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert fit.worst == pytest.approx(np.abs(y - slope * x - intercept).max() / abs(6 * slope))
    assert fit.r_squared_kink > fit.r_squared
    hockey = q.line(pd.Series(10.0 ** -np.maximum(0, np.arange(8) - 3)))
    assert hockey.r_squared < 0.95 and hockey.r_squared_kink == pytest.approx(1)


def test_every_reading_of_every_layer():
    network = build_model("cnn_deep", (1, 8, 8), 10, generator=torch.Generator().manual_seed(0)).eval()
    x = torch.randn(4, 1, 8, 8)
    found = readings(network, x)
    assert len(found) == 2 + 6 * 4
    assert torch.equal(found[0, "input", "pre", "flattened"], x.flatten(1))
    by_hand = network.blocks["conv2"](network.blocks["conv1"](x))
    before = network.blocks["conv2"][:2](network.blocks["conv1"](x))  # without the activation, and the pooling after it
    assert torch.equal(found[2, "conv2", "post", "flattened"], by_hand.flatten(1))
    assert torch.equal(found[2, "conv2", "post", "pooled"], by_hand.mean((2, 3)))
    assert torch.equal(found[2, "conv2", "pre", "flattened"], before.flatten(1))
    assert len(readings(build_model("mlp_deep", (1, 8, 8), 10, generator=torch.Generator().manual_seed(0)).eval(), x)) == 2 + 8 * 2


@pytest.mark.parametrize("name", ["resnet_small", "resnet18"])
def test_before_the_activation_of_a_residual_block_is_the_sum_with_the_skip_path(name):
    network = build_model(name, (1, 8, 8), 10, generator=torch.Generator().manual_seed(0)).eval()
    x = torch.randn(3, 1, 8, 8)
    found = network.activations(x)
    assert len(found) == 2 * len(network.layers)
    for tap in network.layers:  # a relu in place would have changed what was kept
        assert torch.equal(found[tap, "pre"].relu(), found[tap, "post"]) and bool((found[tap, "pre"] < 0).any())
    block, inputs = network.blocks["layer1-1"], found["layer1-0", "post"]
    branch = block.bn2(block.conv2(block.bn1(block.conv1(inputs)).relu()))
    torch.testing.assert_close(found["layer1-1", "pre"], branch + inputs)
    assert not any(module._forward_pre_hooks for module in network.modules())


SMALL = {"train_size": 40, "test_size": 40, "epochs": 2, "measurements": 1, "batch_size": 20, "measure_batch": 16}
SMALL |= {"loss": "cross_entropy", "learning_rate": 0.05, "weight_decay": 1e-3}
SMALL |= {"schedule": "cosine", "augment": None, "precision": "float32"}


@pytest.mark.parametrize(("model", "taps"), [("mlp_deep", 8 * 2), ("cnn_deep", 6 * 4), ("resnet_small", 7 * 4)])
def test_one_tiny_run(model, taps):
    table = experiment(**grid(dataset="digits", model=model, seeds=1, **SMALL)[0])
    epochs = sorted(table.epoch.unique())
    assert epochs[0] == 0 and epochs[-1] == 2 and len(table) == len(epochs) * 2 * (taps + 2)
    assert not table.duplicated([*PLACE, "epoch", "split"]).any()
    assert np.isfinite(table.drop(columns=[*PLACE, "split", "terminal_epoch"]).to_numpy()).all()
    inputs = table[(table.depth == 0) & (table.split == "train")]
    assert inputs.variance_ratio.nunique() == 1  # the input does not learn


def test_the_batches_of_the_measurement_change_no_number():
    runs = [experiment(**grid(dataset="digits", model="mlp_deep", seeds=1, **{**SMALL, "measure_batch": size})[0]) for size in (7, 40)]
    pd.testing.assert_frame_equal(*runs, rtol=1e-5)


def test_grid():
    runs = grid(dataset=["digits", "mnist5k"], model="mlp_deep", seeds=3, **SMALL)
    assert [(r["dataset"], r["seed"]) for r in runs] == [(d, s) for d in ("digits", "mnist5k") for s in range(3)]
