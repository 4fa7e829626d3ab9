"""Wide networks that end in linear layers, trained with weight decay: do they collapse because they balance? (Jacot et al. 2024)."""

from itertools import product

import pandas as pd

from ncbook.data.datasets import load
from ncbook.metrics.linear_head import head_spectra, linear_layers_table
from ncbook.models.linear_heads import linear_headed
from ncbook.seeds import child_generator
from ncbook.training.loop import SCHEDULES, measurement_epochs, train


def experiment(
    *,
    dataset: str,
    model: str,
    nonlinear_layers: int | None,
    linear_layers: int,
    width: int | None,
    activation: str | None,
    train_size: int | None,
    batch_size: int,
    epochs: int,
    measurements: int,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    schedule: str,
    precision: str,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Every linear layer of one network through training: one row an epoch and layer."""
    data = load(dataset, train_size=train_size, seed=seed, device=device)
    network = linear_headed(
        model,
        data.image_shape,
        data.num_classes,
        linear_layers,
        nonlinear_layers=nonlinear_layers,
        width=width,
        activation=activation,
        generator=child_generator(seed, "weights"),
    ).to(device)
    steps = train(
        network,
        data,
        loss="squared",
        epochs=epochs,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        batch_size=batch_size,
        schedule=schedule,
        precision=precision,
        measure_at=measurement_epochs(epochs, measurements),
        generator=child_generator(seed, "batches"),
    )
    # one unit: the time in which weight decay by itself makes an imbalance e times smaller
    per_epoch = -(-len(data.train) // batch_size) * 2 * weight_decay * learning_rate / (1 - momentum)
    shares = [SCHEDULES[schedule](epoch / epochs) for epoch in range(epochs)]
    rows = []
    for state in steps:
        reached = {
            "epoch": state.epoch,
            "terminal_epoch": state.terminal_epoch,
            "balancing_time": per_epoch * sum(shares[: state.epoch]),
            "loss": state.loss,
            "train_error": state.train_error,
        }
        batches = data.train.batches(1024)
        rows += [reached | row for row in linear_layers_table(network, batches, data.num_classes, linear_layers)]
    # the singular values of the head, at the last epoch only
    spectra = head_spectra(network, data.num_classes, linear_layers)
    for row, values in zip(rows[-linear_layers:], spectra, strict=True):
        row |= {f"singular_{k}": value for k, value in enumerate(values, 1)}
    return pd.DataFrame(rows)


def heads_grid(
    *,
    dataset: list[str],
    model: list[str],
    nonlinear_layers: int,
    linear_layers: list[int],
    weight_decay: float,
    weight_decay_beside: float,
    linear_layers_beside: int,
    seeds: int,
    **same,
) -> list[dict]:
    """Linear layers × seed at one weight decay, and one number of linear layers at another, for each data set and network."""
    arms = [(n, weight_decay) for n in linear_layers] + [(linear_layers_beside, weight_decay_beside)]
    return [
        _run(same, dataset=data, model=net, nonlinear_layers=nonlinear_layers, linear_layers=n, weight_decay=decay, seed=seed)
        for data, net, (n, decay), seed in product(dataset, model, arms, range(seeds))
    ]


def depths_grid(
    *, dataset: list[str], nonlinear_depths: list[int], linear_layers_beside: int, weight_decay_total: float, seeds: int, **same
) -> list[dict]:
    """MLPs with more and fewer nonlinear layers; the weight decay is a total shared out among all layers, as in the paper."""
    n = linear_layers_beside
    return [
        _run(same, dataset=data, model="mlp", nonlinear_layers=m, linear_layers=n, weight_decay=weight_decay_total / (m + n), seed=seed)
        for data, m, seed in product(dataset, nonlinear_depths, range(seeds))
    ]


def assumed_grid(
    *,
    dataset: list[str],
    assumed_nonlinear_layers: int,
    linear_layers_beside: int,
    assumed_train_size: int,
    assumed_width: int,
    assumed_epochs: int,
    assumed_learning_rate: float,
    assumed_weight_decay: float,
    seeds: int,
    **same,
) -> list[dict]:
    """MLPs as the theorem has them: smooth activation, no layer narrower than the data set is large, all images a step, no momentum."""
    theirs = {
        "nonlinear_layers": assumed_nonlinear_layers,
        "linear_layers": linear_layers_beside,
        "activation": "smooth_leaky",
        "train_size": assumed_train_size,
        "batch_size": assumed_train_size,
        "width": assumed_width,
        "epochs": assumed_epochs,
        "learning_rate": assumed_learning_rate,
        "momentum": 0.0,
        "weight_decay": assumed_weight_decay,
        "schedule": "constant",
    }
    return [_run(same, dataset=data, model="mlp", seed=seed, **theirs) for data, seed in product(dataset, range(seeds))]


SAME = ("train_size", "batch_size", "width", "epochs", "measurements", "learning_rate", "momentum", "schedule", "precision")


def _run(same: dict, **own) -> dict:
    run = {"activation": "relu", **{name: same[name] for name in SAME if name not in own}, **own}
    return run if run["model"] == "mlp" else run | {"nonlinear_layers": None, "width": None, "activation": None}


def seconds(parameters: dict) -> float:
    """Rough time of a run on one CPU core."""
    images = parameters["train_size"] or 50_000
    steps = parameters["epochs"] * -(-images // parameters["batch_size"])
    measured = 0.04 * parameters["measurements"]
    if parameters["model"] != "mlp":
        return measured + parameters["epochs"] * images * 5e-3
    layers, width = parameters["nonlinear_layers"] + parameters["linear_layers"], parameters["width"]
    pixels = {"digits": 64, "cifar10": 3072, "cifar100": 3072}.get(parameters["dataset"], 784)
    products = parameters["batch_size"] * width * (4 * pixels + 6 * layers * width)  # operations in a step
    return measured + steps * (8e-4 + 5e-5 * layers + products / 6e10)


TABLES = {
    "heads": (experiment, heads_grid),
    "depths": (experiment, depths_grid),
    "assumed": (experiment, assumed_grid),
}
