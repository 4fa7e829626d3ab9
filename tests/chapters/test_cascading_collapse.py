"""The chapter on cascading collapse: its numbers on curves whose answer is plain, its readings of a layer, one tiny run of each network."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.chapters.cascading_collapse import quantities as q
from ncbook.chapters.cascading_collapse.experiment import (
    PLACE,
    PUBLISHED,
    RUNNING,
    experiment,
    gaussian_grid,
    grid,
    held_grid,
    law,
    law_grid,
    readings,
    shuffled_grid,
)
from ncbook.data.datasets import load
from ncbook.metrics.collapse import nc1
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator

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


def test_decades_and_shares():
    rows = profiles([FLAT, MIDDLE, [1, 0.1, 0.1, 0.01, 0.0001]])
    assert q.terminal_decades(rows).tolist() == pytest.approx([0, math.log10(5), math.log10(2), 1, 3])
    assert q.last_decades(rows) == pytest.approx(3) and q.most_earlier_decades(rows) == pytest.approx(1)
    assert q.next_to_last_share(rows) == pytest.approx(1 / 3)
    assert q.typical_earlier_share(rows) == pytest.approx((math.log10(5) + math.log10(2)) / 2 / 3)  # the median of four layers
    alone = profiles([FLAT, MIDDLE, [*MIDDLE[:4], 1e-9]])
    assert q.typical_earlier_share(alone) == q.next_to_last_share(alone) == 0  # the last layer does not count
    assert q.typical_earlier_share(profiles([FLAT, MIDDLE, [*MIDDLE[:3], 1e-9, 1e-9]])) == 0  # nor one next to it


def test_under_the_law_of_separation_a_layer_has_its_place_over_the_number_of_layers():
    curves = [list(rate ** np.arange(1.0, 6)) for rate in (0.9, 0.6, 0.2)]
    assert q.shares(profiles(curves)).tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert q.slope_ratio(profiles(curves, column="nc1")) == pytest.approx(1)


def test_shares_ask_for_a_decade_of_the_last_layer():
    rows = profiles([FLAT, FLAT, [1, 1, 1, 0.5, 0.11]])
    assert math.isnan(q.next_to_last_share(rows)) and math.isnan(q.typical_earlier_share(rows))
    assert q.typical_earlier_share_from_half(rows) == 0  # half a decade is there
    assert math.isnan(q.typical_earlier_share_from_half(profiles([FLAT, FLAT, [1, 1, 1, 0.5, 0.4]])))
    assert q.next_to_last_share(profiles([FLAT, FLAT, [1, 1, 1, 0.5, 0.09]])) == pytest.approx(0.288, abs=1e-3)


@pytest.mark.parametrize("terminal", [math.nan, 40.0], ids=["never", "at the last epoch"])
def test_without_a_terminal_phase_nothing_is_said_of_it(terminal):
    rows = profiles([FLAT, MIDDLE, [1, 0.1, 0.1, 0.01, 0.0001]], terminal=terminal).assign(nc1=lambda r: r.variance_ratio)
    of_the_phase = (q.typical_earlier_share, q.next_to_last_share, q.last_decades, q.most_earlier_decades, q.slope_ratio_at_onset)
    assert all(math.isnan(quantity(rows)) for quantity in of_the_phase)
    assert not math.isnan(q.slope_ratio(rows))


def test_the_input_is_no_layer_of_the_profile():
    rows = profiles([[9.0, *FLAT]] * 2 + [[1e-9, 5, 4, 3, 2, 1]], start=0)
    assert q.depth_order(rows) == -1
    assert q.terminal_decades(rows).index.tolist() == [1, 2, 3, 4, 5]


def test_depth_order():
    assert q.depth_order(profiles([FLAT, FLAT, [5, 4, 3, 2, 1]])) == -1
    assert q.depth_order(profiles([FLAT, FLAT, [1, 2, 3, 4, 5]])) == 1
    assert q.depth_order(profiles([FLAT, FLAT, FLAT])) == 0
    assert q.depth_order(profiles([FLAT, FLAT, [5, 4, 3, 1, 2]])) == pytest.approx(-0.8)  # one pair of ten out of order: the threshold
    assert q.depth_order_untrained(profiles([[1, 2, 3, 4, 5], FLAT, [5, 4, 3, 2, 1]])) == 1


def test_slope_made_by_training():
    falls = [1, 0.1, 0.01, 1e-3, 1e-4]
    assert q.slope_made_by_training(profiles([FLAT, FLAT, falls])) == pytest.approx(-1)
    assert q.slope_made_by_training(profiles([falls, FLAT, falls])) == pytest.approx(0)  # the architecture's own
    assert q.slope_made_by_training(profiles([falls, FLAT, FLAT])) == pytest.approx(1)


def test_share_on_test():
    falls, half = [1, 1, 1, 0.1, 0.01], [1, 1, 1, 10**-0.5, 0.1]
    assert q.share_on_test(profiles([FLAT, FLAT, falls], [FLAT, FLAT, falls])) == pytest.approx(1)
    assert q.share_on_test(profiles([FLAT, FLAT, falls], [FLAT, FLAT, half])) == pytest.approx(0.5)  # the threshold
    assert q.share_on_test(profiles([FLAT, FLAT, falls], [FLAT] * 3)) == 0
    assert math.isnan(q.share_on_test(profiles([FLAT, FLAT, [1, 1, 1, 0.5, 0.11]], [FLAT] * 3)))  # less than a decade on train
    even = [[1.0] * 8] * 2 + [[9, 9, 9, 1, 1, 1, 1, 0.01]]  # of eight layers the middle is the fourth
    assert q.share_on_test(profiles(even, [[1.0] * 8] * 2 + [[9, 9, 9, 1, 1, 1, 1, 0.1]])) == pytest.approx(0.5)
    rows = profiles([FLAT, FLAT, falls], [FLAT, FLAT, half], column="weak_nearest_mean")
    assert q.share_on_test_without_labels(rows) == pytest.approx(0.5)


def of_curve(logs, quantity=q.slope_ratio) -> float:
    """A quantity of the law on one curve of decades over depth, at the last epoch, before training and at the onset alike."""
    return quantity(profiles([list(10.0 ** np.array(logs))] * 3, column="nc1", start=0))


def test_slope_ratio():
    assert of_curve([0, -1, -2, -3, -4, -5, -6, -7, -8]) == pytest.approx(1)
    assert of_curve([0, -1, -2, -3, -4, -6, -8, -10, -12]) == pytest.approx(2)
    assert of_curve([0, -1, -2, -3, -4, -6, -8, -10, -12], q.bend_untrained) == pytest.approx(2)
    assert of_curve([0, -2, -4, -6, -8, -9, -10, -11, -12]) == pytest.approx(0.5)
    assert of_curve([0, -2, -4, -6, -8, -9, -10, -11, -12], q.bend_untrained) == pytest.approx(2)
    assert of_curve([0, 0, 0, 0, 0, -1, -2, -3, -4]) == q.STEEPEST  # a first piece that is flat
    assert of_curve([0, -1, -2, -3, -4, -4, -4, -4, -4]) == pytest.approx(1 / q.STEEPEST)
    assert of_curve([0, 1, 2, 3, 4, 5, 6, 7, 8], q.bend_untrained) == q.STEEPEST  # it does not fall at all
    assert math.isnan(of_curve([0, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8]))  # less than a decade
    onset = profiles([[1.0] * 7, list(0.3 ** np.arange(7)), [1, 1, 1, 1, 0.1, 0.01, 1e-3]], column="nc1")
    assert q.slope_ratio_at_onset(onset) == pytest.approx(1) and q.slope_ratio(onset) == q.STEEPEST


def test_line_and_bend_against_numpy():
    x, y = np.arange(1, 8), np.array([0.1, -0.4, -0.8, -1.7, -2.0, -2.2, -3.1])
    fit = q.line(pd.Series(10**y, index=x))
    slope, start = np.polyfit(x, y, 1)
    assert (fit.slope, fit.start, fit.rate) == pytest.approx((slope, start, 10**slope))
    found = q.bend(pd.Series(10**y, index=x))
    pieces = found.start + found["first"] * np.minimum(x, found.joint) + found.second * np.maximum(x - found.joint, 0)
    rss = {}
    for joint in (3, 4, 5):
        columns = np.stack([np.ones(7), np.minimum(x, joint), np.maximum(x - joint, 0)], 1)
        rss[joint] = ((y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]) ** 2).sum()
    assert ((y - pieces) ** 2).sum() == pytest.approx(rss[found.joint]) == pytest.approx(min(rss.values()))


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
    declared = readings(network, x, every=False)
    assert len(declared) == 1 + 6 and all(torch.equal(h, found[place]) for place, h in declared.items())
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


@pytest.mark.parametrize(("model", "taps", "layers"), [("mlp_deep", 8 * 2, 8), ("cnn_deep", 6 * 4, 6), ("resnet_small", 7 * 4, 7)])
def test_one_tiny_run(model, taps, layers):
    table = experiment(**grid(dataset="digits", model=model, seeds=1, **SMALL)[0])
    epochs = sorted(table.epoch.unique())
    assert epochs == [0, 1, 2]
    ends = 2 * (taps + 2)  # both splits; the input is read in two ways
    assert table.groupby("epoch").size().tolist() == [ends, 2 * (layers + 1), ends]  # between the ends in the declared way only
    assert not table.duplicated([*PLACE, "epoch", "split"]).any()
    assert np.isfinite(table.drop(columns=[*PLACE, "split", "terminal_epoch"]).to_numpy()).all()
    inputs = table[(table.depth == 0) & (table.split == "train")]
    assert inputs.variance_ratio.nunique() == 1  # the input does not learn


def test_what_is_held_is_no_longer_trained():
    """From the terminal phase on V of the layers before the last moves by batch norm's averages at most, that of the last goes on."""
    given = {**SMALL, "train_size": 20, "epochs": 60, "batch_size": 10, "learning_rate": 0.03, "weight_decay": 0.02}
    runs = {}
    for hold in (False, True):
        table = experiment(**held_grid(dataset="digits", model="mlp_deep", seeds=1, **given)[0] | {"hold": hold})
        assert q.last_decades(table) > 0
        runs[hold] = q.terminal_decades(table).iloc[:-1].abs().mean()
    assert runs[True] < runs[False] / 2


def test_the_batches_of_the_measurement_change_no_number():
    runs = [experiment(**grid(dataset="digits", model="mlp_deep", seeds=1, **{**SMALL, "measure_batch": size})[0]) for size in (7, 40)]
    pd.testing.assert_frame_equal(*runs, rtol=1e-5)


def test_grids():
    given = {
        **SMALL,
        "dataset": ["digits", "mnist5k"],
        "model": ["mlp_deep", "cnn_deep"],
        "seeds": 3,
        "first_seed": 7,
        "shuffled_epochs": 5,
        "gaussian_epochs": 4,
    }
    runs = grid(**given)
    assert [(r["dataset"], r["model"], r["seed"]) for r in runs[::3]] == [(d, m, 7) for d in given["dataset"] for m in given["model"]]
    assert held_grid(**given) == [run | {"hold": True, "measurements": 1, "read_otherwise": False} for run in runs]
    shuffled = shuffled_grid(**given)
    assert [(r["dataset"], r["seed"]) for r in shuffled] == [(d, s) for d in given["dataset"] for s in (7, 8, 9)]
    assert {(r["model"], r["epochs"], r["label_noise"]) for r in shuffled} == {("mlp_deep", 5, 0.9)}
    assert {(r["dataset"], r["epochs"], r["weight_decay"]) for r in gaussian_grid(**given)} == {("gaussian:separation=20", 4, 2e-3)}


def in_batches(network, images, size: int, layers: int) -> torch.Tensor:
    """What the `layers`-th layer makes of images when batch norm takes the mean and the deviation of each batch, step by step."""
    batches = []
    for h in images.split(size):
        h = h.flatten(1)
        for block in list(network.blocks.values())[:layers]:
            linear, norm = (next(m for m in block.modules() if isinstance(m, kind)) for kind in (torch.nn.Linear, torch.nn.BatchNorm1d))
            h = linear(h)
            h = ((h - h.mean(0)) / (h.var(0, correction=0) + norm.eps).sqrt() * norm.weight + norm.bias).relu()
        batches.append(h)
    return torch.cat(batches)


def test_the_law_is_measured_with_the_averages_of_a_batch_and_with_running_ones():
    given = {**PUBLISHED, "dataset": "digits", "epochs": 1, "measurements": 1, "side": 10, "seed": 3}
    table = law(**given, images=[50, 1000])
    assert set(table.statistics) == {"50 images", "1000 images", RUNNING} and sorted(table.depth.unique()) == list(range(8))
    assert table[table.depth == 0].groupby("statistics").nc1.nunique().tolist() == [1, 1, 1]  # the input learns nothing
    train = load("digits", train_size=1000, test_size=100, seed=3).train
    network = build_model("mlp_deep", (1, 8, 8), 10, generator=child_generator(3, "weights"), depth=7)
    with torch.no_grad():
        for size, depth in ((50, 1), (50, 7), (1000, 4)):
            features = in_batches(network, train.normalise(train.images), size, depth)
            found = table[(table.epoch == 0) & (table.depth == depth) & (table.statistics == f"{size} images")]
            assert found.nc1.item() == pytest.approx(float(nc1(features, train.labels)), rel=1e-4)
    pd.testing.assert_frame_equal(  # looking in training mode changes nothing of the network
        law(**given, images=[]), table[table.statistics == RUNNING].reset_index(drop=True)
    )


def test_larger_images_are_shrunk_and_smaller_ones_left():
    given = {**PUBLISHED, "epochs": 1, "measurements": 1, "images": [], "seed": 3}
    widths = {}
    for name, side in (("mnist5k", 10), ("mnist5k", 28), ("digits", 10)):
        seen = []
        hook = torch.nn.modules.module.register_module_forward_pre_hook(lambda m, x, seen=seen: seen.append(x[0]))
        try:
            law(**given, dataset=name, side=side)
        finally:
            hook.remove()
        widths[name, side] = next(x.flatten(1).shape[1] for x in seen)
    assert widths == {("mnist5k", 10): 100, ("mnist5k", 28): 784, ("digits", 10): 64}


def test_the_law_in_its_authors_setting_has_seeds_of_its_own():
    runs = law_grid(
        law_dataset=["digits", "mnist5k"],
        law_epochs=5,
        law_side=10,
        law_images=[100],
        law_seeds=2,
        first_seed=7,
        seeds=9,
        learning_rate=1.0,
    )
    assert [(run["dataset"], run["seed"]) for run in runs] == [("digits", 7), ("digits", 8), ("mnist5k", 7), ("mnist5k", 8)]
    assert {(run["learning_rate"], run["layers"], run["train_size"], run["batch_size"]) for run in runs} == {(0.01, 7, 1000, 128)}


def test_labels_that_say_nothing_are_as_often_each_class():
    """Of ten classes nine tenths of each class's labels are changed: what is left of a label is one chance in ten."""
    run = shuffled_grid(**SMALL, dataset="digits", seeds=1, shuffled_epochs=5)[0]
    train = load("digits", train_size=1000, label_noise=run["label_noise"]).train
    assert (train.labels == train.clean_labels).float().mean() == pytest.approx(0.1)
