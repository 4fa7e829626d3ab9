"""Rank robustness: do trained filters keep the rank of the clean data under background noise? (Zhang et al. 2025)."""

from dataclasses import replace
from functools import partial
from itertools import product

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from ncbook.data import patches
from ncbook.data.border import noisy_border
from ncbook.metrics.intrinsic import two_nearest
from ncbook.metrics.rank import from_gram, ranks, singular_values
from ncbook.models import patch_cnn
from ncbook.models.networks import Network, build_model
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator
from ncbook.training.evaluate import accuracy
from ncbook.training.patch_descent import descend
from ncbook.training.recipe import Recipe, takes_recipe


def generated(
    *,
    patterns: int,
    samples: int,
    noises: list[float],
    dimension: int,
    norm: float,
    background: int,
    filters: int,
    start: float,
    power: float,
    threshold: float,
    steps: int,
    test_samples: int,
    spectrum: int,
    learning_rate: float,
    shuffled: bool,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Ranks of filters and of data made of patches: one row a step, noise level and matrix. `shuffled`: training labels are permuted."""
    options = {"patterns": patterns, "dimension": dimension, "noises": noises, "norm": norm}
    options |= {"background": background, "seed": seed, "device": device}
    data = patches.draw(samples=samples, split="train", **options)
    test = patches.draw(samples=test_samples, split="test", **options)
    if shuffled:
        data = replace(data, labels=permuted(data.labels, seed))
    activation = {"power": power, "threshold": threshold}
    generator = child_generator(seed, "weights")
    first = start * torch.randn(2 * filters, dimension, generator=generator).to(device)
    states = descend(
        data,
        first,
        steps=steps,
        learning_rate=learning_rate,
        measure_at=[0, steps],
        **activation,
    )
    rows = []
    for step, weights, loss in states:
        reached = {
            "step": step,
            "noise": noises,
            "train_loss": loss.tolist(),
            "test_accuracy": patch_cnn.accuracy(weights, test, **activation).tolist(),
            **directions(weights, first, data),
        }
        matrices = {"filters": weights}
        if step == 0:
            matrices["patches"] = data.rows()
        for name, matrix in matrices.items():
            measured = ranks(singular_values(matrix), spectrum=spectrum)
            rows.append(pd.DataFrame({**reached, "matrix": name, **measured}))
    return pd.concat(rows, ignore_index=True)


def permuted(labels: Tensor, seed: int) -> Tensor:
    """Labels (N,) in a random order: a network can then fit them by heart only."""
    return labels[torch.randperm(len(labels), generator=child_generator(seed, "shuffled labels")).to(labels.device)]


def directions(weights: Tensor, first: Tensor, data: patches.PatchImages) -> dict[str, list]:
    """Along which patterns the filters (R, 2m, d) lie, by energy, at each noise level (R,).

    ``signal``: the share of all energy that lies along patterns; ``one_direction``: of that, the share along each
    filter's own strongest pattern; ``chosen_at_start``: the share of filters, by energy, whose strongest pattern is the
    one of their class with which the filter started best aligned, and ``chosen_by_another`` the same with the start of any filter of
    their class in its place, on average.
    """
    classes, own = data.patterns // 2, len(first) // 2
    basis = data.patches[:, : data.patterns] / data.patches[:, : data.patterns].norm(dim=-1, keepdim=True)
    along = weights @ basis.mT  # (R, 2m, 2K)
    energy = along.square()
    total = energy.sum((1, 2))
    begun = first @ basis.mT
    favourite = torch.cat([begun[:, :own, :classes].argmax(-1), classes + begun[:, own:, classes:].argmax(-1)], dim=1)
    chosen = along.abs().argmax(-1)
    often = torch.nn.functional.one_hot(favourite, data.patterns).float().mean(1) * 2  # how many of the class favour each pattern
    return {
        "signal": (total / weights.square().sum((1, 2))).tolist(),
        "one_direction": (energy.amax(-1).sum(-1) / total).tolist(),
        "chosen_at_start": ((energy.sum(-1) * (chosen == favourite)).sum(-1) / total).tolist(),
        "chosen_by_another": ((energy.sum(-1) * often.gather(1, chosen)).sum(-1) / total).tolist(),
    }


@takes_recipe
def images(
    recipe: Recipe,
    *,
    noise: float,
    border: int,
    pad: int,
    filter_start: float,
    shuffled: bool,
    patch_images: int,
    spectrum: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Ranks of every convolution's filters and of what they see: one row an epoch and matrix.

    The initial filters have the deviation `filter_start` over the side of a filter; `shuffled`: the training labels are permuted.
    """
    data = noisy_border(recipe.data(seed, device), noise, border=border, pad=pad, seed=seed)
    if shuffled:
        data = replace(data, train=replace(data.train, labels=permuted(data.train.labels, seed)))
    network = recipe.network(data, seed, partial(build_model, start=filter_start))
    ends = [0, recipe.epochs]
    rows, pixels = [], data.train.images.flatten(1)
    for state in recipe.train(network, data, seed, measure_at=ends):
        if state.epoch not in ends:
            continue  # where the terminal phase begins
        reached = {
            "epoch": state.epoch,
            "train_loss": state.loss,
            "test_accuracy": accuracy(network, data.test),
        }
        matrices = filters_and_patches(network, data.train.images[:patch_images])
        if state.epoch == 0:
            matrices["images", 0] = singular_values(pixels)
            matrices["images, centred", 0] = singular_values(pixels - pixels.mean(0))
            # of points, not of a matrix, and the same whatever the filters are: the rows of the data before training have it
            dimension = {"images": two_nearest(pixels), "patches": two_nearest(some_patches(network, data.train.images[:patch_images]))}
        for (matrix, layer), s in matrices.items():
            measured = ranks(s[None], spectrum=spectrum)
            intrinsic = dimension.get(matrix, float("nan")) if state.epoch == 0 else float("nan")
            rows.append(pd.DataFrame({**reached, "matrix": matrix, "layer": layer, "intrinsic": intrinsic, **measured}))
    return pd.concat(rows, ignore_index=True)


MOST_POINTS = 1500  # distances of all pairs of points are taken


def some_patches(network: Network, x: Tensor) -> Tensor:
    """Patches of images `x` that the first convolution sees, at most 1500 of them at equal distances: (p, in k k)."""
    layer = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    cut = unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride).mT.flatten(0, 1)
    return cut[torch.linspace(0, len(cut) - 1, min(len(cut), MOST_POINTS)).long()]


@torch.no_grad()
def filters_and_patches(network: Network, x: Tensor) -> dict[tuple[str, int], Tensor]:
    """Singular values of each convolution's filters, one a row, and of the patches of images `x` that they see: {(matrix, layer): s}.

    Layers count from 1, in the order in which the network holds them.
    """
    spectra, inputs_of = {}, {}
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(lambda module, inputs: inputs_of.update({module: inputs[0]})) for layer in layers]
    network(x)
    for number, (layer, hook) in enumerate(zip(layers, hooks, strict=True), start=1):
        hook.remove()
        spectra["filters", number] = singular_values(layer.weight.flatten(1))
        # (n, in k k, positions), summed over images and positions
        columns = unfold(inputs_of[layer], layer.kernel_size, padding=layer.padding, stride=layer.stride)
        spectra["patches", number] = from_gram(torch.einsum("nap,nbp->ab", columns, columns))
    return spectra


def generated_grid(**parameters) -> list[dict]:
    """Numbers of patterns at the most samples, and numbers of samples with the fewest patterns that make two a class, or the most."""
    patterns, samples, middle = parameters["patterns"], parameters["samples"], several(parameters["patterns"])
    arms = [{"patterns": p, "samples": n} for p, n in product(patterns, samples) if n == max(samples) or p == middle]
    return expand(generated, parameters, over=[arms], learning_rate=parameters["generated_rate"], shuffled=False)


def controls_grid(**parameters) -> list[dict]:
    """Filters that start large, at a few levels of noise, and shuffled labels at the most noise."""
    most = max(parameters["noises"])
    large = {"start": parameters["large_start"], "noises": [0.0, 2.0, most], "shuffled": False}
    by_heart = {"start": parameters["start"], "noises": [most], "shuffled": True}
    fixed = {"samples": max(parameters["samples"]), "learning_rate": parameters["generated_rate"]}
    return expand(generated, parameters, over=["patterns", [large, by_heart]], **fixed)


def laws_grid(**parameters) -> list[dict]:
    """Where filters fail with another activation, and with as many images a pattern whatever their number."""
    other = {"power": parameters["other_power"], "patterns": several(parameters["patterns"]), "noises": parameters["other_noises"]}
    activation = [other | {"samples": n} for n in parameters["samples"]]
    each = parameters["samples_each"]
    near = [r for r in parameters["noises"] if r < 2 * each ** (1 / parameters["power"])]
    usual = {"power": parameters["power"], "noises": near}
    ratio = [usual | {"patterns": p, "samples": each * p} for p in parameters["patterns_each"]]
    return expand(generated, parameters, over=[activation + ratio], learning_rate=parameters["generated_rate"], shuffled=False)


def several(patterns: list[int]) -> int:
    """The fewest patterns that make two or more a class; the most where none does."""
    return min([p for p in patterns if p > 2], default=max(patterns))


def images_grid(**parameters) -> list[dict]:
    """Data set × noise in the border × size of the first filters × seed, and shuffled labels at the most noise. MNIST has a black border
    already; other images get one around them."""
    sets = [{"dataset": name, "pad": 0 if name.startswith("mnist") else parameters["border"]} for name in parameters["dataset"]]
    noises, sizes = parameters["border_noises"], parameters["filter_starts"]
    arms = [{"noise": r, "filter_start": size, "shuffled": False} for r, size in product(noises, sizes)]
    arms.append({"noise": max(noises), "filter_start": min(sizes), "shuffled": True})
    return expand(images, parameters, over=[sets, arms], model="two_layer")


# the tables that the chapter is made of
TABLES = {
    "generated": (generated, generated_grid),
    "controls": (generated, controls_grid),
    "laws": (generated, laws_grid),
    "images": (images, images_grid),
}
