"""New chapter: the features of one network, measured on both splits as training goes on."""

from itertools import product

import pandas as pd

from ncbook.data.datasets import load
from ncbook.metrics.measure import collapse_table
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.training.loop import extract, measurement_epochs, train


def experiment(
    *,
    dataset: str,
    model: str,
    train_size: int,
    epochs: int,
    measurements: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Collapse of the last-layer features: one row an epoch and split."""
    data = load(dataset, train_size=train_size, seed=seed, device=device)
    network = build_model(model, data.image_shape, data.num_classes, generator=child_generator(seed, "weights")).to(device)
    rows = []
    for state in train(
        network,
        data,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        measure_at=measurement_epochs(epochs, measurements),
        generator=child_generator(seed, "batches"),
    ):
        table = collapse_table(
            (extract(network, data.train), data.train.labels),
            (extract(network, data.test), data.test.labels),
            weight=network.classifier.weight,
            bias=network.classifier.bias,
            kmeans=False,
        )
        columns = table[["split", "error", "variance_ratio", "nc1"]]
        rows.append(columns.assign(epoch=state.epoch, terminal_epoch=state.terminal_epoch))
    return pd.concat(rows, ignore_index=True)


def grid(*, dataset: list[str], model: list[str], seeds: int, **same) -> list[dict]:
    """The runs: data set × network × seed; `same` is the same for all."""
    return [{"dataset": d, "model": m, "seed": seed, **same} for d, m, seed in product(dataset, model, range(seeds))]


TABLES = {"collapse": (experiment, grid)}  # the tables that the chapter is made of
