"""The chapter on wide networks: the corollaries of balance on constructed matrices and on a trained network, its quantities, its
networks."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ncbook.chapters.wide_networks import experiment as chapter
from ncbook.chapters.wide_networks import quantities as q
from ncbook.errors import InputError
from ncbook.metrics.linear_head import alignment, condition, head_spectra, imbalance, linear_layers_table, negativity, spectrum
from ncbook.models.linear_heads import SmoothLeaky, linear_headed
from ncbook.seeds import child_generator
from ncbook.theory.balancedness import collapse_bound, least_alignment, recalled_bound, root_of_product


def generator(seed=0):
    return child_generator(seed, "test")


def orthogonal(rows, columns, draw):
    """(rows, columns) with orthonormal columns."""
    return torch.linalg.qr(torch.randn(rows, columns, generator=draw, dtype=torch.float64)).Q


def balanced_head(singular, layers, width, draw):
    """`layers` matrices with the singular values given, each pair exactly balanced: U_(l+1) S U_l^T, the last (C, width)."""
    s, classes = torch.tensor(singular, dtype=torch.float64), len(singular)
    frames = [orthogonal(width, classes, draw) for _ in range(layers)] + [orthogonal(classes, classes, draw)]
    return [after @ torch.diag(s) @ before.T for before, after in pairwise(frames)]


SINGULAR = [2.0, 1.5, 1.1, 0.7]
LABELS = torch.arange(4).repeat(5)


# --- the exact corollaries ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [2, 3, 5])
def test_balanced_layers_share_singular_values_and_the_conditioning_of_their_product_is_a_power(layers):
    head = balanced_head(SINGULAR, layers, 9, generator(layers))
    for earlier, later in pairwise(head):
        assert imbalance(later, earlier)[0].item() == pytest.approx(0, abs=1e-12)
        assert imbalance(later, earlier)[1].item() == pytest.approx(0, abs=1e-12)
    product = head[0]
    for w in head[1:]:
        product = w @ product
    assert condition(product, 4).item() == pytest.approx((2.0 / 0.7) ** layers, rel=1e-10)
    assert root_of_product(condition(product, 4).item(), layers) == pytest.approx(condition(head[-1], 4).item(), rel=1e-10)


def test_balance_and_interpolation_leave_the_features_no_room():
    """Z_(L-1) = W_L^+ Y: V = 0, kappa of the means that of W_L, and the cosines obey Kantorovich's inequality."""
    w = balanced_head(SINGULAR, 2, 9, generator())
    one_hot = nn.functional.one_hot(LABELS, 4).double().T  # (C, N)
    before = torch.linalg.pinv(w[1] @ w[0]) @ one_hot  # (d, N): the head maps it to Y
    z = w[0] @ before
    assert torch.allclose(w[1] @ z, one_hot)
    assert torch.allclose(z, torch.linalg.pinv(w[1]) @ one_hot)
    means = torch.stack([z.T[c == LABELS].mean(0) for c in range(4)])
    assert (z.T - means[LABELS]).norm().item() == pytest.approx(0, abs=1e-12)
    assert condition(means, 4).item() == pytest.approx(condition(w[1], 4).item(), rel=1e-10)
    kappa = condition(w[1], 4).item()
    assert alignment(z.T, LABELS, w[1]).item() >= least_alignment(kappa)


@pytest.mark.parametrize("kappa", [1.0, 1.3, 4.0])
def test_kantorovichs_inequality_holds_and_is_reached(kappa):
    draw = generator()
    for _ in range(50):
        u, v = orthogonal(4, 4, draw), orthogonal(7, 4, draw)
        s = 1 + (kappa - 1) * torch.rand(4, generator=draw, dtype=torch.float64)
        w = u @ torch.diag(s) @ v.T
        cosines = 1 / (w.norm(dim=1) * torch.linalg.pinv(w).norm(dim=0))
        assert cosines.min().item() >= least_alignment(kappa) - 1e-12
    turn = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / math.sqrt(2)
    w = turn @ torch.diag(torch.tensor([kappa, 1.0], dtype=torch.float64))
    assert (1 / (w.norm(dim=1) * torch.linalg.pinv(w).norm(dim=0)))[0].item() == pytest.approx(float(least_alignment(kappa)))


def variances(z):
    means = torch.stack([z[c == LABELS].mean(0) for c in range(4)])
    return (z - means[LABELS]).square().sum(1).mean().item(), (means - means.mean(0)).square().sum(1).mean().item()


@pytest.mark.parametrize("seed", range(20))
def test_our_bound_holds_for_any_two_linear_layers_and_any_features(seed):
    draw = generator(seed)
    early = torch.randn(20, 6, generator=draw, dtype=torch.float64) + 3 * torch.randn(4, 6, generator=draw, dtype=torch.float64)[LABELS]
    first, last = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((8, 6), (4, 8)))
    if seed % 2:  # nearly balanced
        second, third = balanced_head(SINGULAR, 2, 8, draw)
        first, last = second[:, :6] + 0.01 * first, third + 0.01 * last
    z = early @ first.T
    (within, between), (out_within, out_between) = variances(z), variances(z @ last.T)
    bound = collapse_bound(
        kappa=condition(last, 4).item(),
        largest=spectrum(last, 4)[0].item(),
        imbalance=imbalance(last, first)[0].item(),
        output_within=out_within,
        output_between=out_between,
        earlier_within=variances(early)[0],
    )
    assert within / between <= bound * (1 + 1e-10)


def test_our_bound_is_reached_where_the_last_layer_sees_everything():
    """A square orthogonal last layer, exactly balanced: V of features and outputs are the same."""
    z = torch.randn(20, 4, generator=generator(), dtype=torch.float64)
    w = orthogonal(4, 4, generator(1))
    within, between = variances(z @ w.T)
    bound = collapse_bound(kappa=1.0, largest=1.0, imbalance=0.0, output_within=within, output_between=between, earlier_within=7.0)
    assert bound == pytest.approx(variances(z)[0] / variances(z)[1])


def test_the_recalled_bound_by_hand():
    value = recalled_bound(residual=1.0, imbalance=0.25, norm=2.0, width=16, samples=100, classes=4)
    psi = 2 * (1 / (5 - 1) + 2.0)
    assert float(value) == pytest.approx(4 / 100 * psi**2 / (math.sqrt(0.75) - 0.2) ** 2)
    assert np.isinf(recalled_bound(residual=5.0, imbalance=0.0, norm=1.0, width=1, samples=100, classes=4))


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        least_alignment(0.9)
    with pytest.raises(InputError, match="at least one layer"):
        root_of_product(2.0, 0)


# --- the law of balance ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_scale", [0.0, 1.0])
def test_a_small_step_shrinks_the_imbalance_by_weight_decay_alone(loss_scale):
    """D <- (1 - eta lambda)^2 D + O(eta^2), whatever the loss: its gradients cancel."""
    draw, eta, decay, steps = generator(), 1e-4, 1.0, 2000
    first, last = (torch.randn(s, generator=draw, dtype=torch.float64).requires_grad_() for s in ((5, 6), (3, 5)))
    x, y = (torch.randn(s, generator=draw, dtype=torch.float64) for s in ((6, 8), (3, 8)))
    start = imbalance(last.detach(), first.detach())[0].item()
    for _ in range(steps):
        loss = loss_scale * (last @ first @ x - y).square().mean()
        loss = loss + 0 * first.sum() + 0 * last.sum()
        gradients = torch.autograd.grad(loss, (first, last))
        with torch.no_grad():
            for w, g in zip((first, last), gradients, strict=True):
                w -= eta * (g + decay * w)
    fall = math.log(imbalance(last.detach(), first.detach())[0].item() / start)
    assert fall == pytest.approx(-2 * eta * decay * steps, rel=1e-3)


# --- measures -------------------------------------------------------------------------------------------------------------------------


def test_condition_is_of_the_top_singular_values_only():
    thin = torch.randn(64, 10, generator=generator(), dtype=torch.float64)
    layer = thin @ torch.randn(10, 64, generator=generator(1), dtype=torch.float64)
    s = np.linalg.svd(layer.numpy(), compute_uv=False)
    assert condition(layer, 10).item() == pytest.approx(s[0] / s[9], rel=1e-9)
    assert s[0] / s[-1] > 1e12


def test_imbalance_and_negativity_against_numpy():
    draw = generator()
    a, b, z = (torch.randn(s, generator=draw) for s in ((3, 5), (5, 7), (20, 6)))
    x, y = (a.T @ a).double().numpy(), (b @ b.T).double().numpy()
    found = [v.item() for v in imbalance(a, b)]
    difference = np.linalg.norm(x - y, 2)
    assert found == pytest.approx([difference, difference / min(np.linalg.norm(x, 2), np.linalg.norm(y, 2))], rel=1e-5)
    z = z.double()
    assert negativity(z).item() == pytest.approx(np.linalg.norm(z.clamp(max=0), 2) / np.linalg.norm(z, 2))
    assert negativity(z.T).item() == pytest.approx(negativity(z).item())
    assert negativity(-torch.ones(3, 2)).item() == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectrum(torch.ones(3, 5), 4), "no 4 largest"),
        (lambda: spectrum(torch.ones(3), 1), "no 1 largest"),
        (lambda: imbalance(torch.ones(3, 5), torch.ones(4, 5)), "do not follow"),
        (lambda: linear_layers_table(nn.Flatten(), [(torch.ones(2, 3), torch.tensor([0, 1]))], 2, 1), "no linear layers"),
        (lambda: linear_layers_table(nn.Linear(3, 2), [(torch.rand(2, 3), torch.tensor([0, 1]))], 2, 2), "cannot have 2"),
        (lambda: linear_headed("mlp", (1, 8, 8), 10, 0, generator=generator()), "at least one linear layer"),
        (
            lambda: linear_headed("mlp", (1, 8, 8), 10, 1, nonlinear_layers=1, width=4, activation="tanh", generator=generator()),
            "activation",
        ),
        (lambda: linear_headed("mpl", (1, 8, 8), 10, 1, generator=generator()), "model"),
        (lambda: SmoothLeaky(1.0), "between 0 and 1"),
    ],
)
def test_hostile_inputs_get_one_clear_sentence(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert len(str(error.value).splitlines()) == 1


def test_the_table_of_layers_by_hand():
    net = linear_headed("mlp", (1, 2, 2), 3, 2, nonlinear_layers=2, width=5, activation="relu", generator=generator())
    x, labels = torch.randn(12, 1, 2, 2, generator=generator(1)), torch.arange(3).repeat(4)
    table = pd.DataFrame(linear_layers_table(net, zip(x.split(5), labels.split(5), strict=True), 3, 2)).set_index("layer")
    w = [p.detach() for p in net.parameters()]
    z = [x.flatten(1)]
    pre = []
    for i, weight in enumerate(w):
        pre.append(z[-1] @ weight.T)
        z.append(pre[-1].relu() if i < 2 else pre[-1])
    assert table.linear.tolist() == [False, False, False, True, True]
    assert table.dimension.tolist() == [4, 5, 5, 5, 3]
    for layer, features in enumerate(z):
        means = torch.stack([features[labels == c].mean(0) for c in range(3)]).double()
        assert table.kappa_means[layer] == pytest.approx(np.linalg.cond(means.numpy()), rel=1e-4)
        assert table.feature_norm[layer] == pytest.approx(np.linalg.norm(features.double().numpy(), 2), rel=1e-5)
        within = (features - means.float()[labels]).square().sum(1).mean().item()
        assert table.within[layer] == pytest.approx(within, rel=1e-4)
    for layer in (1, 2, 3):
        assert table.imbalance[layer] == pytest.approx(imbalance(w[layer], w[layer - 1])[0].item(), rel=1e-6)
        assert table.negativity[layer] == pytest.approx(negativity(pre[layer - 1]).item(), rel=1e-5)
    assert table.alignment.notna().tolist() == [False, False, False, True, False]
    assert table.alignment[3] == pytest.approx(alignment(z[3], labels, w[3]).item(), rel=1e-5)
    assert table.kappa_product[0] == pytest.approx(np.linalg.cond((w[3] @ w[2]).double().numpy()), rel=1e-4)
    assert table.residual[0] == pytest.approx((z[4] - nn.functional.one_hot(labels, 3)).norm().item(), rel=1e-5)
    assert head_spectra(net, 3, 2)[1] == pytest.approx(np.linalg.svd(w[3].numpy(), compute_uv=False).tolist(), rel=1e-5)
    assert len(net.classifier._forward_hooks) == 0


# --- networks -------------------------------------------------------------------------------------------------------------------------


def test_the_head_is_a_product_of_matrices():
    net = linear_headed("mlp", (1, 4, 4), 5, 3, nonlinear_layers=1, width=8, activation="smooth_leaky", generator=generator())
    x = torch.randn(6, 1, 4, 4, generator=generator(1))
    first, a, b, c = net.parameters()
    assert torch.allclose(net(x), SmoothLeaky()(x.flatten(1) @ first.T) @ a.T @ b.T @ c.T, atol=1e-5)
    assert all(module.bias is None for module in net.modules() if isinstance(module, nn.Linear))


def test_first_weights_are_gaussian_of_variance_one_over_inputs_and_the_seeds_own():
    build = lambda seed: linear_headed(
        "mlp", (1, 20, 20), 10, 2, nonlinear_layers=1, width=300, activation="relu", generator=generator(seed)
    )
    for weight in build(0).parameters():
        assert weight.std().item() * math.sqrt(weight.shape[1]) == pytest.approx(1, abs=0.05)
    assert all(torch.equal(a, b) for a, b in zip(build(0).parameters(), build(0).parameters(), strict=True))
    assert not torch.equal(next(build(0).parameters()), next(build(1).parameters()))


def test_a_residual_network_takes_a_head_after_pooling():
    net = linear_headed("resnet20", (1, 8, 8), 10, 3, generator=generator()).eval()
    assert net.layers[-2:] == ["linear1", "linear2"]
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 1 + 18 + 2  # 19 convolutions and the skips'; the 20th layer is linear
    x = torch.randn(20, 1, 8, 8, generator=generator())
    rows = linear_layers_table(net, [(x, torch.arange(10).repeat(2))], 10, 3)
    assert [row["dimension"] for row in rows] == [64, 64, 64, 10]
    assert torch.allclose(net(x), net.features(x) @ net.classifier.weight.T, atol=1e-5)


def test_the_smooth_activation_is_what_the_theorem_asks_for():
    x = torch.linspace(-30, 30, 2001, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(SmoothLeaky(0.2)(x).sum(), x)[0]
    assert (slope >= 0.2).all()
    assert (slope <= 1).all()
    assert (slope.diff().abs() / x.detach().diff() <= 0.8 / 4 + 1e-9).all()  # its derivative's Lipschitz constant
    assert SmoothLeaky(0.2)(torch.zeros(1)).item() == pytest.approx(0, abs=1e-7)


# --- quantities -----------------------------------------------------------------------------------------------------------------------


def run(linear=2, nonlinear=1, *, decay=2e-3, seed=0, **changed):
    """One seed's rows of one network at the epochs 0, 10, 20 and 40; `changed` sets columns of the last epoch, by name a value or a list
    over layers."""
    count, rows = nonlinear + linear, []
    for i, epoch in enumerate([0, 10, 20, 40]):
        for layer in range(count + 1):
            row = {
                "linear_layers": linear,
                "nonlinear_layers": nonlinear,
                "width": 8,
                "weight_decay": decay,
                "train_error": 0.0,
                "seed": seed,
                "epoch": epoch,
                "terminal_epoch": 10.0 if epoch >= 10 else math.nan,
                "balancing_time": [0, 1, 2, 4][i],
                "layer": layer,
                "linear": layer > nonlinear,
                "within": [1.0, 0.5, 0.1, 0.01][i],
                "between": 2.0,
                "kappa_means": 2.0,
                "weight_largest": 2.0,
                "weight_smallest": 1.0,
                "kappa_product": 2.0**linear,
                "imbalance": math.exp(-[0, 1, 2, 4][i]) if 0 < layer < count else math.nan,
                "balancedness": 0.5 if 0 < layer < count else math.nan,
                "alignment": 0.9 if layer == count - 1 else math.nan,
                "negativity": 0.4,
            }
            if epoch == 40:
                row |= {name: value[layer] if isinstance(value, list) else value for name, value in changed.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def together(*runs):
    return pd.concat(runs).sample(frac=1, random_state=0)  # the order of rows says nothing


FREE = run(decay=0.0, within=7.0, kappa_means=9.0, kappa_product=99.0, imbalance=1.0)  # no quantity of balanced runs may see it


def test_collapse_is_the_worst_of_the_balanced_heads():
    assert q.collapse(together(run(), FREE)) == pytest.approx(0.005)
    assert q.collapse(together(run(), run(linear=3, within=0.05), run(linear=1, within=3.0))) == pytest.approx(0.025)
    assert math.isnan(q.collapse(run(linear=1)))
    assert q.collapse_free(together(run(), FREE, run(linear=3, decay=0.0, within=0.5))) == 3.5
    assert math.isnan(q.collapse_free(run()))


def test_room_is_the_features_against_the_outputs():
    long = run(linear=3, within=[9, 9, 9, 0.1, 0.01], between=[9, 9, 9, 1.0, 0.2])
    assert q.room(together(run(), long, FREE)) == pytest.approx(2)
    free = run(decay=0.0, within=[9, 9, 3.0, 0.1])
    assert q.room_free(together(run(), free)) == pytest.approx(30)
    assert q.room_free(together(run(), free, run(linear=3, decay=0.0))) == pytest.approx(1)
    assert math.isnan(q.room_free(run()))


def test_no_quantity_is_taken_where_a_network_has_not_fitted():
    assert q.collapse(together(run(), run(linear=3, train_error=0.01))) > 0
    assert math.isnan(q.collapse(together(run(), run(linear=3, train_error=0.02))))
    earlier = run()
    earlier.loc[earlier.epoch < 40, "train_error"] = 0.5
    assert q.collapse(earlier) > 0


def test_conditioning_and_alignment_gained_by_layers_added():
    base, linear = run(linear=1, kappa_means=[9, 5, 1], alignment=0.7), run(linear=3, kappa_means=[9, 8, 4, 2, 1.0])
    nonlinear = run(linear=1, nonlinear=3, kappa_means=[9, 9, 9, 10, 1.0], alignment=0.5)
    rows = together(base, linear, nonlinear)
    assert q.conditioning_gain(rows) == pytest.approx(2 / 5)
    assert q.conditioning_gain_nonlinear(rows) == pytest.approx(2)
    assert q.alignment_gain(rows) == pytest.approx(0.2)
    assert q.alignment_gain_nonlinear(rows) == pytest.approx(-0.2)
    assert math.isnan(q.conditioning_gain(together(base, nonlinear)))


def test_conditioning_within_the_longest_head():
    long = run(linear=3, kappa_means=[9, 8, 4, 2, 1.0])
    assert q.conditioning_within(together(long, run(linear=1), FREE)) == pytest.approx(0.5)  # 8 -> 4 -> 2; the outputs do not count
    assert q.conditioning_within(run(linear=3, kappa_means=[9, 8, 4, 5, 1.0])) == pytest.approx(1.25)
    assert q.conditioning_within_at_start(long) == pytest.approx(1)
    assert math.isnan(q.conditioning_within(run(linear=1)))


def test_root_ratio_is_the_farthest_from_one():
    assert q.root_ratio(together(run(), run(linear=3), FREE)) == pytest.approx(1)
    assert q.root_ratio(together(run(kappa_product=4.4), run(linear=3, kappa_product=4.0))) == pytest.approx(2 / 4 ** (1 / 3))


def test_alignment_over_its_least_value():
    assert q.alignment_excess(together(run(), run(linear=3, alignment=0.85), FREE)) == pytest.approx(0.85 - 0.8)


def test_balancing_rate_is_one_under_the_law_and_none_without_a_head():
    assert q.balancing_rate(together(run(), run(linear=4), FREE)) == pytest.approx(1)
    assert q.balancing_rate(run(imbalance=[math.nan, 9, math.exp(-2.5), math.nan])) == pytest.approx(0.5)  # (2.5 - 1) over 3
    assert math.isnan(q.balancing_rate(run(linear=1)))


def test_the_rate_without_weight_decay_is_in_the_time_of_the_balanced_runs():
    free = run(decay=0.0)
    free["balancing_time"] = 0.0
    assert q.balancing_rate_free(together(run(), free)) == pytest.approx(1)  # it falls as the balanced ones do
    free["imbalance"] = free.imbalance.where(free.imbalance.isna(), 3.0)
    assert q.balancing_rate_free(together(run(), free)) == 0
    assert math.isnan(q.balancing_rate_free(run()))


def test_balance_contrast():
    assert q.balance_contrast(run(linear=3, balancedness=[math.nan, 0.5, 0.1, 0.4, math.nan])) == pytest.approx(0.2 / 0.5)
    assert math.isnan(q.balance_contrast(run(linear=1)))


def test_bound_ratio_uses_the_last_two_layers():
    rows = run(linear=2, within=[9, 0.3, 0.2, 0.1], between=[9, 9, 4.0, 2.0], imbalance=[math.nan, 9, 0.01, math.nan])
    bound = 2**2 * 0.1 / 2 + 2**2 * 0.01 * 0.3 / 2
    assert q.bound_ratio(together(rows, FREE)) == pytest.approx(bound / (0.2 / 4))


def test_floor_ratios_step_down_in_weight_decay():
    rows = together(run(within=0.4), run(decay=1e-3, within=0.2), FREE)
    assert q.floor_ratio(rows) == pytest.approx(2)
    assert q.floor_ratio_free(rows) == pytest.approx(0.2 / 7)
    assert math.isnan(q.floor_ratio(run())) and math.isnan(q.floor_ratio_free(together(run(), FREE)))


def test_nonlinear_depth():
    deep = run(nonlinear=2, balancedness=[math.nan, 0.1, 0.3, 9, math.nan], negativity=[math.nan, 0.1, 0.2, 9, 9])
    both = together(deep, run())
    assert q.depth_balancedness(both) == pytest.approx(0.2 / 0.5)
    assert q.depth_negativity(both) == pytest.approx(0.15 / 0.4)
    assert q.depth_balancedness_at_start(both) == pytest.approx(1) and q.depth_negativity_at_start(both) == pytest.approx(1)
    assert math.isnan(q.depth_negativity(deep))


# --- the experiment -------------------------------------------------------------------------------------------------------------------

PARAMETERS = {
    "dataset": ["digits"],
    "model": ["mlp"],
    "linear_layers": [1, 3],
    "nonlinear_layers": 1,
    "width": 16,
    "train_size": 20,
    "batch_size": 20,
    "epochs": 6,
    "measurements": 2,
    "learning_rate": 0.2,
    "momentum": 0.9,
    "weight_decay": 2e-3,
    "weight_decay_beside": 1e-3,
    "linear_layers_beside": 2,
    "narrow_width": 8,
    "schedule": "constant",
    "precision": "float32",
    "nonlinear_depths": [1, 2],
    "weight_decay_total": 6e-3,
    "assumed_nonlinear_layers": 1,
    "assumed_train_size": 10,
    "assumed_width": 16,
    "assumed_epochs": 5,
    "assumed_learning_rate": 0.1,
    "assumed_weight_decay": 1e-3,
    "seeds": 2,
}


def test_grids():
    runs = {name: grid(**PARAMETERS) for name, (_, grid) in chapter.TABLES.items()}
    of = lambda name, *columns: [tuple(r[c] for c in columns) for r in runs[name] if r["seed"] == 0]
    assert of("heads", "linear_layers", "weight_decay") == [(1, 2e-3), (3, 2e-3), (3, 0.0)]
    assert of("floors", "linear_layers", "weight_decay", "epochs") == [(2, 2e-3, 6), (2, 1e-3, 12), (2, 0.0, 6)]
    assert of("added", "nonlinear_layers", "linear_layers") == [(1, 1), (1, 3), (3, 1)]
    assert of("narrow", "width", "weight_decay") == [(8, 2e-3), (8, 0.0)]
    assert of("depths", "nonlinear_layers", "weight_decay") == [(1, 2e-3), (2, 1.5e-3)]
    assert of("assumed", "activation", "momentum", "batch_size") == [("smooth_leaky", 0.0, 10)] * 2
    deep = chapter.heads_grid(**{**PARAMETERS, "model": ["resnet20"]})
    assert {(r["nonlinear_layers"], r["width"], r["activation"]) for r in deep} == {(None, None, None)}


def test_a_tiny_run():
    last = chapter.floors_grid(**PARAMETERS)[0]
    table = chapter.experiment(**last)
    assert table.equals(chapter.experiment(**last))
    assert table.epoch.unique()[[0, -1]].tolist() == [0, 6]
    assert table.layer.unique().tolist() == [0, 1, 2, 3]
    assert table.balancing_time.max() == pytest.approx(6 * 2 * 0.2 * 2e-3 / 0.1)
    assert table.singular_10.notna().sum() == 2
    assert not set(table.columns) & set(last) - {"seed"}


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, 5])
def test_the_corollaries_on_a_trained_network(layers):
    """Within 2% (root), below the bounds, and at the law's rate within 10%; the labels are fitted first."""
    parameters = {
        **PARAMETERS,
        "linear_layers": [layers],
        "nonlinear_layers": 3,
        "width": 64,
        "train_size": 100,
        "batch_size": 100,
        "epochs": 800,
        "measurements": 9,
        "weight_decay": 1.6e-3,
        "seeds": 1,
    }
    table = chapter.experiment(**{**chapter.heads_grid(**parameters)[0], "seed": 2000})
    end = table[table.epoch == 800].set_index("layer")
    assert end.train_error.iloc[0] == 0
    rows = table.assign(linear_layers=layers, nonlinear_layers=3, width=64, weight_decay=1.6e-3)
    assert q.root_ratio(rows) == pytest.approx(1, abs=0.02)
    assert q.balancing_rate(rows) == pytest.approx(1, abs=0.1)
    assert q.alignment_excess(rows) > 0
    assert 1 <= q.bound_ratio(rows) < 10
    assert end.within.iloc[-2] / end.between.iloc[-2] < 0.05
