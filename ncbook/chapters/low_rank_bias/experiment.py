"""Low-rank bias: is collapse in all layers optimal? (Súkeník, Lampert & Mondelli 2024; Garrod & Keating 2025)."""

from functools import partial
from itertools import product

import pandas as pd
import torch
from torch import Tensor

from ncbook.metrics.moments import ClassMoments
from ncbook.metrics.rank import ranks, singular_values
from ncbook.models.networks import build_model
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator
from ncbook.theory.deep_unconstrained import collapse_cost, linear_collapse_loss, squared_loss
from ncbook.training.evaluate import accuracy, error
from ncbook.training.free_descent import descend, first_factors, outputs
from ncbook.training.loop import measurement_epochs
from ncbook.training.recipe import Recipe, takes_recipe


def free(
    *,
    classes: int,
    layers: int,
    width: int,
    per_class: int,
    relu: bool,
    loss: str,
    weight_decay: float,
    least_scale: float,
    most_scale: float,
    starts: int,
    steps: int,
    rate: float,
    momentum: float,
    measurements: int,
    every_layer: bool,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Descent on free features from many starts: one row a step, start, layer and side of its ReLU.

    Without `every_layer` the last hidden layer alone, before its ReLU, and after it at the last step; nothing is measured before the first.

    ``loss_now`` and ``fit`` (without weight decay) are those of the start, ``collapse_loss`` is the least that collapse in all layers
    reaches. Scales of the starts are spread evenly from `least_scale` to `most_scale`; the learning rate is `rate` times the classes,
    since the fit is a mean over them.
    """
    scales = torch.linspace(least_scale, most_scale, starts, dtype=torch.float64)
    first = first_factors(
        classes, layers, width, per_class=per_class, scales=scales, generator=child_generator(seed, "factors"), device=device
    )
    if loss == "squared":
        best = squared_loss(collapse_cost(classes), classes=classes, layers=layers, weight_decay=weight_decay, per_class=per_class)
    else:
        best = linear_collapse_loss(classes, layers, weight_decay=weight_decay, per_class=per_class)
    options = {"per_class": per_class, "weight_decay": weight_decay, "steps": steps, "relu": relu, "loss": loss}
    options |= {"learning_rate": rate * classes, "momentum": momentum}
    at = [step for step in measurement_epochs(steps, measurements) if step or every_layer]
    rows = []
    for step, factors, value in descend(first, measure_at=at, **options):
        penalty = 0.5 * weight_decay * sum(factor.square().sum((1, 2)) for factor in factors)
        reached = {"step": step, "start": range(starts), "scale": scales.tolist(), "collapse_loss": best}
        reached |= {"loss_now": value.tolist(), "fit": (value - penalty).tolist()}
        hidden = outputs(factors, relu=relu)[:-1] or factors[:1]  # of a single layer: the features themselves
        for layer, z in enumerate(hidden, start=1):
            last = layer == len(hidden)
            sides = {"before": z, "after": z.clamp(min=0) if relu else z}
            for side, h in sides.items():
                if every_layer or (last and (side == "before" or step == steps)):
                    rows.append(pd.DataFrame({**reached, "layer": layer, "last_hidden": last, "side": side, **spread(h, classes)}))
    return pd.concat(rows, ignore_index=True)


def spread(h: Tensor, classes: int) -> dict[str, list]:
    """V and every rank of the class means of features (B, d, nK), sample j of class j // n, as columns of B values.

    The ranks are those of the means as they are, not of their distances from the global mean; where a layer is dead they are 0, and V is
    infinite. V below 1e-12 is rounding, and 1e-12 here.
    """
    by_class = h.unflatten(-1, (classes, -1))  # (B, d, K, n)
    means = by_class.mean(-1)
    within = (by_class - means[..., None]).square().sum((1, 2, 3)) / h.shape[-1]
    between = (means - means.mean(-1, keepdim=True)).square().sum((1, 2)) / classes
    s = singular_values(means)
    alive = s[:, 0] > 0
    found = ranks(torch.where(alive[:, None], s, torch.ones_like(s)), spectrum=classes)
    none = {"singular_values": "0"}
    found = {name: [v if lives else none.get(name, 0) for v, lives in zip(column, alive, strict=True)] for name, column in found.items()}
    return {"variance_ratio": (within / between).nan_to_num(nan=torch.inf).clamp(min=1e-12).tolist(), **found}


@takes_recipe
def images(recipe: Recipe, *, depth: int, width: int, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Ranks of the class means and V at every hidden layer of a ReLU network without biases: one row an epoch, layer and side of its
    ReLU."""
    data = recipe.data(seed, device)
    network = recipe.network(data, seed, partial(build_model, depth=depth, width=width, bias=False))
    rows = []
    for state in recipe.train(network, data, seed):
        errors = {"train_error": error(network, data.train), "test_accuracy": accuracy(network, data.test)}
        reached = {"epoch": state.epoch, "terminal_epoch": state.terminal_epoch, **errors}
        x, y = next(iter(data.train.batches(len(data.train))))
        with torch.no_grad():
            features = network.activations(x)
        for number, (layer, side) in enumerate(features):
            moments = ClassMoments.from_features(features[layer, side], y)
            measured = ranks(singular_values(moments.mean)[None], spectrum=data.num_classes)
            place = {
                "classes": data.num_classes,
                "layer": number // 2 + 1,
                "last_hidden": layer == network.layers[-1],
                "side": {"pre": "before", "post": "after"}[side],
            }
            v = float(moments.within() / moments.between())
            rows.append(pd.DataFrame({**reached, **place, "variance_ratio": v, **measured}))
    return pd.concat(rows, ignore_index=True)


def descents_grid(**parameters) -> list[dict]:
    """Widths at full scale, and the largest at half of it."""
    widths = parameters["widths"]
    arms = [{"width": w, "least_scale": 1.0, "most_scale": 1.0, "starts": parameters["starts"]} for w in widths]
    arms.append({"width": max(widths), "least_scale": 0.5, "most_scale": 0.5})
    for arm in arms[2:]:  # the wide ones cost most and differ least
        arm["starts"] = parameters["starts_beside"]
    return expand(free, parameters, over=[arms], **MAIN, per_class=1, every_layer=False)


def controls_grid(**parameters) -> list[dict]:
    """The starts at the second width again: without ReLU, and with hardly any weight decay."""
    arms = [{"relu": False}, {"relu": True, "weight_decay": parameters["weight_decay"] / LITTLE}]
    given = {"width": sorted(parameters["widths"])[:2][-1], "starts": parameters["starts_beside"], "per_class": 1}
    return expand(free, parameters, over=[arms], **given, loss="squared", **FULL, **AT_END)


def within_grid(**parameters) -> list[dict]:
    """Several samples a class, at the smallest width, with weight decay and with hardly any."""
    arms = [{"weight_decay": parameters["weight_decay"] / over} for over in (1, LITTLE)]
    given = {"width": min(parameters["widths"]), "starts": parameters["starts_beside"], "every_layer": True, **FULL}
    return expand(free, parameters, over=[arms], **MAIN, **given)


def search_grid(**parameters) -> list[dict]:
    """Three classes, four layers × with and without ReLU × seed; other classes × layers from the first seed, with starts of many scales."""
    fixed = {**_search(parameters, "search"), "loss": "squared"}
    three = {"classes": 3, "layers": 4, "width": parameters["search_width"], "starts": parameters["search_starts"]}
    judged = expand(free, parameters, over=[[{"relu": True}, {"relu": False}]], **three, **fixed)
    cells = [{"classes": k, "layers": n} for k, n in product(parameters["map_classes"], parameters["map_layers"]) if (k, n) != (3, 4)]
    cells = [cell | {"width": max(10, 2 * cell["classes"])} for cell in cells]
    fixed |= {"relu": True, "starts": parameters["map_starts"], "most_scale": 1.0, "seed": parameters["first_seed"]}
    return judged + expand(free, parameters, over=[cells], **fixed)


def linear_grid(**parameters) -> list[dict]:
    """The deep linear model with cross-entropy: classes × layers, the four on either side of the theorem's corners for every seed."""
    cells = [{"classes": k, "layers": n} for k, n in product(parameters["linear_classes"], parameters["linear_layers"])]
    cells = [cell | {"width": max(6, 2 * cell["classes"])} for cell in cells]
    fixed = _search(parameters, "linear") | {"relu": False, "loss": "cross_entropy", "starts": parameters["linear_starts"]}
    judged = [cell for cell in cells if (cell["classes"], cell["layers"]) in CORNERS]
    others = [cell for cell in cells if cell not in judged]
    runs = expand(free, parameters, over=[judged], **fixed) if judged else []
    return runs + (expand(free, parameters, over=[others], **fixed, seed=parameters["first_seed"]) if others else [])


def images_grid(**parameters) -> list[dict]:
    """Data set × weight decay × seed."""
    arms = [{"weight_decay": decay} for decay in parameters["image_weight_decay"]]
    given = {"learning_rate": parameters["image_rate"], "momentum": 0.9, "measurements": parameters["image_measurements"]}
    return expand(images, parameters, over=["dataset", arms], **given, model="mlp_plain", width=parameters["image_width"])


CORNERS = ((4, 3), (6, 2), (3, 3), (4, 2))  # the last two are not past the theorem's thresholds
LITTLE = 400  # by how much weight decay is divided where there is to be hardly any
MAIN = {"relu": True, "loss": "squared"}
FULL = {"least_scale": 1.0, "most_scale": 1.0}
AT_END = {"measurements": 1, "every_layer": False}


def _search(parameters: dict, name: str) -> dict:
    """How a search is run, whose parameters begin with its name."""
    own = {key: parameters[f"{name}_{key}"] for key in ("steps", "rate", "least_scale", "most_scale")}
    return own | {"per_class": 1, "momentum": 0.9, **AT_END}


TABLES = {  # the tables that the chapter is made of
    "descents": (free, descents_grid),
    "controls": (free, controls_grid),
    "within": (free, within_grid),
    "search": (free, search_grid),
    "linear": (free, linear_grid),
    "images": (images, images_grid),
}
