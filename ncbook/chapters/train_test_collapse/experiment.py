"""Train versus test collapse: one network, measured on both splits as training goes on (Hui, Belkin & Nakkiran 2022)."""

from math import ceil

import pandas as pd

from ncbook.errors import InputError, unknown
from ncbook.metrics.table import collapse_table
from ncbook.runs.grid import expand
from ncbook.training.evaluate import extract
from ncbook.training.recipe import Recipe, takes_recipe


@takes_recipe
def experiment(recipe: Recipe, *, common_size: int, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Collapse of the last-layer features: one row an epoch and split."""
    data, network, states = recipe.start(seed, device)
    # sets of different size are compared, at the end, at one number of samples a class
    fewest = int(data.test.labels.bincount().min())
    common_n = min(common_size // data.num_classes, fewest)
    rows = []
    for state in states:
        table = collapse_table(
            (extract(network, data.train), data.train.labels),
            (extract(network, data.test), data.test.labels),
            weight=network.classifier.weight,
            bias=network.classifier.bias,
            common_n=common_n if state.epoch == recipe.epochs else None,
        )
        table["epoch"], table["training_loss"] = state.epoch, state.loss
        rows.append(table.assign(terminal_epoch=state.terminal_epoch))
    return pd.concat(rows, ignore_index=True)


def grid(**parameters) -> list[dict]:
    """Data set × network × loss × training-set size × seed.

    ``epochs`` is for the largest training set; smaller ones train for as many steps (``equal="steps"``) or epochs (``equal="epochs"``).
    """
    if (equal := parameters["equal"]) not in ("steps", "epochs"):
        raise InputError(f"equal={equal!r}: training sets of different size get equal 'steps' or equal 'epochs'.")
    # the squared loss is a mean over classes: its gradient is smaller by about their number, so the two need settings of their own
    rates = {name: parameters[f"learning_rate_{name}"] for name in ("cross_entropy", "squared")}
    if wrong := [name for name in parameters["loss"] if name not in rates]:
        raise unknown("loss", wrong[0], rates)
    losses = [
        {"loss": name, "learning_rate": rates[name], "weight_decay": parameters[f"weight_decay_{name}"]} for name in parameters["loss"]
    ]
    sizes = parameters["train_size"]
    batches = {n: ceil(n / parameters["batch_size"]) for n in sizes}  # an epoch
    trainings = [
        {
            "train_size": n,
            "epochs": round(parameters["epochs"] * batches[max(sizes)] / batches[n]) if equal == "steps" else parameters["epochs"],
            "measurements": parameters["measurements"] if n == max(sizes) else 1,  # of the smaller sets only the end is shown
        }
        for n in sizes
    ]
    return expand(experiment, parameters, over=["dataset", "model", losses, trainings], common_size=min(sizes))


TABLES = {"collapse": (experiment, grid)}  # the tables that the chapter is made of
