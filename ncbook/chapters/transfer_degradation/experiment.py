"""Transfer degradation: trained on coarse labels, what do the features still tell of the fine ones? (Hui, Belkin & Nakkiran 2022)."""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from ncbook.data.datasets import Dataset, Split
from ncbook.errors import unknown
from ncbook.metrics.moments import ClassMoments
from ncbook.metrics.probes import probe_accuracies
from ncbook.metrics.table import collapse_table
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator
from ncbook.training.evaluate import extract_layers
from ncbook.training.recipe import Recipe, takes_recipe
from ncbook.training.stacked import in_stacks

LABELS = ("coarse", "fine", "shuffled", "new")


@in_stacks(10)
@takes_recipe
def experiment(recipe: Recipe, *, labels: str, every_layer: bool, blurs: list[float], seed: int, device: str = "cpu") -> pd.DataFrame:
    """Accuracy of the probes on the fine labels: one row an epoch, layer, probe and blur.

    The layer ``class means`` is the last one, with each image put on the train mean nearest to it: collapsed altogether.
    """
    data, target = tasks(recipe, labels, seed, device)
    network = recipe.network(data, seed)
    head = {"weight": network.classifier.weight, "bias": network.classifier.bias}
    last, rows = network.layers[-1], []
    for state in recipe.train(network, data, seed):
        on_train, on_test = extract_layers(network, data.train), extract_layers(network, data.test)
        read = (on_train, on_test) if target is data else (extract_layers(network, target.train), extract_layers(network, target.test))
        # earlier layers, and blurred features, are compared at the ends of the terminal phase
        ends = state.epoch in (0, state.terminal_epoch, recipe.epochs)
        for layer in network.layers if every_layer and ends else [last]:
            collapse = collapse_table(
                (on_train[layer], data.train.labels),
                (on_test[layer], data.test.labels),
                **(head if layer == last else {}),
                kmeans=False,
            ).set_index("split")
            reached = {
                "epoch": state.epoch,
                "terminal_epoch": state.terminal_epoch,
                "layer": layer,
                "last_layer": layer == last,
                "source_classes": data.num_classes,
                "fine_classes": len(target.fine_class_names),
                "source_error_test": collapse.error["test"],
                "variance_ratio_train": collapse.variance_ratio["train"],
                "variance_ratio_test": collapse.variance_ratio["test"],
                "nc1_train": collapse.nc1["train"],
            }
            h_train, h_test = read[0][layer], read[1][layer]
            seen = {layer: (h_train, h_test)}
            if every_layer and layer == last and state.epoch == recipe.epochs:
                seen["class means"] = on_class_means(h_train, h_test, data.train.labels)
            for name, features in seen.items():
                for blur in (0.0, *blurs) if ends and layer == last else (0.0,):
                    a, b = blurred(*features, data.train.labels, blur, seed=seed)
                    accuracies = probe_accuracies(a, target.train.fine_labels, b, target.test.fine_labels)
                    named = reached | {"layer": name, "last_layer": name == last, "blur": blur}
                    rows += [{**named, "probe": probe, "accuracy": accuracy} for probe, accuracy in accuracies.items()]
    return pd.DataFrame(rows)


def on_class_means(train: Tensor, test: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, d) and (M, d), each replaced by the nearest mean of the classes of the training `labels` (N,)."""
    means = ClassMoments.from_features(train, labels).mean.to(train.dtype)  # (C, d)
    return tuple(means[torch.cdist(h, means).argmin(1)] for h in (train, test))


def blurred(train: Tensor, test: Tensor, labels: Tensor, share: float, *, seed: int) -> tuple[Tensor, Tensor]:
    """Features (N, d) and (M, d) plus Gaussian noise, the same in all directions, that by itself makes V = `share` on the training labels
    (N,)."""
    if not share:
        return train, test
    between = ClassMoments.from_features(train, labels).between()
    size = float((share * between / train.shape[1]).sqrt())
    generator = child_generator(seed, "blur")
    noise = torch.randn(len(train) + len(test), train.shape[1], generator=generator).to(train.device) * size
    return train + noise[: len(train)], test + noise[len(train) :]


def tasks(recipe: Recipe, labels: str, seed: int, device: str) -> tuple[Dataset, Dataset]:
    """The data set to pre-train on, and the one whose fine labels are then read from the features. `InputError` for other `labels`.

    They are one for ``coarse`` labels, for ``fine`` ones and for coarse ones ``shuffled`` over the training images. With ``new`` the
    network learns the fine classes of the first half of the coarse ones, and those of the other half, which it has never seen, are read.
    """
    if labels not in LABELS:
        raise unknown("pre-training labels", labels, LABELS)
    data = recipe.data(seed, device, coarse=labels != "fine")
    if labels == "new":
        first = data.coarse_of_fine < data.num_classes // 2  # (fine classes,)
        return of_classes(data, first), of_classes(data, ~first)
    if labels == "shuffled":
        order = torch.randperm(len(data.train), generator=child_generator(seed, "shuffled labels")).to(data.train.labels.device)
        data = replace(data, train=replace(data.train, labels=data.train.labels[order]))
    return data, data


def of_classes(data: Dataset, kept: Tensor) -> Dataset:
    """The images of some fine classes, those that are true in `kept` (fine classes,), with these classes for labels, numbered anew."""
    number = kept.cumsum(0) - 1

    def part(split: Split) -> Split:
        rows = kept[split.fine_labels]
        labels = number[split.fine_labels[rows]]
        of_rows = {"images": split.images[rows], "index": split.index[rows]}
        return replace(split, **of_rows, labels=labels, clean_labels=labels, fine_labels=labels)

    names = tuple(name for name, keep in zip(data.fine_class_names, kept.tolist(), strict=True) if keep)
    sides = {"train": part(data.train), "test": part(data.test)}
    return replace(data, **sides, num_classes=len(names), class_names=names, fine_class_names=names, coarse_of_fine=None)


def grid(**parameters) -> list[dict]:
    """Data set × network × seed × (coarse and fine labels at each weight decay, the other labels at the largest).

    The largest weight decay with coarse labels is the main arm: ``measurements`` epochs, every layer, and blurred features; the others have
    ``measurements_beside`` and the last layer as it is.
    """
    decays, arms = parameters["weight_decay"], []
    for labels in parameters["labels"]:
        for decay in decays if labels in ("coarse", "fine") else [max(decays)]:
            main = labels == "coarse" and decay == max(decays)
            arms.append(
                {
                    "labels": labels,
                    "weight_decay": decay,
                    "measurements": parameters["measurements" if main else "measurements_beside"],
                    "every_layer": main,
                    "blurs": parameters["blurs"] if main else [],
                }
            )
    return expand(experiment, parameters, over=["dataset", "model", arms])


TABLES = {"probes": (experiment, grid)}  # the tables that the chapter is made of
