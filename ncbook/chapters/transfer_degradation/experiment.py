"""Transfer degradation: trained on coarse labels, what do the features still tell of the fine ones? (Hui, Belkin & Nakkiran 2022)."""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from ncbook.data.datasets import Dataset
from ncbook.errors import unknown
from ncbook.metrics.moments import ClassMoments
from ncbook.metrics.probes import probe_accuracies
from ncbook.metrics.table import collapse_table
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator
from ncbook.training.evaluate import extract_layers
from ncbook.training.recipe import Recipe, takes_recipe

LABELS = ("coarse", "fine", "random")


@takes_recipe
def experiment(recipe: Recipe, *, labels: str, every_layer: bool, blurs: list[float], seed: int, device: str = "cpu") -> pd.DataFrame:
    """Accuracy of the probes on the fine labels: one row an epoch, layer, probe and blur."""
    data = source_task(recipe, labels, seed, device)
    network = recipe.network(data, seed)
    head = {"weight": network.classifier.weight, "bias": network.classifier.bias}
    last, rows = network.layers[-1], []
    for state in recipe.train(network, data, seed):
        on_train = extract_layers(network, data.train)
        on_test = extract_layers(network, data.test)
        # earlier layers, and blurred features, are compared at the ends of the terminal phase
        ends = state.epoch in (0, state.terminal_epoch, recipe.epochs)
        for layer in network.layers if every_layer and ends else [last]:
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
    """Features (N, d) and (M, d) plus Gaussian noise, the same in all directions, that by itself makes V = `share` on the training labels
    (N,)."""
    if not share:
        return train, test
    between = ClassMoments.from_features(train, labels).between()
    size = float((share * between / train.shape[1]).sqrt())
    generator = child_generator(seed, "blur")
    noise = torch.randn(len(train) + len(test), train.shape[1], generator=generator).to(train.device) * size
    return train + noise[: len(train)], test + noise[len(train) :]


def source_task(recipe: Recipe, labels: str, seed: int, device: str) -> Dataset:
    """The data set with the labels to pre-train on: ``coarse``, ``fine``, or ``random``: as many classes as coarse, and as large, but drawn
    by lot.

    The images, and the fine labels kept beside them, are the same for all three. Raises `InputError` for another name.
    """
    if labels not in LABELS:
        raise unknown("pre-training labels", labels, LABELS)
    data = recipe.data(seed, device, coarse=labels != "fine")
    if labels != "random":
        return data
    order = torch.randperm(len(data.coarse_of_fine), generator=child_generator(seed, "random grouping"))
    grouping = data.coarse_of_fine[order.to(data.coarse_of_fine.device)]  # (fine classes,): which group each falls into
    splits = {side: replace(split, labels=grouping[split.fine_labels], clean_labels=grouping[split.fine_labels])
              for side, split in (("train", data.train), ("test", data.test))}  # fmt: skip
    names = tuple(f"random group {i + 1}" for i in range(data.num_classes))
    return replace(data, **splits, class_names=names, coarse_of_fine=grouping)


def grid(**parameters) -> list[dict]:
    """Data set × network × seed × (coarse labels at each weight decay, the other labels at the largest).

    The largest weight decay with coarse labels is the main arm: ``measurements`` epochs, every layer, and blurred features; the others have
    ``measurements_beside`` and the last layer as it is.
    """
    decays, arms = parameters["weight_decay"], []
    for labels in parameters["labels"]:
        for decay in decays if labels == "coarse" else [max(decays)]:
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
