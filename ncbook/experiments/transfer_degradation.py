"""Transfer degradation: trained on coarse labels, what do the features still tell of the fine ones? (Hui, Belkin & Nakkiran 2022)."""

from dataclasses import replace
from itertools import product

import pandas as pd
import torch
from torch import Tensor

from ncbook.data.datasets import Dataset, load
from ncbook.errors import unknown
from ncbook.metrics.table import collapse_table
from ncbook.metrics.moments import ClassMoments
from ncbook.models import build_model
from ncbook.probes import probe_accuracies
from ncbook.randomness import child_generator
from ncbook.training import extract_layers, measurement_epochs, train

LABELS = ("coarse", "fine", "random")


def experiment(
    *,
    dataset: str,
    model: str,
    labels: str,
    train_size: int | None,
    test_size: int | None,
    loss: str,
    epochs: int,
    measurements: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    schedule: str,
    precision: str,
    every_layer: bool,
    blurs: list[float],
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Accuracy of the probes on the fine labels: one row an epoch, layer, probe and blur."""
    sizes = {"train_size": train_size, "test_size": test_size}
    data = source_task(dataset, labels, **sizes, seed=seed, device=device)
    generator = child_generator(seed, "weights")
    network = build_model(model, data.image_shape, data.num_classes, generator=generator)
    network.to(device)
    head = {"weight": network.classifier.weight, "bias": network.classifier.bias}
    steps = train(
        network,
        data,
        loss=loss,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        schedule=schedule,
        precision=precision,
        measure_at=measurement_epochs(epochs, measurements),
        generator=child_generator(seed, "batches"),
    )
    last, rows = network.taps[-1], []
    for state in steps:
        on_train = extract_layers(network, data.train)
        on_test = extract_layers(network, data.test)
        # earlier layers, and blurred features, are compared at the ends of the terminal phase
        ends = state.epoch in (0, state.terminal_epoch, epochs)
        for layer in network.taps if every_layer and ends else [last]:
            h_train, h_test = on_train[layer], on_test[layer]
            collapse = collapse_table(
                (h_train, data.train.labels),
                (h_test, data.test.labels),
                **(head if layer == last else {}),
                kmeans=False,
            ).set_index("split")
            reached = {
                "epoch": state.epoch,
                "terminal_epoch": state.terminal_epoch,
                "layer": layer,
                "last_layer": layer == last,
                "source_classes": data.num_classes,
                "fine_classes": len(data.fine_class_names),
                "source_error_test": collapse.error["test"],
                "variance_ratio_train": collapse.variance_ratio["train"],
                "variance_ratio_test": collapse.variance_ratio["test"],
                "nc1_train": collapse.nc1["train"],
            }
            for blur in (0.0, *blurs) if ends and layer == last else (0.0,):
                a, b = blurred(h_train, h_test, data.train.labels, blur, seed=seed)
                accuracies = probe_accuracies(a, data.train.fine_labels, b, data.test.fine_labels)
                for probe, accuracy in accuracies.items():
                    rows.append({**reached, "blur": blur, "probe": probe, "accuracy": accuracy})
    return pd.DataFrame(rows)


def blurred(train: Tensor, test: Tensor, labels: Tensor, share: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Features (N, d) and (M, d) plus Gaussian noise, the same in all directions, that by itself makes V = `share` on the training labels (N,)."""
    if not share:
        return train, test
    between = ClassMoments.from_features(train, labels).between()
    size = float((share * between / train.shape[1]).sqrt())
    generator = child_generator(seed, "blur")
    noise = torch.randn(len(train) + len(test), train.shape[1], generator=generator).to(train.device) * size
    return train + noise[: len(train)], test + noise[len(train) :]


def source_task(name: str, labels: str, *, seed: int, **sizes) -> Dataset:
    """The data set with the labels to pre-train on: ``coarse``, ``fine``, or ``random``: as many classes as coarse, and as large, but drawn by lot.

    The images, and the fine labels kept beside them, are the same for all three. Raises `InputError` for another name.
    """
    if labels not in LABELS:
        raise unknown("pre-training labels", labels, LABELS)
    data = load(name, coarse=labels != "fine", seed=seed, **sizes)
    if labels != "random":
        return data
    order = torch.randperm(len(data.coarse_of_fine), generator=child_generator(seed, "random grouping"))
    grouping = data.coarse_of_fine[order.to(data.coarse_of_fine.device)]  # (fine classes,): which group each falls into
    splits = {side: replace(split, labels=grouping[split.fine_labels], clean_labels=grouping[split.fine_labels])
              for side, split in (("train", data.train), ("test", data.test))}  # fmt: skip
    names = tuple(f"random group {i + 1}" for i in range(data.num_classes))
    return replace(data, **splits, class_names=names, coarse_of_fine=grouping)


def grid(
    *,
    dataset: str | list[str],
    model: str | list[str],
    labels: str | list[str],
    weight_decay: float | list[float],
    measurements: int,
    measurements_beside: int,
    blurs: list[float],
    seeds: int,
    **same,
) -> list[dict]:
    """The runs: data set × network × seed × (coarse labels at each weight decay, the other labels at the largest); `same` is the same for all.

    The largest weight decay with coarse labels is the main arm: `measurements` epochs, every layer, and blurred features; the others have
    `measurements_beside` and the last layer as it is.
    """
    decays = _list(weight_decay)
    arms = [(name, w) for name in _list(labels) for w in (decays if name == "coarse" else [max(decays)])]
    runs = []
    for data, net, (name, w), seed in product(_list(dataset), _list(model), arms, range(seeds)):
        main = name == "coarse" and w == max(decays)
        runs.append(
            {
                "dataset": data,
                "model": net,
                "labels": name,
                "weight_decay": w,
                "measurements": measurements if main else measurements_beside,
                "every_layer": main,
                "blurs": blurs if main else [],
                "seed": seed,
                **same,
            }
        )
    return runs


def seconds(parameters: dict) -> float:
    """Rough time of a run on one CPU core, to train the longest first and to estimate a dry run."""
    sample = {"mlp": 2e-5, "mlp_plain": 1e-5, "mlp_wide": 6e-5, "cnn": 8e-4, "resnet18": 2e-2}.get(parameters["model"], 1e-3)
    images = parameters["train_size"] or 50_000
    probes = 2e-4 * images * (parameters["measurements"] + 6 * parameters["every_layer"] + 3 * len(parameters["blurs"]))
    return probes + parameters["epochs"] * images * sample


def _list(value) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


TABLES = {"probes": (experiment, grid)}  # the tables that the chapter is made of
