"""Rank robustness: do trained filters keep the rank of the clean data under background noise? (Zhang et al. 2025)."""

from itertools import product

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from ncbook.data import patches
from ncbook.data.border import noisy_border
from ncbook.metrics.rank import from_gram, ranks, singular_values
from ncbook.models import patch_cnn
from ncbook.models.networks import Network
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
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Ranks of filters and of data made of patches: one row a step, noise level and matrix."""
    options = {"patterns": patterns, "dimension": dimension, "noises": noises, "norm": norm}
    options |= {"background": background, "seed": seed, "device": device}
    data = patches.draw(samples=samples, split="train", **options)
    test = patches.draw(samples=test_samples, split="test", **options)
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


def directions(weights: Tensor, first: Tensor, data: patches.PatchImages) -> dict[str, list]:
    """Along which patterns the filters (R, 2m, d) lie, by energy, at each noise level (R,).

    ``signal``: the share of all energy that lies along patterns; ``one_direction``: of that, the share along each
    filter's own strongest pattern; ``chosen_at_start``: the share of filters, by energy, whose strongest pattern is the
    one of their class with which the filter started best aligned.
    """
    classes, own = data.patterns // 2, len(first) // 2
    basis = data.patches[:, : data.patterns] / data.patches[:, : data.patterns].norm(dim=-1, keepdim=True)
    along = weights @ basis.mT  # (R, 2m, 2K)
    energy = along.square()
    total = energy.sum((1, 2))
    begun = first @ basis.mT
    favourite = torch.cat([begun[:, :own, :classes].argmax(-1), classes + begun[:, own:, classes:].argmax(-1)], dim=1)
    same = along.abs().argmax(-1) == favourite
    return {
        "signal": (total / weights.square().sum((1, 2))).tolist(),
        "one_direction": (energy.amax(-1).sum(-1) / total).tolist(),
        "chosen_at_start": ((energy.sum(-1) * same).sum(-1) / total).tolist(),
    }


@takes_recipe
def images(
    recipe: Recipe,
    *,
    noise: float,
    border: int,
    pad: int,
    patch_images: int,
    spectrum: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Ranks of every convolution's filters and of what they see: one row an epoch and matrix."""
    clean = recipe.data(seed, device)
    data = noisy_border(clean, noise, border=border, pad=pad, seed=seed)
    network = recipe.network(data, seed)
    ends = [0, recipe.epochs]
    states = recipe.train(network, data, seed, measure_at=ends)
    rows, pixels = [], data.train.images.flatten(1)
    for state in states:
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
        for (matrix, layer), s in matrices.items():
            measured = ranks(s[None], spectrum=spectrum)
            rows.append(pd.DataFrame({**reached, "matrix": matrix, "layer": layer, **measured}))
    return pd.concat(rows, ignore_index=True)


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
    """Numbers of patterns at the most samples, and numbers of samples with the second number of patterns, or the only one."""
    patterns, samples = parameters["patterns"], parameters["samples"]
    middle = patterns[min(1, len(patterns) - 1)]
    arms = [{"patterns": p, "samples": n} for p, n in product(patterns, samples) if n == max(samples) or p == middle]
    return expand(generated, parameters, over=[arms], learning_rate=parameters["generated_rate"])


def images_grid(**parameters) -> list[dict]:
    """Data set × network × noise in the border × seed. MNIST has a black border already; other images get one around them."""
    sets = [{"dataset": name, "pad": 0 if name.startswith("mnist") else parameters["border"]} for name in parameters["dataset"]]
    return expand(images, parameters, over=[sets, "model", "noise"], noise=parameters["border_noises"])


TABLES = {"generated": (generated, generated_grid), "images": (images, images_grid)}  # the tables that the chapter is made of
