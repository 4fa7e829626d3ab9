"""Rank robustness: do trained filters keep the rank of the clean data under background noise? (Zhang et al. 2025)."""

from itertools import product

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from ncbook.data import patches
from ncbook.data.border import noisy_border
from ncbook.data.datasets import Split, load
from ncbook.data.presets import spec
from ncbook.metrics.rank import from_gram, ranks, singular_values
from ncbook.models.networks import Network, build_model
from ncbook.models.patch_cnn import accuracy
from ncbook.seeds import child_generator
from ncbook.training.loop import train
from ncbook.training.patch_descent import descend


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
    learning_rate: float,
    test_samples: int,
    spectrum: int,
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
            "test_accuracy": accuracy(weights, test, **activation).tolist(),
            **directions(weights, first, data),
        }
        matrices = {"filters": weights}
        if step == 0:
            matrices["patches"] = data.rows()
        for name, matrix in matrices.items():
            found = ranks(singular_values(matrix), spectrum=spectrum)
            rows.append(pd.DataFrame({**reached, "matrix": name, **found}))
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


def images(
    *,
    dataset: str,
    model: str,
    noise: float,
    border: int,
    pad: int,
    train_size: int,
    test_size: int | None,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    schedule: str,
    patch_images: int,
    spectrum: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Ranks of every convolution's filters and of what they see: one row an epoch and matrix."""
    clean = load(dataset, train_size=train_size, test_size=test_size, seed=seed, device=device)
    data = noisy_border(clean, noise, border=border, pad=pad, seed=seed)
    generator = child_generator(seed, "weights")
    network = build_model(model, data.image_shape, data.num_classes, generator=generator)
    network = network.to(device)
    states = train(
        network,
        data,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        schedule=schedule,
        measure_at=[0, epochs],
        generator=child_generator(seed, "batches"),
    )
    rows, pixels = [], data.train.images.flatten(1)
    for state in states:
        if state.epoch not in (0, epochs):
            continue  # where the terminal phase begins
        reached = {
            "epoch": state.epoch,
            "train_loss": state.loss,
            "test_accuracy": test_accuracy(network, data.test),
        }
        matrices = filters_and_patches(network, data.train.images[:patch_images])
        if state.epoch == 0:
            matrices["images", 0] = singular_values(pixels)
            matrices["images, centred", 0] = singular_values(pixels - pixels.mean(0))
        for (matrix, layer), s in matrices.items():
            found = ranks(s[None], spectrum=spectrum)
            rows.append(pd.DataFrame({**reached, "matrix": matrix, "layer": layer, **found}))
    return pd.concat(rows, ignore_index=True)


@torch.no_grad()
def filters_and_patches(network: Network, x: Tensor) -> dict[tuple[str, int], Tensor]:
    """Singular values of each convolution's filters, one a row, and of the patches of images `x` that they see: {(matrix, layer): s}.

    Layers count from 1, in the order in which the network holds them.
    """
    found, seen = {}, {}
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(lambda module, inputs: seen.update({module: inputs[0]})) for layer in layers]
    network(x)
    for number, (layer, hook) in enumerate(zip(layers, hooks, strict=True), start=1):
        hook.remove()
        found["filters", number] = singular_values(layer.weight.flatten(1))
        # (n, in k k, positions), summed over images and positions
        columns = unfold(seen[layer], layer.kernel_size, padding=layer.padding, stride=layer.stride)
        found["patches", number] = from_gram(torch.einsum("nap,nbp->ab", columns, columns))
    return found


@torch.no_grad()
def test_accuracy(network: Network, split: Split) -> float:
    """Share of a split that the network, in eval mode, tells right."""
    right = sum((network(x).argmax(1) == y).sum() for x, y in split.batches(1024))
    return int(right) / len(split)


GENERATED = ("noises", "dimension", "norm", "background", "filters", "start", "power", "threshold", "steps", "test_samples", "spectrum")


def generated_grid(*, patterns: list[int], samples: list[int], generated_rate: float, seeds: int, **same) -> list[dict]:
    """Numbers of patterns at the most samples, and numbers of samples with the second number of patterns, or the only one."""
    middle = patterns[min(1, len(patterns) - 1)]
    arms = [(p, n) for p, n in product(patterns, samples) if n == max(samples) or p == middle]
    given = {name: same[name] for name in GENERATED} | {"learning_rate": generated_rate}
    return [{"patterns": p, "samples": n, **given, "seed": seed} for (p, n), seed in product(arms, range(seeds))]


IMAGES = ("border", "train_size", "test_size", "epochs", "learning_rate", "weight_decay", "batch_size", "schedule")


def images_grid(*, dataset: list[str], model: list[str], border_noises: list[float], seeds: int, **same) -> list[dict]:
    """Data set × network × noise in the border × seed. MNIST has a black border already; other images get one around them."""
    given = {name: same[name] for name in (*IMAGES, "patch_images", "spectrum")}
    pads = {d: 0 if d.startswith("mnist") else same["border"] for d in dataset}
    arms = product(dataset, model, border_noises, range(seeds))
    return [{"dataset": d, "model": m, "noise": s, "pad": pads[d], **given, "seed": seed} for d, m, s, seed in arms]


def seconds(parameters: dict) -> float:
    """Rough time of a run on one CPU core."""
    if "patterns" in parameters:
        known = parameters["patterns"] + parameters["samples"] * parameters["background"]
        step = 4e-11 * known * (known + 400) * parameters["filters"]
        return 0.1 + len(parameters["noises"]) * parameters["steps"] * step
    image = {"two_layer": 8e-5, "cnn": 5e-4, "cnn_deep": 1.1e-3, "resnet_small": 3e-3}.get(parameters["model"], 2e-2)
    size = ((spec(parameters["dataset"]).image_shape[1] + 2 * parameters["pad"]) / 28) ** 2
    return 0.3 + parameters["epochs"] * parameters["train_size"] * image * size


TABLES = {"generated": (generated, generated_grid), "images": (images, images_grid)}  # the tables that the chapter is made of
