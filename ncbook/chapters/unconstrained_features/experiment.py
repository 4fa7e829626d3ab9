"""Unconstrained features: what the model without data says of collapse, where networks disagree (Mixon et al. 2020; Kothapalli 2023)."""

from dataclasses import replace
from functools import partial
from math import ceil

import numpy as np
import pandas as pd
import torch
from torch import nn

from ncbook.data.datasets import Dataset
from ncbook.errors import unknown
from ncbook.metrics.central_path import central_path
from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.error import error_rate
from ncbook.metrics.moments import ClassMoments
from ncbook.models.feature_decay import FeatureDecay
from ncbook.models.networks import build_model
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator
from ncbook.theory.free_features import (
    Solution,
    descent,
    frame_distances,
    leftover_ratio,
    minimum,
    peeled_minimum,
    shrunk_singular_value,
)
from ncbook.training.evaluate import extract
from ncbook.training.loop import measurement_epochs
from ncbook.training.recipe import Recipe, takes_recipe
from ncbook.training.stacked import in_stacks

LABELS = ("true", "renamed", "shuffled")


# --- the model ------------------------------------------------------------------------------------------------------------------------


def flow(
    *,
    classes: int,
    per_class: int,
    dimension: int,
    start: float,
    step: float,
    steps: int,
    measurements: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Gradient descent without penalties: one row a measured step."""
    size = {"classes": classes, "per_class": per_class, "dimension": dimension}
    generator, measure_at = child_generator(seed, "start"), measurement_epochs(steps, measurements)
    rows, conserved = [], None
    for done, state in descent(**size, start=start, step=step, measure_at=measure_at, generator=generator):
        balance = state.weight.T @ state.weight - state.features @ state.features.T  # (d, d); the flow does not move it
        conserved = balance if conserved is None else conserved
        limit = per_class**0.5 * (np.eye(classes) - 1 / classes)  # of W W'
        rows.append(
            {
                "done": done,
                "loss": state.loss,
                "variance_ratio": _v(state),
                "leftover": leftover_ratio(start, **size),
                "off_limit": np.linalg.norm(state.weight @ state.weight.T - limit) / np.linalg.norm(limit),
                "off_balance": np.linalg.norm(balance - conserved) / per_class**0.5,
            }
        )
    return pd.DataFrame(rows)


def minima(
    *, loss: str, bias: bool, penalty: float, classes: int, per_class: int, dimension: int, seed: int, device: str = "cpu"
) -> pd.DataFrame:
    """A minimum with penalties: one row."""
    generator = child_generator(seed, "start")
    end = minimum(loss=loss, bias=bias, penalty=penalty, classes=classes, per_class=per_class, dimension=dimension, generator=generator)
    values = np.linalg.svd(end.weight @ end.features, compute_uv=False)
    shown = {"largest": values[0], "next_to_last": values[classes - 2], "predicted": shrunk_singular_value(per_class, classes, penalty)}
    return pd.DataFrame([{**frame_distances(end.weight), "variance_ratio": _v(end), **shown}])


def peeled(*, ratio: float, penalty: float, classes: int, dimension: int, seed: int, device: str = "cpu") -> pd.DataFrame:
    """A minimum with unequal classes: one row."""
    generator = child_generator(seed, "start")
    end = peeled_minimum(ratio=ratio, penalty=penalty, classes=classes, dimension=dimension, generator=generator)
    return pd.DataFrame([minority(torch.from_numpy(end.weight), torch.arange(classes // 2, classes))])


def _v(state: Solution) -> float:
    return float(variance_ratio(state.features.T.copy(), state.labels))


def minority(weight: torch.Tensor, few: torch.Tensor) -> dict[str, float]:
    """Mean cosine between the rows (C, d) of the classes in `few`, between those of the others, and the norm of the first over that of
    these."""
    many = torch.tensor(sorted(set(range(len(weight))) - set(few.tolist())))

    def cosine(classes: torch.Tensor) -> float:
        units = nn.functional.normalize(weight[classes].double())
        return float((units @ units.T)[~torch.eye(len(classes), dtype=torch.bool)].mean())

    norms = weight.double().norm(dim=1)
    return {
        "minority_cosine": cosine(few),
        "majority_cosine": cosine(many),
        "minority_norm": float(norms[few].mean() / norms[many].mean()),
    }


# --- networks -------------------------------------------------------------------------------------------------------------------------


@in_stacks(10)
@takes_recipe
def network(
    recipe: Recipe,
    *,
    activation: str,
    bias: bool,
    labels: str,
    ratio: float,
    unequal: bool,
    fixed: bool = False,
    feature_decay: float = 0.0,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """One network, whose classifier has a `bias` or none: one row an epoch. For labels and ratios see `task`.

    A `fixed` classifier stays as it was drawn; `feature_decay` is a weight decay on the features (`FeatureDecay`).
    """
    data = recipe.data(seed, device)
    few = torch.randperm(data.num_classes, generator=child_generator(seed, "minority"))[: data.num_classes // 2]
    data = task(data, few, labels=labels, ratio=ratio, unequal=unequal, seed=seed)
    net = recipe.network(data, seed, partial(build_model, activation=activation))
    if not bias:
        net.classifier.register_parameter("bias", None)
    net.classifier.requires_grad_(not fixed)
    if feature_decay:
        net.blocks["decay"] = FeatureDecay(feature_decay)
    penalty = data.num_classes * recipe.weight_decay / 2  # beside a loss of 1/2N, where training has 1/NC
    rows = []
    for state in recipe.train(net, data, seed):
        features, (weight, *biases) = extract(net, data.train), (p.detach().cpu() for p in net.classifier.parameters())
        of_majority = ~torch.isin(data.train.labels.cpu(), few)
        with torch.no_grad():
            scores = net.classifier(features).cpu()
        rows.append(
            {
                "epoch": state.epoch,
                "terminal_epoch": state.terminal_epoch,
                "train_error": state.train_error,
                "majority_error": float(error_rate(scores[of_majority], data.train.labels.cpu()[of_majority])),
                "variance_ratio": float(variance_ratio(ClassMoments.from_features(features, data.train.labels))),
                **frame_distances(weight.double().numpy()),
                **minority(weight, few),
                **central_path(features, data.train.labels, weight, *biases, penalty=penalty),
            }
        )
    return pd.DataFrame(rows)


def task(data: Dataset, few: torch.Tensor, *, labels: str, ratio: float, unequal: bool, seed: int) -> Dataset:
    """The training images with the classes ``renamed``, or with their labels ``shuffled``, and fewer images of the classes in `few`.

    These have one in `ratio` of their images left, so that classes are `unequal`; else each class loses the same share, for as many images
    in all. `InputError` for other `labels`.
    """
    if labels not in LABELS:
        raise unknown("labels", labels, LABELS)
    train, generator = data.train, child_generator(seed, "labels")
    y = train.labels.cpu()
    if labels == "renamed":
        y = torch.randperm(data.num_classes, generator=generator)[y]
    elif labels == "shuffled":
        y = y[torch.randperm(len(y), generator=generator)]
    share = torch.full((data.num_classes,), 1.0 if unequal else (1 + 1 / ratio) / 2)
    if unequal:
        share[few] = 1 / ratio
    kept = []
    for k in range(data.num_classes):
        rows = (y == k).nonzero()[:, 0]
        kept.append(rows[: max(2, round(len(rows) * float(share[k])))])
    rows = torch.cat(kept).sort().values
    y, there = y[rows].to(train.labels.device), rows.to(train.labels.device)
    part = replace(
        train, images=train.images[there], labels=y, clean_labels=y, fine_labels=train.fine_labels[there], index=train.index[there]
    )
    return replace(data, train=part)


# --- grids ----------------------------------------------------------------------------------------------------------------------------


def flow_grid(**parameters) -> list[dict]:
    """Start × seed."""
    given = {"classes": parameters["flow_classes"], "per_class": parameters["flow_per_class"], "dimension": parameters["flow_dimension"]}
    return expand(
        flow, parameters, over=[[{"start": s} for s in parameters["starts"]]], measurements=parameters["flow_measurements"], **given
    )


def minima_grid(**parameters) -> list[dict]:
    """Loss × bias × penalty × seed."""
    over = [[{"loss": name} for name in parameters["losses"]], [{"bias": b} for b in (False, True)], "penalty"]
    return expand(minima, parameters, over=over)


def peeled_grid(**parameters) -> list[dict]:
    """Ratio × penalty × seed."""
    over = [[{"ratio": r} for r in parameters["peeled_ratios"]], [{"penalty": p} for p in parameters["peeled_penalties"]]]
    return expand(peeled, parameters, over=over, classes=parameters["flow_classes"], dimension=parameters["flow_classes"])


PLAIN = {"labels": "true", "ratio": 1.0, "unequal": False}


def frames_grid(**parameters) -> list[dict]:
    """Data set × activation × seed × (squared loss with a bias and without, and cross-entropy without)."""
    arms = [{"loss": "squared", "bias": True}, {"loss": "squared", "bias": False}, {"loss": "cross_entropy", "bias": False}]
    return expand(network, parameters, over=["dataset", "activation", arms], **PLAIN)


def fixed_grid(**parameters) -> list[dict]:
    """Data set × seed: the squared loss with a bias, ReLU, and a classifier that stays as it was drawn."""
    return expand(network, parameters, over=["dataset"], **PLAIN, loss="squared", bias=True, activation="relu", fixed=True)


def penalised_grid(**parameters) -> list[dict]:
    """Data set × loss × seed: no bias, ReLU, and a penalty on the features."""
    losses = [{"loss": name} for name in parameters["penalised_losses"]]
    given = {"epochs": parameters["penalised_epochs"], "feature_decay": parameters["penalty_on_features"]}
    return expand(network, parameters, over=["dataset", losses], **PLAIN, **given, bias=False, activation="relu")


def labels_grid(**parameters) -> list[dict]:
    """Data set × seed × labels: the squared loss with a bias, ReLU."""
    arms = [PLAIN | {"labels": name} for name in LABELS]
    return expand(network, parameters, over=["dataset", arms], loss="squared", bias=True, activation="relu")


def imbalance_grid(**parameters) -> list[dict]:
    """Data set × weight decay × seed × (each ratio with unequal classes, and the largest with equal ones): cross-entropy, ReLU.

    The learning rate falls to 0, as at a constant one the errors of a network with a few images of a class come and go. All train for as
    many steps as the largest training set takes in ``imbalance_epochs``.
    """
    size, batch, ratios = parameters["imbalance_size"], parameters["batch_size"], parameters["ratios"]
    arms = [{"ratio": r, "unequal": r > 1} for r in ratios] + [{"ratio": max(ratios), "unequal": False}]
    for arm in arms:
        left = size if arm["ratio"] == 1 else size * (1 + 1 / arm["ratio"]) / 2
        arm["epochs"] = round(parameters["imbalance_epochs"] * ceil(size / batch) / ceil(left / batch))
    given = {"loss": "cross_entropy", "bias": True, "activation": "relu", "labels": "true", "train_size": size, "schedule": "cosine"}
    decays = [{"weight_decay": w} for w in parameters["imbalance_decays"]]
    return expand(network, parameters, over=["dataset", decays, arms], measurements=1, **given)


TABLES = {
    "flow": (flow, flow_grid),
    "minima": (minima, minima_grid),
    "peeled": (peeled, peeled_grid),
    "frames": (network, frames_grid),
    "fixed": (network, fixed_grid),
    "penalised": (network, penalised_grid),
    "labels": (network, labels_grid),
    "imbalance": (network, imbalance_grid),
}
