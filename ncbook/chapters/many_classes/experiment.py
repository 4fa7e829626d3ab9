"""More classes than dimensions: softmax codes, temperature, and class means as classifier (Jiang et al. 2023)."""

from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.error import error_rate
from ncbook.metrics.moments import ClassMoments
from ncbook.models.spherical import spherical
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator
from ncbook.theory.geometry import best_known, largest_cosine, one_vs_rest
from ncbook.theory.unconstrained import minimise, softmax_code
from ncbook.training.evaluate import extract
from ncbook.training.loop import measurement_epochs
from ncbook.training.recipe import Recipe, takes_recipe

CLASSIFIERS = ("learned", "class means", "random", "softmax code")


def free(*, dimension: int, classes: int, scales: list[float], starts: int, digits: int, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Features and classifier without a network, on the sphere: one row a scale, of the start whose loss is the least there.

    A search stops where a step changes no more than the loss's decimals beyond so many `digits`.
    """
    generator = child_generator(seed, "starts")
    rows = []
    for start in range(starts):
        for scale, loss, weights, features in minimise(
            dimension, classes, scales, generator=generator, tolerances=(10.0**-digits, 10.0 ** -round(2 * digits / 3))
        ):
            rows.append(
                {
                    "scale": scale,
                    "start": start,
                    "loss": loss,
                    "one_vs_rest": one_vs_rest(weights).min(),
                    "largest_cosine": largest_cosine(weights),
                    "best_known": best_known(dimension, classes),
                    "off_weights": 1 - (weights * features).sum(axis=1).mean(),
                }
            )
    table = pd.DataFrame(rows)
    return table.loc[table.groupby("scale")["loss"].idxmin()].reset_index(drop=True)


@takes_recipe
def network(recipe: Recipe, *, dimension: int, scale: float, classifier: str, seed: int, device: str = "cpu") -> pd.DataFrame:
    """One network whose features and classifier rows are unit vectors: one row a measured epoch.

    The classifier is learned, or made of the class means of the features at the start of each epoch, or stays: as it was drawn, or as a
    softmax code whose vectors go to classes at random.
    """
    data = recipe.data(seed, device)
    net = recipe.network(data, seed, partial(spherical, dimension=dimension, scale=scale))
    rows = net.classifier.parametrizations.weight.original
    rows.requires_grad_(classifier == "learned")
    code = _code(dimension, data.num_classes)
    if classifier == "softmax code":
        order = torch.randperm(data.num_classes, generator=child_generator(seed, "order"))
        with torch.no_grad():
            rows.copy_(torch.from_numpy(code)[order])
    shown, table = measurement_epochs(recipe.epochs, recipe.measurements), []
    follow = classifier == "class means"
    for state in recipe.train(net, data, seed, measure_at=list(range(recipe.epochs + 1)) if follow else shown):
        features = extract(net, data.train)
        moments = ClassMoments.from_features(features, data.train.labels, num_classes=data.num_classes)
        means = nn.functional.normalize(moments.mean, dim=1)  # (C, d), float64
        if follow and state.epoch < recipe.epochs:
            with torch.no_grad():
                rows.copy_(means)
        if state.epoch not in shown:
            continue
        weights = nn.functional.normalize(net.classifier.weight.detach().double(), dim=1)
        new = extract(net, data.test)
        table.append(
            {
                "epoch": state.epoch,
                "loss_now": state.loss,
                "train_error": state.train_error,
                "variance_ratio": float(variance_ratio(moments)),
                "one_vs_rest": one_vs_rest(weights.cpu().numpy()).min(),
                "one_vs_rest_of_means": one_vs_rest(means.cpu().numpy()).min(),
                "one_vs_rest_of_code": one_vs_rest(code).min(),
                "off_weights": float(1 - (weights * means).sum(dim=1).mean()),
                "accuracy": 1 - float(error_rate(new.double() @ weights.T, data.test.labels)),
                "accuracy_of_nearest_mean": 1 - float(error_rate(new.double() @ means.T, data.test.labels)),
            }
        )
    return pd.DataFrame(table)


@cache
def _code(dimension: int, classes: int) -> np.ndarray:
    return softmax_code(dimension, classes)


def codes_grid(**parameters) -> list[dict]:
    """Small codes, each from several starts."""
    sizes = [{"dimension": d, "classes": c} for d, c in parameters["sizes"]]
    return expand(free, parameters, over=[sizes], digits=15)


def large_grid(**parameters) -> list[dict]:
    """Searches for codes of many classes, from one start each: the networks' number, searched to the end and not, and the published one,
    which judges nothing, of ``seeds_beside`` seeds."""
    searches = [{"dimension": d, "classes": c, "digits": n} for d, c, n in parameters["large_searches"]]
    fewest = min(search["classes"] for search in searches)
    fixed = {"scales": parameters["large_scales"], "starts": 1}
    judged = expand(free, parameters, over=[[search for search in searches if search["classes"] == fewest]], **fixed)
    return judged + expand(free, _beside(parameters), over=[[search for search in searches if search["classes"] > fewest]], **fixed)


def networks_grid(**parameters) -> list[dict]:
    """Data set × arms × seed: a learned classifier at the judged scale and at the ends, and the other two that are judged; beside them, of
    as many seeds as ``seeds_beside`` says, the scales between, a fixed softmax code, and more dimensions at two scales."""
    judged, few, many = parameters["judged_scale"], parameters["dimension"], parameters["dimension_beside"]
    scales = parameters["network_scales"]
    least, largest = min(scales), max(scales)
    arms = [{"dimension": few, "scale": scale, "classifier": "learned"} for scale in (least, judged, largest)]
    arms += [{"dimension": few, "scale": judged, "classifier": name} for name in ("class means", "random")]
    beside = [{"dimension": few, "scale": scale, "classifier": "learned"} for scale in scales if scale not in (least, judged, largest)]
    beside += [{"dimension": few, "scale": judged, "classifier": "softmax code"}]
    beside += [{"dimension": many, "scale": scale, "classifier": "learned"} for scale in (least, judged)]
    return expand(network, parameters, over=["dataset", arms]) + expand(network, _beside(parameters), over=["dataset", beside])


def _beside(parameters: dict) -> dict:
    """The same of fewer seeds, for what is drawn beside and judges nothing."""
    return parameters | {"seeds": parameters["seeds_beside"]}


TABLES = {
    "codes": (free, codes_grid),
    "large": (free, large_grid),
    "networks": (network, networks_grid),
}
