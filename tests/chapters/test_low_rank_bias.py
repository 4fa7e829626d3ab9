"""The chapter on low rank: V and ranks against the metrics, quantities on tables made by hand, tiny runs."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.chapters.low_rank_bias import experiment as chapter
from ncbook.chapters.low_rank_bias import quantities as q
from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.rank import numerical_rank, singular_values
from ncbook.publish.parameters import parameters
from ncbook.seeds import child_generator
from ncbook.theory.deep_unconstrained import collapse_cost, squared_loss


def test_v_and_ranks_of_a_layer_are_those_of_the_metrics():
    h = torch.randn(3, 6, 4 * 5, generator=child_generator(0, "h"), dtype=torch.float64)
    h[2] = 0
    found = chapter.spread(h, 4)
    labels = torch.arange(4).repeat_interleave(5)
    for i in range(2):
        assert found["variance_ratio"][i] == pytest.approx(float(variance_ratio(h[i].T, labels)))
        means = h[i].reshape(6, 4, 5).mean(-1)
        assert found[q.RANK][i] == numerical_rank(singular_values(means), 0.03).item()
    assert found["variance_ratio"][2] == math.inf and found[q.RANK][2] == 0 and found["singular_values"][2] == "0"


# quantities


def start(number=0, ratio=0.9, rank=6, **given):
    """Rows of one start, at the first step and the last: the last hidden layer and the one before."""
    fixed = {"width": 30, "scale": 1.0, "relu": True, "weight_decay": 0.004, "classes": 10, "layers": 4, "start": number}
    fixed |= {"collapse_loss": 0.1, "fit": 0.002, "variance_ratio": 1e-6} | given
    rows = []
    for step, of, directions in ((0, 5.0, 10), (9, ratio, rank)):
        for last in (False, True):
            for side in ("before", "after"):
                now = fixed | {"step": step, "loss_now": of * 0.1, "last_hidden": last, "side": side}
                now[q.RANK] = directions if last and side == "before" else 10
                now["variance_ratio"] = fixed["variance_ratio"] if step and side == "before" else 7.0
                if not last and side == "before":
                    now["variance_ratio"] /= 100
                rows.append(now)
    return pd.DataFrame(rows)


def together(*parts):
    return pd.concat(parts).sample(frac=1, random_state=0)


WIDE, NARROW, HALF = {"width": 60}, {"width": 20}, {"width": 60, "scale": 0.5}


def test_quantities_of_descent():
    rows = together(
        start(0, 0.9, rank=6),
        start(1, 0.95, rank=8),
        start(2, 0.9901, rank=9),
        start(3, 1.2, rank=2),
        *(
            start(i, r, **arm)
            for arm, ratios in ((NARROW, (0.9, 1.005)), (WIDE, (0.995, 1.02)), (HALF, (0.8, 1.0)))
            for i, r in enumerate(ratios)
        ),
    )
    assert q.share_below(rows) == 0.5 and q.rank_share(rows) == pytest.approx(0.7)
    assert q.share_at_collapse_wide(rows) == 0.5 and q.share_at_collapse_narrow(rows) == 0.5
    assert math.isnan(q.rank_share(together(start(0, 1.0))))
    never = together(start(0, 1.0, **NARROW), start(0, 1.0, **WIDE))
    assert math.isnan(q.share_at_collapse_wide(never)) and q.share_at_collapse_narrow(never) == 1
    assert math.isnan(q.share_below(never))


def test_quantities_of_the_controls():
    linear = [start(i, r, relu=False) for i, r in enumerate((1.0, 0.9))]
    little = [start(i, 2.5, rank=10 - i, weight_decay=1e-5, fit=fit) for i, fit in enumerate((1e-4, 0.004))]
    rows = together(*linear, *little)
    assert q.share_below_without_relu(rows) == 0.5 and q.rank_share_without_decay(rows) == pytest.approx(0.95)
    assert math.isnan(q.share_below_without_relu(together(start(0, 0.9, relu=False), *little)))
    assert math.isnan(q.rank_share_without_decay(together(*linear, *little, start(2, 2.5, weight_decay=1e-5, fit=0.1))))


def test_variance_is_the_worst_layer_of_starts_that_end_low():
    main = [start(0, 0.9, 6, variance_ratio=1e-4), start(1, 0.9, 7, variance_ratio=1e-8), start(2, 1.0, 6), start(3, 0.9, 8)]
    little = [start(0, 2.0, 10, weight_decay=1e-5, variance_ratio=4.0), start(1, 2.0, 10, weight_decay=1e-5, variance_ratio=1.0)]
    rows = together(*main, *little)
    assert q.variance_at_end(rows) == pytest.approx(1e-6) and q.variance_without_decay(rows) == pytest.approx(2)
    assert math.isnan(q.variance_at_end(together(*main[2:], *little)))


def test_quantities_of_searches():
    def cell(classes, layers, *ratios, relu=True):
        return [start(i, r, classes=classes, layers=layers, relu=relu) for i, r in enumerate(ratios)]

    rows = together(*cell(3, 4, 0.97, 1.0), *cell(3, 4, 0.999, 3.0, relu=False), *cell(10, 4, 0.5))
    assert q.best_of_three(rows) == pytest.approx(0.97) and q.best_of_three_without_relu(rows) == pytest.approx(0.999)
    assert math.isnan(q.best_of_three_without_relu(together(*cell(3, 4, 1.02, relu=False))))
    assert math.isnan(q.best_of_three(together(*cell(4, 4, 0.9))))
    corners = [*cell(4, 3, 0.91, 1.0), *cell(6, 2, 0.93), *cell(3, 3, 1.0), *cell(4, 2, 0.999, 1.2), *cell(5, 2, 0.9)]
    assert q.best_beyond(together(*corners)) == pytest.approx(0.93) and q.best_before(together(*corners)) == pytest.approx(0.999)
    assert math.isnan(q.best_before(together(*corners[:-2], *cell(3, 3, 1.5)[:1], *cell(4, 2, 1.5)).query("classes != 4")))
    assert math.isnan(q.best_beyond(together(*cell(4, 3, 0.9))))
    least = q.least_by_cell(rows, ["relu", "classes", "layers"])
    assert least[True, 10, 4] == pytest.approx(0.5) and least[False, 3, 4] == pytest.approx(0.999) and len(least) == 3


def test_quantities_of_images():
    def run(decay, rank, error=0.0):
        rows = [{"epoch": e, "last_hidden": last, "side": side} for e in (0, 5) for last in (False, True) for side in ("before", "after")]
        table = pd.DataFrame(rows).assign(weight_decay=decay, train_error=error, classes=10)
        table[q.RANK] = np.where((table.epoch == 5) & table.last_hidden & (table.side == "before"), rank, 10)
        return table

    rows = together(run(0.005, 6), run(0.0003, 9))
    assert (q.image_rank_share(rows), q.image_rank_share_weak(rows)) == (0.6, 0.9)
    assert math.isnan(q.image_rank_share(together(run(0.005, 6, error=0.01), run(0.0003, 9))))


# the experiments


def test_tiny_run_on_free_features():
    given = {"classes": 4, "layers": 3, "width": 8, "per_class": 2, "relu": True, "loss": "squared", "weight_decay": 0.004}
    given |= {"least_scale": 0.5, "most_scale": 1.0, "starts": 3, "steps": 600, "rate": 0.05, "momentum": 0.9}
    table = chapter.free(**given, measurements=2, every_layer=True, seed=0)
    assert table.groupby(["step", "layer", "side"]).size().unique().tolist() == [3] and table.layer.max() == 2
    assert table[table.layer == 2].last_hidden.all() and not table[table.layer == 1].last_hidden.any()
    end = table[table.step == 600]
    assert end.scale.unique().tolist() == [0.5, 0.75, 1.0] and (end.loss_now > end.fit).all()
    closed = squared_loss(collapse_cost(4), classes=4, layers=3, weight_decay=0.004, per_class=2)
    assert (table.collapse_loss == closed).all() and end.loss_now.min() == pytest.approx(closed, rel=0.1)
    alone = chapter.free(**given, measurements=1, every_layer=False, seed=0)
    assert alone.layer.unique().tolist() == [2] and alone.step.unique().tolist() == [1, 600]
    alone = alone[(alone.side == "before") & (alone.step == 600)]
    both = end[end.last_hidden & (end.side == "before")]
    assert alone.loss_now.tolist() == both.loss_now.tolist() and not set(table) & set(given)


def test_grids():
    quick = parameters("low_rank_bias") | {"seeds": 2, "first_seed": 7}
    widths = [(r["width"], r["least_scale"], r["seed"]) for r in chapter.descents_grid(**quick)]
    assert (30, 1.0, 7) in widths and (60, 0.5, 8) in widths and len(widths) == 8
    controls = chapter.controls_grid(**quick)
    assert {r["width"] for r in controls} == {30} and {(r["relu"], r["weight_decay"]) for r in controls} == {(False, 0.004), (True, 1e-5)}
    search = chapter.search_grid(**quick)
    cells = [(r["classes"], r["layers"], r["relu"], r["seed"]) for r in search]
    assert len(cells) == len(set(cells)) == 4 + 5 * 4 - 1 and (3, 4, False, 8) in cells and (10, 4, True, 8) not in cells
    linear = [(r["classes"], r["layers"], r["seed"]) for r in chapter.linear_grid(**quick)]
    assert {(4, 3, 8), (6, 2, 8), (3, 3, 8), (4, 2, 8), (5, 2, 7)} <= set(linear) and (5, 2, 8) not in linear and len(linear) == 15 + 4


def test_tiny_run_on_images():
    given = {"dataset": "digits", "model": "mlp_plain", "train_size": 50, "test_size": 50, "epochs": 1, "measurements": 1}
    given |= {"learning_rate": 0.05, "weight_decay": 0.005, "batch_size": 25, "depth": 2, "width": 12}
    table = chapter.images(**given, seed=0)
    assert table.groupby(["epoch", "layer", "side"]).size().unique().tolist() == [1] and len(table) == 2 * 2 * 2
    assert table[table.layer == 2].last_hidden.all() and (table.classes == 10).all() and (table.variance_ratio > 0).all()
