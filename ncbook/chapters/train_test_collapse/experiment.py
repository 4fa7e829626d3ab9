"""Train versus test collapse: one network, measured on both splits as training goes on (Hui, Belkin & Nakkiran 2022)."""

from dataclasses import asdict
from functools import partial
from math import ceil

import pandas as pd
import torch

from ncbook.data.gaussian import simplex
from ncbook.data.presets import spec
from ncbook.errors import InputError, unknown
from ncbook.metrics.table import collapse_table
from ncbook.models.networks import build_model
from ncbook.runs.grid import expand
from ncbook.training.evaluate import extract
from ncbook.training.recipe import Recipe, takes_recipe
from ncbook.training.stacked import in_stacks


@in_stacks(10)
@takes_recipe
def experiment(recipe: Recipe, *, linear: bool = False, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Collapse of the last-layer features: one row an epoch and split. A `linear` network has the same layers and no activation."""
    data = recipe.data(seed, device)
    network = recipe.network(data, seed, partial(build_model, activation="linear") if linear else build_model)
    rows = []
    for state in recipe.train(network, data, seed):
        table = collapse_table(
            (extract(network, data.train), data.train.labels),
            (extract(network, data.test), data.test.labels),
            weight=network.classifier.weight,
            bias=network.classifier.bias,
        )
        table["epoch"], table["training_loss"] = state.epoch, state.loss
        rows.append(table.assign(terminal_epoch=state.terminal_epoch))
    return pd.concat(rows, ignore_index=True)


@in_stacks(10)
@takes_recipe
def generated(recipe: Recipe, *, seed: int, device: str = "cpu") -> pd.DataFrame:
    """The same on Gaussian classes, beside their Bayes error and the error on the test images of the rule that knows the class means."""
    table = experiment(**asdict(recipe), seed=seed, device=device)
    data, options = recipe.data(seed, device), spec(recipe.dataset).options
    means = simplex(options["classes"], options["separation"], options["dim"])  # (C, d)
    nearest = torch.cdist(data.test.images.flatten(1).cpu().double(), means).argmin(1)  # (N,)
    wrong = (nearest != data.test.labels.cpu()).double().mean().item()
    return table.assign(bayes_error=data.bayes_error, bayes_rule_error=wrong)


def grid(**parameters) -> list[dict]:
    """Data set × network × loss × training-set size × seed.

    ``epochs`` is for the largest training set; other sizes train for as many steps (``equal="steps"``) or epochs (``equal="epochs"``).
    """
    over = ["dataset", "model", _losses(parameters), _sizes(parameters, parameters["train_size"])]
    return expand(experiment, parameters, over=over)


def linear_grid(**parameters) -> list[dict]:
    """What cannot collapse: a linear network, on more images than it has dimensions to gather, which it fits as well.

    Under cross-entropy only: with the learning rate of the squared loss it diverges.
    """
    arms = [_losses({**parameters, "loss": ["cross_entropy"]}), _sizes(parameters, [parameters["linear_size"]])]
    return expand(experiment, parameters, over=arms, dataset="digits", model=parameters["control_model"], linear=True, augment=None)


def apart_grid(**parameters) -> list[dict]:
    """What must collapse on new data too: classes so far apart that no new image is near a border."""
    return _generated(parameters, parameters["apart"])


def overlapping_grid(**parameters) -> list[dict]:
    """Classes that overlap, with a Bayes error to compare with."""
    return _generated(parameters, parameters["overlapping"])


def _generated(parameters: dict, separation: float) -> list[dict]:
    """Gaussian classes that far apart (in standard deviations) × loss × seed."""
    given = {"dataset": f"gaussian:separation={separation:g}", "model": parameters["control_model"], "augment": None}
    arms = [_losses(parameters), _sizes(parameters, [parameters["generated_size"]])]
    return expand(generated, parameters, over=arms, test_size=parameters["generated_test_size"], **given)


def _losses(parameters: dict) -> list[dict]:
    # the squared loss is a mean over classes: its gradient is smaller by about their number, so the two need settings of their own
    rates = {name: parameters[f"learning_rate_{name}"] for name in ("cross_entropy", "squared")}
    if wrong := [name for name in parameters["loss"] if name not in rates]:
        raise unknown("loss", wrong[0], rates)
    return [{"loss": name, "learning_rate": rates[name], "weight_decay": parameters[f"weight_decay_{name}"]} for name in parameters["loss"]]


def _sizes(parameters: dict, sizes: list[int]) -> list[dict]:
    """Training-set sizes, each with its number of epochs."""
    if (equal := parameters["equal"]) not in ("steps", "epochs"):
        raise InputError(f"equal={equal!r}: training sets of different size get equal 'steps' or equal 'epochs'.")

    def batches(size: int) -> int:  # of an epoch
        return ceil(size / parameters["batch_size"])

    steps = parameters["epochs"] * batches(max(parameters["train_size"]))
    return [{"train_size": n, "epochs": max(1, round(steps / batches(n))) if equal == "steps" else parameters["epochs"]} for n in sizes]


TABLES = {  # the tables that the chapter is made of
    "collapse": (experiment, grid),
    "linear": (experiment, linear_grid),
    "apart": (generated, apart_grid),
    "overlapping": (generated, overlapping_grid),
}
