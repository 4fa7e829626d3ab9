"""The chapter on shallow convergence: quantities on tables made by hand, tiny runs."""

import math

import numpy as np
import pandas as pd
import pytest

from ncbook.chapters.shallow_convergence import experiment as chapter
from ncbook.chapters.shallow_convergence import quantities as q
from ncbook.publish.parameters import parameters

GIVEN = {"samples": 100, "dimension": 20, "labels": "random", "first_rate": 0.3, "second_rate": 0.0, "linearised": False, "until": 1e-3}


def arm(fits, *, per_sample=5, moved=1.0, **given):
    """One row a start."""
    width = round(per_sample * GIVEN["samples"] / GIVEN["dimension"])
    return pd.DataFrame({**GIVEN, **given, "width": width, "loss_end": np.where(fits, 9e-4, 1e-3), "moved": moved})


def test_shares_are_of_one_arm_each():
    rows = pd.concat(
        [
            arm([1, 1, 1, 0]),
            arm([0, 0, 1, 0], per_sample=1),
            arm([1, 0], labels="worst"),
            arm([0, 0], labels="worst", per_sample=1),
            arm([1, 1], second_rate=0.1),
            arm([1, 0, 0, 0], second_rate=0.5),
            arm([0, 1, 0, 0, 0], first_rate=0.0, second_rate=0.3),
            arm([1, 1, 0, 0, 0], linearised=True),
            arm([1, 0, 0, 0, 0], linearised=True, per_sample=1),
            arm([0, 0, 0], per_sample=20),
        ]
    ).sample(frac=1, random_state=0)
    assert (q.share_fitted(rows), q.share_fitted_fewest(rows)) == (0.75, 0.25)
    assert (q.share_fitted_worst(rows), q.share_fitted_worst_fewest(rows)) == (0.5, 0)
    assert (q.share_fitted_both(rows), q.share_fitted_second(rows)) == (0.25, 0.2)
    assert (q.share_fitted_linearised(rows), q.share_fitted_linearised_fewest(rows)) == (0.4, 0.2)
    nothing = arm([1], per_sample=3)
    assert all(math.isnan(f(nothing)) for f in (q.share_fitted, q.share_fitted_both, q.share_fitted_second, q.share_fitted_linearised))


def test_movement_is_of_those_that_fit():
    both = {"second_rate": 0.1, "moved": 9.0}
    ends = pd.concat(
        [
            arm([1, 1, 0], kernel_moved=[1.0, 2.0, 9.0], **both),
            arm([1, 1], kernel_moved=[4.0, 4.0], **both | {"second_rate": 0.5}),
            arm([1, 1], kernel_moved=[0.4, 0.6], per_sample=20, **both),
            arm([1, 1], kernel_moved=0.1),
        ]
    )
    assert q.kernel_change(ends) == 1.5 and q.kernel_change_wide(ends) == 0.5
    assert math.isnan(q.kernel_change(arm([1, 0], kernel_moved=2.0, **both))) and math.isnan(q.kernel_change(arm([1], kernel_moved=2.0)))
    rows = arm([1, 1, 0], moved=[1.0, 2.0, 9.0])
    labels = pd.concat([rows, arm([1, 0, 1], labels="teacher", moved=[0.5, 9, 1.0]), arm([1], labels="shuffled", moved=1.8)])
    assert q.structure_saves(labels) == pytest.approx(0.5) and q.shuffling_saves(labels) == pytest.approx(1.2)
    assert math.isnan(q.structure_saves(rows))


def by_width(samples, shares, starts=4):
    def at(width, share):
        loss = np.where(np.arange(starts) < share * starts, 0, 1)
        return pd.DataFrame({"samples": samples, "dimension": samples / 5, "width": width, "loss_end": loss})

    return pd.concat([at(*pair) for pair in shares.items()])


def test_half_width_and_exponent():
    sharp = by_width(40, {5: 0, 10: 0, 20: 1, 40: 1})
    assert q.half_width(sharp) == pytest.approx(200**0.5)
    gradual = by_width(40, {5: 0, 10: 0.5, 20: 0.25, 40: 1})  # shares are made to rise, so 20 counts as 10
    assert q.half_width(gradual) == pytest.approx((50 * 800) ** 0.25)
    beyond = by_width(40, {10: 0.25, 20: 0.75})  # a quarter lies between 5 and 10, half between 10 and 20, a quarter between 20 and 40
    assert q.half_width(beyond) == pytest.approx(200**0.5)
    assert math.isnan(q.half_width(by_width(40, {5: 0.5, 10: 1}))) and math.isnan(q.half_width(by_width(40, {5: 0, 10: 0.5})))
    as_many = by_width(160, {5: 0, 10: 0, 20: 1, 40: 1})
    assert q.exponent(pd.concat([sharp, as_many])) == pytest.approx(1)
    four_times = by_width(160, {20: 0, 40: 0, 80: 1, 160: 1})
    assert q.exponent(pd.concat([sharp, four_times])) == pytest.approx(2) and math.isnan(q.exponent(sharp))


def test_tiny_runs():
    given = {"samples": 20, "dimension": 10, "width": 20, "starts": 3, "seed": 0}
    rates = {"first_rate": 0.3, "second_rate": 0.0, "steps": 400, "until": 1e-3}
    table = chapter.descent(**given, **rates, labels="random", linearised=False)
    assert len(table) == 3 and (table.loss_end < 1e-3).all() and (table.moved > 0).all() and (table.head_moved == 0).all()
    assert table.flips.between(0, 1).all() and (table.kernel_moved > 0).all()
    still = chapter.descent(**given, **rates | {"steps": 0}, labels="random", linearised=False)
    assert (still[["moved", "flips", "kernel_moved", "taken"]] == 0).all(axis=None)
    harder = chapter.descent(**given, **rates | {"steps": 4000}, labels="worst", linearised=False)
    assert (harder.taken > table.taken).all()
    narrow, wide = (chapter.least_squares(**given | {"width": w}).loss_end for w in (15, 60))
    assert (narrow > 1e-2).all() and (wide < 1e-12).all()


def test_grids():
    quick = parameters("shallow_convergence") | {"seeds": 1, "first_seed": 7}
    runs = chapter.descents_grid(**quick)
    assert len(runs) == len({tuple(run.values()) for run in runs})
    arms = {(r["labels"], r["first_rate"], r["second_rate"], r["linearised"], r["width"]) for r in runs}
    needed = [
        ("random", 0.3, 0.0, False, 5),
        ("random", 0.3, 0.0, False, 100),
        ("worst", 0.3, 0.0, False, 5),
        ("random", 0.3, 0.0, True, 5),
    ]
    needed += [("random", 0.3, 0.1, False, 25), ("random", 0.0, 0.3, False, 25), ("teacher", 0.3, 0.0, False, 25)]
    assert arms.issuperset(needed)
    sizes, fixed = chapter.sizes_grid(**quick), chapter.fixed_grid(**quick)
    assert {(r["samples"], r["dimension"]) for r in sizes} == {(r["samples"], r["dimension"]) for r in fixed} == {(40, 8), (160, 32)}
    assert {r["width"] for r in fixed if r["samples"] == 160} == {112, 136, 160, 192, 224}
