"""Wide networks that end in linear layers, trained with weight decay: do they collapse because they balance? (Jacot et al. 2024)."""

from dataclasses import replace
from functools import partial
from math import ceil

import pandas as pd

from ncbook.metrics.linear_head import head_spectra, linear_layers_table
from ncbook.models.linear_heads import linear_headed
from ncbook.runs.grid import expand
from ncbook.training.loop import SCHEDULES
from ncbook.training.recipe import Recipe, takes_recipe
from ncbook.training.stacked import in_stacks


@in_stacks(10)
@takes_recipe
def experiment(
    recipe: Recipe,
    *,
    nonlinear_layers: int | None,
    linear_layers: int,
    width: int | None,
    activation: str | None,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Every linear layer of one network through training: one row an epoch and layer."""
    head = {"linear_layers": linear_layers}
    mlp = {"nonlinear_layers": nonlinear_layers, "width": width, "activation": activation}
    recipe = replace(recipe, loss="squared")
    data = recipe.data(seed, device)
    network = recipe.network(data, seed, partial(linear_headed, **head, **mlp))
    # one unit: the time in which weight decay by itself makes an imbalance e times smaller
    steps = ceil(len(data.train) / recipe.batch_size)
    per_epoch = steps * 2 * recipe.weight_decay * recipe.learning_rate / (1 - recipe.momentum)
    schedule = SCHEDULES[recipe.schedule]
    shares = [schedule(epoch / recipe.epochs) for epoch in range(recipe.epochs)]
    rows = []
    for state in recipe.train(network, data, seed):
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


def heads_grid(**parameters) -> list[dict]:
    """Linear layers × seed for each data set and network; those with a pair to balance without weight decay too."""
    heads = [{"linear_layers": n, "weight_decay": parameters["weight_decay"]} for n in parameters["linear_layers"]]
    heads += [{"linear_layers": n, "weight_decay": 0.0} for n in parameters["linear_layers"] if n > 1]
    return expand(experiment, parameters, over=["dataset", _networks(parameters), heads])


def floors_grid(**parameters) -> list[dict]:
    """One head at two weight decays, each for as many balancing times, and at none."""
    epochs, decay, less = (parameters[name] for name in ("epochs", "weight_decay", "weight_decay_beside"))
    arms = [
        {"weight_decay": decay, "epochs": epochs},
        {"weight_decay": less, "epochs": round(epochs * decay / less)},
        {"weight_decay": 0.0, "epochs": epochs},
    ]
    return expand(experiment, parameters, over=["dataset", _networks(parameters), arms], linear_layers=parameters["linear_layers_beside"])


def _networks(parameters: dict) -> list[dict]:
    own = {name: parameters[name] for name in ("nonlinear_layers", "width")} | {"activation": "relu"}
    return [{"model": name, **(own if name == "mlp" else dict.fromkeys(own))} for name in parameters["model"]]


def added_grid(**parameters) -> list[dict]:
    """MLPs with the shortest head, and with as many more layers as make it the longest: linear ones, or nonlinear ones before it."""
    base, short, long = parameters["nonlinear_layers"], min(parameters["linear_layers"]), max(parameters["linear_layers"])
    layers = [(base, short), (base, long), (base + long - short, short)]
    arms = [{"nonlinear_layers": nonlinear, "linear_layers": linear} for nonlinear, linear in layers]
    return expand(experiment, parameters, over=["dataset", arms], model="mlp", activation="relu")


def narrow_grid(**parameters) -> list[dict]:
    """Narrow MLPs, with weight decay and without."""
    given = {"linear_layers": parameters["linear_layers_beside"], "width": parameters["narrow_width"]}
    decays = [{"weight_decay": decay} for decay in (parameters["weight_decay"], 0.0)]
    return expand(experiment, parameters, over=["dataset", decays], model="mlp", activation="relu", **given)


def depths_grid(**parameters) -> list[dict]:
    """MLPs with more and fewer nonlinear layers; the weight decay is a total shared out among all layers, as in the paper."""
    n, total = parameters["linear_layers_beside"], parameters["weight_decay_total"]
    depths = [{"nonlinear_layers": m, "weight_decay": total / (m + n)} for m in parameters["nonlinear_depths"]]
    return expand(experiment, parameters, over=["dataset", depths], model="mlp", linear_layers=n, activation="relu")


def assumed_grid(**parameters) -> list[dict]:
    """MLPs as the theorem has them: smooth activation, no layer narrower than the data set is large, all images a step, no momentum. And
    the same without weight decay."""
    assumed = {name.removeprefix("assumed_"): value for name, value in parameters.items() if name.startswith("assumed_")}
    theirs = {"activation": "smooth_leaky", "batch_size": assumed["train_size"], "momentum": 0.0, "schedule": "constant"}
    decays = [{"weight_decay": decay} for decay in (assumed.pop("weight_decay"), 0.0)]
    n = parameters["linear_layers_beside"]
    return expand(experiment, parameters, over=["dataset", decays], model="mlp", linear_layers=n, **assumed, **theirs)


TABLES = {
    "heads": (experiment, heads_grid),
    "floors": (experiment, floors_grid),
    "added": (experiment, added_grid),
    "narrow": (experiment, narrow_grid),
    "depths": (experiment, depths_grid),
    "assumed": (experiment, assumed_grid),
}
