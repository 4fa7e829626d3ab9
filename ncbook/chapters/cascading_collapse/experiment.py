"""Cascading collapse: every layer of one network, on both splits, as training goes on (Hui et al. 2022; He & Su 2023)."""

from itertools import product

import pandas as pd
from torch import Tensor

from ncbook.data.datasets import load
from ncbook.data.presets import spec
from ncbook.metrics.layers import layer_table
from ncbook.models.networks import Network, build_model, vectors
from ncbook.seeds import child_generator
from ncbook.training.loop import measurement_epochs, train


def experiment(
    *,
    dataset: str,
    model: str,
    train_size: int,
    test_size: int | None,
    epochs: int,
    measurements: int,
    loss: str,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    schedule: str,
    augment: str | None,
    precision: str,
    measure_batch: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Collapse of all layers: one row an epoch, split, layer and way to read it."""
    data = load(dataset, train_size=train_size, test_size=test_size, seed=seed, device=device)
    generator = child_generator(seed, "weights")
    network = build_model(model, data.image_shape, data.num_classes, generator=generator)
    network = network.to(device)
    steps = train(
        network,
        data,
        loss=loss,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        schedule=schedule,
        augment=augment,
        precision=precision,
        measure_at=measurement_epochs(epochs, measurements),
        generator=child_generator(seed, "batches"),
    )
    rows = []
    for state in steps:  # epoch 0 is the untrained network
        table = layer_table(
            lambda x: readings(network, x),
            lambda: data.train.batches(measure_batch),
            lambda: data.test.batches(measure_batch),
            num_classes=data.num_classes,
        )
        places = pd.DataFrame(table.pop("layer").tolist(), columns=PLACE)
        reached = {"epoch": state.epoch, "terminal_epoch": state.terminal_epoch}
        rows.append(pd.concat([places, table], axis=1).assign(**reached))
    return pd.concat(rows, ignore_index=True)


PLACE = ["depth", "layer", "activation", "pooling"]


def readings(network: Network, x: Tensor) -> dict[tuple[int, str, str, str], Tensor]:
    """The features (B, d) of a batch at every layer, in every way to read it.

    Keys are (depth, layer, "pre" or "post", "flattened" or "pooled"). Depth counts from 1; the input is
    depth 0 of both flattened readings. Layers that give vectors have nothing to pool.
    """
    pixels = x.flatten(1)
    found = {(0, "input", activation, "flattened"): pixels for activation in ("pre", "post")}
    depth = {tap: i for i, tap in enumerate(network.taps, start=1)}
    for (tap, activation), maps in network.activations(x).items():
        found[depth[tap], tap, activation, "flattened"] = vectors(maps, pooled=False)
        if maps.ndim == 4:
            found[depth[tap], tap, activation, "pooled"] = vectors(maps, pooled=True)
    return found


def grid(*, dataset: str | list[str], model: str | list[str], seeds: int, **same) -> list[dict]:
    """The runs: data set × network × seed, the first two one value or a list; `same` is the same for all."""
    sets, models = ([value] if isinstance(value, str) else value for value in (dataset, model))
    return [{"dataset": d, "model": m, "seed": seed, **same} for d, m, seed in product(sets, models, range(seeds))]


def seconds(parameters: dict) -> float:
    """Rough time of a run on one CPU core, to train the longest first and to estimate a dry run."""
    side = spec(parameters["dataset"]).image_shape[1]
    sample = {"cnn_deep": 1.3e-3, "resnet_small": 3e-3, "resnet18": 2e-2}  # trained on once, at 28 x 28 pixels
    image = sample[parameters["model"]] * max(0.1, (side / 28) ** 2) if parameters["model"] in sample else 7e-5
    # all layers in all readings, on two splits and in two passes, cost about four epochs
    return (parameters["epochs"] + 4 * parameters["measurements"]) * parameters["train_size"] * image


TABLES = {"layers": (experiment, grid)}  # the tables that the chapter is made of
