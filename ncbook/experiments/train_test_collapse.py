"""Train versus test collapse: one network, measured on both splits as training goes on (Hui, Belkin & Nakkiran 2022)."""

from itertools import product
from math import ceil

import pandas as pd

from ncbook.data.datasets import load
from ncbook.errors import InputError, unknown
from ncbook.metrics.table import collapse_table
from ncbook.models import build_model
from ncbook.randomness import child_generator
from ncbook.training import extract, measurement_epochs, train


def experiment(
    *,
    dataset: str,
    model: str,
    loss: str,
    train_size: int,
    epochs: int,
    measurements: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    schedule: str,
    augment: str | None,
    precision: str,
    common_size: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Collapse of the last-layer features: one row an epoch and split."""
    data = load(dataset, train_size=train_size, seed=seed, device=device)
    generator = child_generator(seed, "weights")
    network = build_model(model, data.image_shape, data.num_classes, generator=generator).to(device)
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
    # sets of different size are compared, at the end, at one number of samples a class
    fewest = int(data.test.labels.bincount().min())
    common_n = min(common_size // data.num_classes, fewest)
    rows = []
    for state in steps:
        table = collapse_table(
            (extract(network, data.train), data.train.labels),
            (extract(network, data.test), data.test.labels),
            weight=network.classifier.weight,
            bias=network.classifier.bias,
            common_n=common_n if state.epoch == epochs else None,
        )
        table["epoch"], table["training_loss"] = state.epoch, state.loss
        rows.append(table.assign(terminal_epoch=state.terminal_epoch))
    return pd.concat(rows, ignore_index=True)


def grid(
    *,
    dataset: str | list[str],
    model: str | list[str],
    loss: str | list[str],
    train_size: int | list[int],
    equal: str,
    epochs: int,
    learning_rate_cross_entropy: float,
    learning_rate_squared: float,
    weight_decay_cross_entropy: float,
    weight_decay_squared: float,
    seeds: int,
    **same,
) -> list[dict]:
    """The runs: data set × network × loss × training-set size × seed, each one value or a list; `same` is the same for all.

    `epochs` is for the largest training set; smaller ones train for as many steps (``equal="steps"``) or epochs (``equal="epochs"``).
    """
    if equal not in ("steps", "epochs"):
        raise InputError(f"equal={equal!r}: training sets of different size get equal 'steps' or equal 'epochs'.")
    # the squared loss is a mean over classes: its gradient is smaller by about their number, so the two need settings of their own
    rates = {"cross_entropy": learning_rate_cross_entropy, "squared": learning_rate_squared}
    decays = {"cross_entropy": weight_decay_cross_entropy, "squared": weight_decay_squared}
    sizes = _list(train_size)
    batches = {n: ceil(n / same["batch_size"]) for n in sizes}  # an epoch
    measurements = same.pop("measurements")
    runs = []
    for data, net, objective, n, seed in product(_list(dataset), _list(model), _list(loss), sizes, range(seeds)):
        if objective not in rates:
            raise unknown("loss", objective, rates)
        runs.append(
            {
                "dataset": data,
                "model": net,
                "loss": objective,
                "train_size": n,
                "epochs": round(epochs * batches[max(sizes)] / batches[n]) if equal == "steps" else epochs,
                "learning_rate": rates[objective],
                "weight_decay": decays[objective],
                "measurements": measurements if n == max(sizes) else 1,  # of the smaller sets only the end is shown
                "common_size": min(sizes),
                "seed": seed,
                **same,
            }
        )
    return runs


def seconds(parameters: dict) -> float:
    """Rough time of a run on one CPU core, to train the longest first and to estimate a dry run."""
    sample = {"mlp": 2e-5, "mlp_plain": 1e-5, "mlp_wide": 6e-5, "cnn": 8e-4, "resnet18": 2e-2}.get(parameters["model"], 1e-3)  # trained on
    return 0.1 * parameters["measurements"] + parameters["epochs"] * parameters["train_size"] * sample


def _list(value) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


TABLES = {"collapse": (experiment, grid)}  # the tables that the chapter is made of
