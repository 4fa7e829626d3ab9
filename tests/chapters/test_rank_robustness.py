"""The chapter on rank: ranks, patch images, noisy borders and the patch network against independent references; its quantities; tiny
runs."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncbook.chapters.rank_robustness import experiment as chapter
from ncbook.chapters.rank_robustness import quantities as q
from ncbook.data.border import noisy_border
from ncbook.data.datasets import load
from ncbook.data.patches import data_stable_rank, draw
from ncbook.errors import InputError
from ncbook.metrics.rank import entropy_rank, from_gram, numerical_rank, ranks, singular_values, stable_rank
from ncbook.models.networks import build_model
from ncbook.models.patch_cnn import accuracy, huberised_relu
from ncbook.seeds import child_generator
from ncbook.training.patch_descent import descend

# ranks


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (2, 4, 5), (2, 3, 6, 2)])
def test_singular_values_are_numpys(shape):
    matrix = torch.randn(shape, generator=child_generator(0, "matrix"))
    expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    np.testing.assert_allclose(singular_values(matrix), expected, rtol=1e-9)
    np.testing.assert_allclose(from_gram(matrix.double().mT @ matrix.double())[..., : min(shape[-2:])], expected, rtol=1e-7)


def test_ranks_of_matrices_whose_rank_is_plain():
    for k in (1, 3, 8):  # k equal directions: every rank says k
        basis = torch.linalg.qr(torch.randn(20, k, generator=child_generator(k, "basis")))[0]
        found = ranks(singular_values((basis @ basis.T)[None]))
        assert found["stable_rank"] == pytest.approx([k], rel=1e-5) and found["entropy_rank"] == pytest.approx([k], rel=1e-5)
        assert all(found[name] == [k] for name in found if name.startswith("rank_above"))


values = st.lists(st.floats(0, 1e3).map(lambda x: x if x > 1e-3 else 0.0), min_size=1, max_size=12).filter(any)


@given(values, st.floats(1e-3, 1e3))
def test_ranks_are_ordered_and_free_of_scale(s, scale):
    s = torch.tensor(sorted(s, reverse=True), dtype=torch.float64)
    count = numerical_rank(s, 0).item()
    assert 1 - 1e-9 <= stable_rank(s) <= count + 1e-9 and 1 - 1e-9 <= entropy_rank(s) <= count + 1e-9
    assert stable_rank(s) <= entropy_rank(s) * (1 + 1e-9)  # Rényi entropies of the energies, of infinite order and of order 1
    for rank in (stable_rank, entropy_rank):
        assert rank(s * scale).item() == pytest.approx(rank(s).item())
    counts = [numerical_rank(s, t).item() for t in (0.3, 0.1, 0.03, 0.01, 0)]
    assert counts == sorted(counts)


def test_ranks_batched_are_ranks_one_by_one():
    s = singular_values(torch.randn(5, 6, 4, generator=child_generator(0, "batch")))
    together = ranks(s, spectrum=3)
    alone = [ranks(row[None], spectrum=3) for row in s]
    assert all(column == [one[name][0] for one in alone] for name, column in together.items())
    assert together["singular_values"][0].startswith("1 ") and len(together["singular_values"][0].split()) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda: singular_values(torch.ones(3)),
        lambda: singular_values(torch.ones(0, 3)),
        lambda: singular_values(torch.tensor([[1.0, math.nan]])),
        lambda: stable_rank(torch.zeros(3)),
        lambda: entropy_rank(torch.tensor([1.0, -1.0])),
        lambda: stable_rank(torch.tensor([])),
        lambda: numerical_rank(torch.ones(3), 1.0),
        lambda: numerical_rank(torch.ones(3), -0.1),
    ],
)
def test_ranks_of_what_has_none(call):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        call()


# data

SIZES = {"patterns": 4, "dimension": 60, "samples": 24, "norm": 5.0, "background": 2, "seed": 3, "split": "train"}


def test_patch_images():
    data = draw(**SIZES, noises=[0.0, 0.5, 2.0])
    shapes = data.patches[:, :4]
    torch.testing.assert_close(shapes @ shapes.mT, 25 * torch.eye(4).expand(3, 4, 4), atol=1e-4, rtol=0)  # orthogonal, of length 5
    xi = data.patches[:, 4:]
    assert (xi @ shapes.mT).abs().max() < 1e-3 and not xi[0].any()
    torch.testing.assert_close(xi[2], 4 * xi[1])  # one draw, scaled
    assert xi[1].norm(dim=-1).square().mean().sqrt().item() == pytest.approx(2.5, rel=0.05)
    assert data.labels.sum() == 0 and torch.equal(data.labels > 0, data.index[:, 0] < 2)
    assert data.index[:, 0].bincount().tolist() == [6] * 4 and data.index[:, 1:].unique().tolist() == list(range(4, 52))
    assert torch.equal(data.rows()[1, 21:24], torch.stack([data.patches[1, j] for j in data.index[7]]))


def test_splits_share_patterns_only_and_seeds_nothing():
    train, test = (draw(**{**SIZES, "split": s}, noises=[1.0]).patches for s in ("train", "test"))
    assert torch.equal(train[:, :4], test[:, :4]) and not torch.isclose(train[:, 4:], test[:, 4:]).any(-1).all()
    other = draw(**{**SIZES, "seed": 4}, noises=[1.0]).patches
    assert (train[0, 0] @ other[0, 0]).abs() < 20


@pytest.mark.parametrize("patterns", [2, 4, 10])
def test_stable_rank_of_the_data_has_its_closed_form(patterns):
    noises = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0]
    data = draw(patterns=patterns, dimension=500, samples=200, noises=noises, norm=5.0, background=1, seed=0, split="train")
    measured = stable_rank(singular_values(data.rows())).tolist()
    expected = [data_stable_rank(r, patterns=patterns, dimension=500, samples=200) for r in noises]
    assert measured == pytest.approx(expected, rel=0.05)
    assert expected[:3] == pytest.approx([patterns, 1.25 * patterns, 2 * patterns])
    assert data_stable_rank(1e9, patterns=patterns, dimension=500, samples=200) == pytest.approx(  # noise alone: n d / (sqrt n + sqrt d)^2
        200 * (500 - patterns) / (200**0.5 + (500 - patterns) ** 0.5) ** 2
    )


@pytest.mark.parametrize(
    "change", [{"patterns": 3}, {"patterns": 60}, {"samples": 22}, {"background": 0}, {"norm": 0.0}, {"noises": []}, {"noises": [-1.0]}]
)
def test_patch_images_that_cannot_be(change):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        draw(**{**SIZES, "noises": [1.0], **change})


def test_noisy_border():
    data = load("digits", train_size=100, test_size=50)
    noisy, clean = (noisy_border(data, s, border=2, pad=1, seed=0) for s in (0.5, 0.0))
    assert noisy.image_shape == (1, 10, 10)
    pixels = data.train.images.float() / 255
    assert torch.equal(clean.train.images[:, :, 1:-1, 1:-1], pixels) and clean.train.images.sum() == pytest.approx(pixels.sum())
    difference = noisy.train.images - clean.train.images
    assert not difference[:, :, 2:-2, 2:-2].any() and difference[:, :, :2].std().item() == pytest.approx(0.5, rel=0.1)
    again = noisy_border(data, 1.0, border=2, pad=1, seed=0)
    torch.testing.assert_close(again.train.images - clean.train.images, 2 * difference)  # the same draw, scaled
    x, y = next(iter(noisy.train.batches(100)))
    assert torch.equal(x, noisy.train.images) and torch.equal(y, data.train.labels)  # neither centred nor rescaled, and fixed
    assert not torch.equal(noisy.test.images[:50] - clean.test.images[:50], difference[:50])


@pytest.mark.parametrize("wrong", [{"border": 0}, {"border": 4}, {"border": 2, "pad": -1}])
def test_noisy_border_that_cannot_be(wrong):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        noisy_border(load("digits", train_size=100), 1.0, seed=0, **wrong)
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        noisy_border(load("digits", train_size=100), -1.0, border=2, seed=0)
    with pytest.raises(InputError, match="vectors"):
        noisy_border(load("gaussian"), 1.0, border=2, seed=0)


# the network


@given(st.floats(-5, 5), st.floats(2, 5), st.floats(0.1, 4))
def test_huberised_relu_has_the_slope_that_it_says(z, power, threshold):
    z = torch.tensor([z], dtype=torch.float64)
    value, slope = huberised_relu(z, power=power, threshold=threshold)
    expected = 0 if z <= 0 else z**power / (power * threshold ** (power - 1)) if z < threshold else z - threshold + threshold / power
    assert value.item() == pytest.approx(float(expected), abs=1e-12)
    h = 1e-5
    by_difference = (
        huberised_relu(z + h, power=power, threshold=threshold)[0] - huberised_relu(z - h, power=power, threshold=threshold)[0]
    ) / (2 * h)
    assert slope.item() == pytest.approx(by_difference.item(), abs=1e-4 * power / threshold) and 0 <= slope <= 1


def plainly(data, level, filters, *, steps, learning_rate, power, threshold):
    """Gradient descent on the filters themselves, by autograd, image by image; the activation written out."""
    x = data.patches[level].double()[data.index]  # (N, 1 + P, d)
    w = filters.double().clone().requires_grad_()
    m = len(filters) // 2
    for _ in range(steps):
        z = torch.einsum("fd,npd->fnp", w, x)
        a = torch.where(z < threshold, z.clamp(min=0) ** power / (power * threshold ** (power - 1)), z - threshold + threshold / power)
        f = a[:m].sum((0, 2)) / m - a[m:].sum((0, 2)) / m
        loss = torch.log(1 + torch.exp(-data.labels * f)).mean()
        (g,) = torch.autograd.grad(loss, w)
        w = (w - learning_rate * g).detach().requires_grad_()
    return w.detach(), f.detach()


def test_descent_by_inner_products_is_descent_on_the_filters():
    data = draw(**SIZES, noises=[0.0, 0.7, 3.0])
    first = 0.05 * torch.randn(10, 60, generator=child_generator(1, "weights"))
    options = {"learning_rate": 2.0, "power": 3.0, "threshold": 1.5}
    states = list(descend(data, first, steps=60, measure_at=[0, 59, 60], **options))
    assert [step for step, _, _ in states] == [0, 59, 60] and torch.equal(states[0][1], first.expand(3, -1, -1))
    for level in range(3):
        expected, _ = plainly(data, level, first, steps=60, **options)
        torch.testing.assert_close(states[-1][1][level].double(), expected, atol=2e-5, rtol=1e-4)
        _, f = plainly(data, level, first, steps=60, **options)  # outputs at step 59
        assert states[1][2][level].item() == pytest.approx(torch.log(1 + torch.exp(-data.labels * f)).mean().item(), rel=1e-4)
        right = ((f > 0) == (data.labels > 0)).double().mean().item()
        assert accuracy(states[1][1], data, power=3.0, threshold=1.5)[level].item() == pytest.approx(right)


def test_descent_refuses_odd_filters_and_stops_when_the_loss_is_lost():
    data = draw(**SIZES, noises=[1.0])
    options = {"power": 3.0, "threshold": 1.5, "measure_at": [40]}
    with pytest.raises(InputError, match="even"):
        next(descend(data, torch.ones(3, 60), steps=1, learning_rate=1.0, **options))
    with pytest.raises(FloatingPointError, match="smaller learning rate"):
        list(descend(data, torch.full((4, 60), 1e38), steps=40, learning_rate=1.0, **options))
    for wrong in ({"power": 1.0, "threshold": 1.0}, {"power": 3.0, "threshold": 0.0}):
        with pytest.raises(InputError, match=r"^[^\n]+\.$"):
            huberised_relu(torch.ones(2), **wrong)


def test_two_layer_network():
    network = build_model("two_layer", (3, 40, 40), 10, generator=child_generator(0, "weights"))
    filters = network.blocks["conv1"][0]
    assert filters.bias is None and filters.weight.std().item() == pytest.approx(0.1 / 7, rel=0.05)
    assert network.classifier.in_features == 64 * 12 * 12
    x = torch.randn(2, 3, 40, 40, generator=child_generator(0, "x"))
    patch = x[1, :, 3:10, 6:13]  # position (1, 2) of the map
    expected = (filters.weight * patch).sum((1, 2, 3)).relu()
    torch.testing.assert_close(network.features(x).reshape(2, 64, 12, 12)[1, :, 1, 2], expected)


def test_patches_that_a_layer_sees():
    network = build_model("two_layer", (1, 28, 28), 10, generator=child_generator(0, "weights"))
    x = torch.randn(5, 1, 28, 28, generator=child_generator(0, "x"))
    found = chapter.filters_and_patches(network, x)
    cut = torch.stack([x[n, 0, 3 * i : 3 * i + 7, 3 * j : 3 * j + 7].flatten() for n in range(5) for i in range(8) for j in range(8)])
    torch.testing.assert_close(found["patches", 1], singular_values(cut), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["filters", 1], singular_values(network.blocks["conv1"][0].weight.reshape(64, 49)))
    deep = build_model("cnn", (1, 28, 28), 10, generator=child_generator(0, "weights")).eval()
    assert list(chapter.filters_and_patches(deep, x)) == [(m, i) for i in (1, 2, 3) for m in ("filters", "patches")]
    assert not any(module._forward_pre_hooks for module in deep.modules())


# quantities

NOISES = [0.0, 1.0, 2.0, 3.0, 4.0]


def rows(
    *,
    patterns=4,
    samples=100,
    stable=(3, 3, 3, 5, 6),
    data=(4, 8, 20, 40, 60),
    count=(4, 4, 4, 20, 40),
    right=(1, 1, 1, 0.95, 0.5),
    loss=0.01,
    before=42.0,
    **given,
):
    """One seed's rows of one arm: filters before and after, and patches."""
    fixed = {"patterns": patterns, "samples": samples, "dimension": 500, "background": 1, "power": 3.0, "noise": NOISES}
    fixed |= {"start": 0.005, "shuffled": False, **given}
    start = {**fixed, "train_loss": 0.69, "test_accuracy": 0.5, "one_direction": 0.4, "chosen_at_start": 0.3, "chosen_by_another": 0.3}
    after = pd.DataFrame(
        {**fixed, "matrix": "filters", "step": 10, "train_loss": loss, "test_accuracy": right, "stable_rank": stable, q.COUNT: count}
        | {"one_direction": [0.9, 0.9, 0.8, 0.7, 0.6], "chosen_at_start": [1, 1, 0.75, 0.5, 0.2], "chosen_by_another": [0.5] * 5}
    )
    first = [
        pd.DataFrame({**start, "matrix": m, "step": 0, "stable_rank": s, q.COUNT: 80})
        for m, s in (("filters", [before] * 5), ("patches", data))
    ]
    return pd.concat([after, *first])


def arms(*parts):
    return pd.concat(parts).sample(frac=1, random_state=0)


FEWER = rows(samples=10, stable=(1, 1, 1, 1, 1), data=(1, 1, 1, 1, 1), count=(9,) * 5, right=(1, 0.8, 0.5, 0.5, 0.5))


def test_quantities_of_generated_data():
    both = arms(rows(), FEWER)
    assert q.data_growth(both) == 5 and q.filter_growth(both) == 1 and q.share_of_intrinsic(both) == 0.75
    assert q.failed_growth(both) == 2 and math.isnan(q.failed_growth(rows(right=(1, 1, 1, 1, 0.8))))
    assert q.count_share(both) == 1 and q.count_share(arms(rows(count=(4, 3, 4, 4, 4)), FEWER)) == pytest.approx(2 / 3)
    assert (q.band_accuracy(both), q.one_direction(both), q.chosen_at_start(both), q.chosen_by_another(both)) == (1, 0.8, 0.75, 0.5)
    assert q.first_one_direction(both) == 0.4
    assert q.failed_over_data(both) == pytest.approx(0.1)
    assert q.filter_growth(rows(stable=(3, 3, 6, 5, 6))) == 2


def test_directions_are_read_with_several_patterns_a_class():
    both = arms(rows().assign(one_direction=0.7), rows(patterns=2).assign(one_direction=1.0))
    assert q.one_direction(both) == 0.7 and math.isnan(q.one_direction(rows(patterns=2)))


def test_quantities_of_the_controls():
    large = rows(start=1.0, stable=(24, 25, 26, 30, 33), count=(80,) * 5, before=42)
    both = arms(large, rows(shuffled=True, right=(0.5, 0.5, 0.5, 0.5, 0.45)))
    assert q.large_share_of_intrinsic(both) == 6.5 and q.large_count_share(both) == 0 and q.shuffled_accuracy(both) == 0.45
    assert q.large_over_data(both) == pytest.approx(33 / 60)


def test_formula_gap_looks_at_every_level():
    known = [data_stable_rank(r, patterns=4, dimension=500, samples=100) for r in NOISES]
    assert q.formula_gap(rows(data=known)) == pytest.approx(0, abs=1e-12)
    assert q.formula_gap(rows(data=[*known[:3], known[3] / 2, known[4]])) == pytest.approx(np.log10(2))


def broken(samples, at, **given):
    """Accuracy falls from 1 to 0.5 within 0.2 of a noise, on a grid of its own."""
    noise = [0.0, at - 0.04, at + 0.16]
    return rows(samples=samples, **given).query("step == 10").iloc[:3].assign(noise=noise, test_accuracy=[1, 1, 0.5])


def test_break():
    assert q.break_noise(rows()[lambda t: t.step == 10]) == pytest.approx(3 + 0.05 / 0.45)
    assert q.break_over_prediction(arms(rows(), FEWER)) == pytest.approx((3 + 0.05 / 0.45) / 25 ** (1 / 3))
    assert math.isnan(q.break_over_prediction(rows(right=(1, 1, 1, 1, 1))))
    assert math.isnan(q.break_over_prediction(rows(right=(0.5,) * 5)))
    law = [broken(n, n ** (1 / 3)) for n in (8, 27, 64)]
    assert q.break_exponent(arms(*law, broken(64, 1.0).assign(patterns=2))) == pytest.approx(1 / 3)
    assert q.break_exponent(arms(*(broken(n, 2.0) for n in (8, 27, 64)))) == pytest.approx(0, abs=1e-12)
    assert math.isnan(q.break_exponent(arms(*law[:2])))


def test_break_with_another_activation_and_with_as_many_images_a_pattern():
    square = [broken(n, (n / 4) ** 0.5, power=2.0) for n in (16, 36, 144)]
    each = [broken(12 * p, 2.0, patterns=p) for p in (2, 4, 6)]
    assert q.other_exponent(arms(*square, *each)) == pytest.approx(0.5)
    assert q.other_over_prediction(arms(*square, *each)) == pytest.approx(6 / 36 ** (1 / 3))
    assert q.exponent_each(arms(*square, *each)) == pytest.approx(0, abs=1e-12)


BAND_NUMBERS = (q.filter_growth, q.share_of_intrinsic, q.count_share, q.band_accuracy, q.one_direction, q.chosen_at_start)


def test_a_network_that_does_not_fit_is_not_measured():
    loose = rows(loss=[0.01, 0.01, 0.05, 0.01, 0.2])
    assert all(math.isnan(number(loose)) for number in (*BAND_NUMBERS, q.failed_over_data, q.failed_growth)) and q.data_growth(loose) == 5
    assert math.isnan(q.failed_over_data(rows(right=(1, 1, 1, 1, 0.8))))  # nor is one that does not fail
    assert math.isnan(q.count_share(rows()[lambda t: t.noise != 2])) and math.isnan(q.filter_growth(rows()[lambda t: t.noise != 2]))


def test_filters_that_never_moved_are_not_measured():
    assert all(math.isnan(number(rows(before=5.0))) for number in BAND_NUMBERS)
    still = {"filters": (14, 14.5), "count": (48, 48)}
    numbers = (q.image_share, q.image_count_share, q.image_over_intrinsic)
    assert all(math.isnan(number(real(**still))) for number in numbers) and q.image_fall(real(**still)) == pytest.approx(14.5 / 15)


def run_on_images(filters=(3, 3.3), count=(10, 20), right=(0.9, 0.85), loss=0.01, filter_start=0.1, shuffled=False):
    found = []
    for i, noise in enumerate((0.0, 1.0)):
        fixed = {"noise": noise, "filter_start": filter_start, "shuffled": shuffled, "layer": 1, "test_accuracy": right[i]}
        for epoch, matrix, stable, counted in (
            (0, "filters", 15, 48),
            (0, "patches", (2, 8)[i], (10, 40)[i]),
            (9, "filters", filters[i], count[i]),
            (9, "patches", (2, 8)[i], (10, 40)[i]),
        ):
            of = {"epoch": epoch, "matrix": matrix, "stable_rank": stable, q.COUNT: counted, "train_loss": loss if epoch else math.nan}
            of["intrinsic"] = (4, 12)[i] if (epoch, matrix) == (0, "patches") else math.nan
            found.append(fixed | of)
    return pd.DataFrame(found)


def real(**main):
    """One seed's rows: the main runs, large first filters, and shuffled labels at the most noise."""
    large = run_on_images(filters=(14, 12), count=(48, 48), filter_start=1.0)
    by_heart = run_on_images(filters=(6, 12), right=(0.1, 0.2), shuffled=True).query("noise == 1")
    return pd.concat([run_on_images(**main), large, by_heart]).sample(frac=1, random_state=0)


def test_quantities_of_images():
    assert q.image_share(real()) == pytest.approx(np.log(1.1) / np.log(4)) and q.image_share(real(filters=(3, 3))) == 0
    assert q.image_share(real(filters=(1.5, 6))) == pytest.approx(1)
    assert q.image_count_share(real()) == pytest.approx(0.5) and q.large_image_count_share(real()) == 0
    assert q.image_share_by_heart(real()) == pytest.approx(1)
    assert (q.image_fall(real()), q.large_image_fall(real())) == (pytest.approx(3.3 / 15), 0.8)
    assert (q.image_over_intrinsic(real()), q.large_image_over_intrinsic(real())) == (pytest.approx(3.3 / 4), 3)
    assert q.image_accuracy_kept(real()) == pytest.approx(0.75 / 0.8) and q.by_heart_image_accuracy_kept(real()) == pytest.approx(0.1 / 0.8)
    numbers = (q.image_share, q.image_count_share, q.image_fall, q.image_over_intrinsic, q.image_accuracy_kept, q.image_share_by_heart)
    assert all(math.isnan(number(real(loss=0.06))) for number in numbers)


# the experiments

MADE = {"noises": [0.0, 1.0], "dimension": 60, "norm": 5.0, "background": 1, "filters": 10, "start": 0.02, "power": 3.0, "threshold": 3.0}
MADE |= {"steps": 400, "generated_rate": 10.0, "test_samples": 40, "spectrum": 5, "large_start": 1.0, "other_power": 2.0}
MADE |= {"other_noises": [0.0, 3.0], "patterns_each": [2, 4], "samples_each": 4}
REAL = {"border": 4, "train_size": 60, "test_size": 40, "epochs": 2, "learning_rate": 0.05, "weight_decay": 0.0, "batch_size": 20}
REAL |= {"schedule": "constant", "patch_images": 10, "spectrum": 5, "border_noises": [0.5], "filter_starts": [0.1]}


def test_tiny_run_on_generated_data():
    runs = chapter.generated_grid(patterns=[2, 4], samples=[8, 40], seeds=1, **MADE | REAL)
    assert [(r["patterns"], r["samples"]) for r in runs] == [(2, 40), (4, 8), (4, 40)]
    table = chapter.generated(**runs[-1])
    assert table.groupby(["step", "matrix"]).size().to_dict() == {(0, "filters"): 2, (0, "patches"): 2, (400, "filters"): 2}
    end = table[table.step == 400]
    assert (end.train_loss < 0.05).all() and (end.test_accuracy == 1).all() and (end["rank_above_0.1"] == 4).all()
    assert np.isfinite(table.select_dtypes("number")).all().all() and not table.duplicated(["step", "matrix", "noise"]).any()
    assert (end.signal > 0.9).all() and (end.one_direction <= 1).all() and not set(table) & set(runs[-1])
    assert table[table.matrix == "patches"].stable_rank.tolist() == pytest.approx([4, 8], rel=0.1)
    again = chapter.generated(**runs[-1])
    pd.testing.assert_frame_equal(table, again)


def test_directions():
    data = draw(patterns=4, dimension=10, samples=8, noises=[1.0], norm=5.0, background=1, seed=0, split="train")
    e = data.patches[0, :4] / 5
    first = torch.stack([2 * e[0] + e[1], e[0] + 2 * e[1], e[2] + 2 * e[3], 2 * e[2] + e[3]])  # favourites: 0, 1, 3, 2
    trained = torch.stack(
        [3 * e[0], 4 * e[0] + 0 * e[1], e[3] + 0.5 * e[1], 2 * data.patches[0, 4] / data.patches[0, 4].norm() + 0.1 * e[2]]
    )
    found = chapter.directions(trained[None], first, data)
    along = 9 + 16 + 1.25 + 0.01
    assert found["signal"] == pytest.approx([along / (along + 4)], rel=1e-5)
    assert found["one_direction"] == pytest.approx([(along - 0.25) / along], rel=1e-5)
    assert found["chosen_at_start"] == pytest.approx([(9 + 1.25 + 0.01) / along], rel=1e-5)
    assert found["chosen_by_another"] == pytest.approx([0.5], rel=1e-5)  # each pattern is the favourite of one filter in two of its class


def test_tiny_run_on_images():
    run, shuffled = chapter.images_grid(dataset=["digits"], seeds=1, **REAL)
    table = chapter.images(**run)
    assert run["pad"] == 4 and not run["shuffled"] and shuffled["shuffled"] and sorted(table.epoch.unique()) == [0, 2]
    assert len(table) == 2 * 2 + 2 and not table.duplicated(["epoch", "matrix", "layer"]).any()
    numbers = table.drop(columns=["train_loss", "matrix", "singular_values", "intrinsic"])
    assert np.isfinite(numbers.to_numpy()).all() and not set(table) & set(run)
    centred = table.set_index("matrix").stable_rank
    assert centred["images, centred"] > centred["images"]
    known = table[table.intrinsic.notna()]
    assert set(known.matrix) == {"images", "patches"} and set(known.epoch) == {0}


def test_size_of_the_first_filters_and_shuffled_labels():
    (run, by_heart, large, *_) = (chapter.images(**r | {"epochs": 1}) for r in _sizes())
    first, again, tenfold = (t[(t.epoch == 0) & (t.matrix == "filters")].stable_rank.item() for t in (run, by_heart, large))
    assert first == again == pytest.approx(tenfold, rel=1e-4)
    losses = {t[(t.epoch == 1) & (t.matrix == "filters")].train_loss.item() for t in (run, by_heart, large)}
    assert len(losses) == 3


def _sizes():
    (run, shuffled) = chapter.images_grid(dataset=["digits"], seeds=1, **REAL)
    return run, shuffled, run | {"filter_start": 1.0}


def test_permuted_labels_are_the_same_labels_in_another_order():
    labels = torch.arange(50)
    found = chapter.permuted(labels, 3)
    assert not torch.equal(found, labels) and torch.equal(found.sort().values, labels) and torch.equal(found, chapter.permuted(labels, 3))


def test_images_grid_pads_all_but_mnist():
    runs = chapter.images_grid(dataset=["mnist5k", "cifar10"], seeds=1, **REAL)
    assert [(r["dataset"], r["pad"], r["shuffled"]) for r in runs] == [
        ("mnist5k", 0, False),
        ("mnist5k", 0, True),
        ("cifar10", 4, False),
        ("cifar10", 4, True),
    ]


def test_grids_of_the_controls():
    given = {"patterns": [2, 4], "samples": [8, 40], "seeds": 1, **MADE}
    controls, laws = chapter.controls_grid(**given), chapter.laws_grid(**given)
    assert [(r["patterns"], r["start"], r["shuffled"]) for r in controls] == [
        (2, 1.0, False),
        (2, 0.02, True),
        (4, 1.0, False),
        (4, 0.02, True),
    ]
    assert [(r["patterns"], r["samples"], r["power"]) for r in laws] == [(4, 8, 2.0), (4, 40, 2.0), (2, 8, 3.0), (4, 16, 3.0)]
    assert chapter.several([2, 4, 8]) == 4 and chapter.several([2]) == 2


@pytest.mark.slow
def test_setting_in_which_the_break_was_predicted():
    """n = 200, four patterns, q = 3: r_c = 3.7. Below it the filters have the rank of the clean data, above it they know the training
    images only."""
    run = {**MADE, "noises": [0.0, 2.0, 6.0], "dimension": 500, "filters": 40, "start": 0.005, "steps": 1000, "test_samples": 400}
    (run,) = chapter.generated_grid(patterns=[4], samples=[200], seeds=1, **run)
    end = chapter.generated(**run).query("matrix == 'filters' and step == 1000").set_index("noise")
    assert (end.train_loss < 0.05).all()
    assert end["rank_above_0.1"][[0.0, 2.0]].tolist() == [4, 4] and end["rank_above_0.1"][6.0] > 40
    assert end.test_accuracy[[0.0, 2.0]].tolist() == [1, 1] and end.test_accuracy[6.0] < 0.6
    assert (
        end.stable_rank[2.0] == pytest.approx(end.stable_rank[0.0], rel=0.02)
        and 2.5 < end.stable_rank[0.0] < 4
        and end.stable_rank[6.0] < 8
    )
