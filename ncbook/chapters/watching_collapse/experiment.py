"""Watching collapse: where the features of a few images lie in one fixed plane, as one network is trained."""

import pandas as pd
import torch
from torch import Tensor

from ncbook.metrics.table import collapse_table
from ncbook.runs.grid import expand
from ncbook.training.evaluate import extract
from ncbook.training.recipe import Recipe, takes_recipe

DECIMALS = 4  # of a coordinate, where the final class means have length 1: far less than a pixel


@takes_recipe
def experiment(recipe: Recipe, *, classes: list[int], per_class: int, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Last-layer features of images of three classes, in the plane of these classes' final train means: one row an image and epoch.

    `per_class` images are taken of each class and split, the first ones. The projection is linear, chosen once, after training,
    and the same for both splits. Beside the points stand error and V of all classes.
    """
    data, network, states = recipe.start(seed, device)
    splits = {"train": data.train, "test": data.test}
    chosen = {name: _first(split.labels, classes, per_class) for name, split in splits.items()}
    kept = []
    for state in states:
        features = {name: extract(network, split) for name, split in splits.items()}
        measured = collapse_table(
            *((features[name], splits[name].labels) for name in splits),
            weight=network.classifier.weight,
            bias=network.classifier.bias,
            kmeans=False,
        ).set_index("split")
        for name, split in splits.items():
            points = features[name][chosen[name]]
            table = pd.DataFrame({"split": name, "epoch": state.epoch, "label": split.labels[chosen[name]].tolist()})
            table["image"] = range(len(table))
            table["right"] = (network.classifier(points).argmax(1) == split.labels[chosen[name]]).tolist()
            kept.append((points, table.assign(terminal_epoch=state.terminal_epoch, **measured.loc[name, ["error", "variance_ratio"]])))
    last = extract(network, data.train)
    centre, plane = mean_plane(torch.stack([last[data.train.labels == c].mean(0) for c in classes]))
    for points, table in kept:
        table[["x", "y"]] = ((points - centre) @ plane).double().cpu().numpy().round(DECIMALS)
    return pd.concat([table for _, table in kept], ignore_index=True)


def mean_plane(means: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (d) and plane (d, 2) of three class means (3, d): the first mean lies straight up from the centre, the second to the right.

    Coordinates are in units of the means' root mean square distance from their centre.

    >>> centre, plane = mean_plane(torch.eye(3))
    >>> ((torch.eye(3) - centre) @ plane).round(decimals=3).tolist()[0]
    [0.0, 1.0]
    """
    centre = means.mean(0)
    up, aside = means[0] - centre, means[1] - centre
    up = up / up.norm()
    aside = aside - (aside @ up) * up
    unit = (means - centre).square().sum(1).mean().sqrt()
    return centre, torch.stack([aside / aside.norm(), up], dim=1) / unit


def _first(labels: Tensor, classes: list[int], count: int) -> Tensor:
    """The positions of the first `count` images of each class."""
    return torch.cat([(labels == c).nonzero().flatten()[:count] for c in classes])


def grid(**parameters) -> list[dict]:
    """One network a seed."""
    return expand(experiment, parameters, over=[])


TABLES = {"features": (experiment, grid)}  # the tables that the chapter is made of
