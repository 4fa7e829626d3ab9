"""Symmetric generalization: does the class-mean configuration that a network collapses to matter for new images? (Gao et al. 2023)."""

from itertools import product

import numpy as np
import pandas as pd
import torch

from ncbook.data.datasets import load
from ncbook.errors import unknown
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator, child_seed
from ncbook.theory.codes import spherical_code
from ncbook.theory.geometry import best_known, largest_cosine, one_vs_rest
from ncbook.theory.symmetry import permutations, rotation
from ncbook.theory.unconstrained import minimise
from ncbook.training.together import measured, train_together


def optimisation(*, dimension: int, classes: int, scales: list[float], seed: int, device: str = "cpu") -> pd.DataFrame:
    """Free features and classifier, both of fixed norm: one row a logit scale, which rises."""
    rows = []
    start = child_generator(seed, "start")
    for scale, loss, weights, features in minimise(dimension, classes, scales, generator=start):
        rows.append(
            {
                "scale": scale,
                "loss": loss,
                "largest_cosine": largest_cosine(weights),
                "best_cosine": best_known(dimension, classes),
                "one_vs_rest": one_vs_rest(weights).min(),
                "self_duality": float((weights * features).sum(1).min()),  # 1: features align
            }
        )
    return pd.DataFrame(rows)


def layout(
    *,
    dataset: str,
    change: str,
    features: str,
    dimension: int,
    normalised: bool,
    frames: int,
    seeds: int,
    body: str,
    scale: float,
    train_size: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    layout: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Class-mean configurations × seeds, each cell a network of its own: one row a cell."""
    # a seed is a training set and an order of its images; arms share no random number
    arm = f"{dataset}/{change}/{features}/{dimension}/{normalised}/"
    roots = [child_seed(layout, f"{arm}{s}") for s in range(seeds)]
    sets = [load(dataset, train_size=train_size, seed=root, device=device) for root in roots]
    draw = np.random.default_rng(child_seed(layout, f"{arm}frames"))
    chosen, names = changed(change, dimension, sets[0].num_classes, frames, draw)
    networks = FixedClassifiers(
        body,
        sets[0].image_shape,
        torch.tensor(np.stack(chosen * seeds)),  # (seeds · frames, C, d): every seed, every configuration
        features=features,
        normalised=normalised,
        scale=scale if normalised else 1.0,
        generator=child_generator(layout, f"{arm}weights"),
    ).to(device)
    train_together(
        networks,
        [data.train for data in sets],
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        generators=[child_generator(root, "batches") for root in roots],
    )
    train = measured(networks, [data.train for data in sets])
    test = measured(networks, [data.test for data in sets])
    return pd.DataFrame(
        {
            "frame": np.tile(range(frames), seeds),
            "seed": np.repeat(range(seeds), frames),
            "assignment": names * seeds,  # the vector of the code that each class has
            "train_error": train["error"],
            "train_loss": train["loss"],
            "train_variance_ratio": train["variance_ratio"],
            "test_error": test["error"],
        }
    )


def changed(change: str, dimension: int, classes: int, count: int, draw) -> tuple[list, list[str]]:
    """`count` versions of one spherical code, each (C, d), and the vector that each class has ("0 3 1 …")."""
    base = spherical_code(dimension, classes)
    if change == "rotation":
        return [base @ rotation(dimension, draw) for _ in range(count)], [""] * count
    if change != "permutation":
        raise unknown("change", change, ["permutation", "rotation"])
    if classes <= dimension + 1:  # a simplex: its permutations are all the same configuration, rotated
        orders = [draw.permutation(classes) for _ in range(count)]
    else:
        orders = permutations(base, count, draw)
    return [base[order] for order in orders], [" ".join(map(str, order)) for order in orders]


def optimisation_grid(**parameters) -> list[dict]:
    """The runs on free features: dimension × seed."""
    return expand(optimisation, parameters, over=["dimension"])


def permutations_grid(**parameters) -> list[dict]:
    """Permuted codes with fewer dimensions than a simplex needs, linear features."""
    arm = {"change": "permutation", "features": "linear", "dimension": parameters["permuted_dimension"]}
    return _layouts(parameters, over=["dataset", "dimension", "normalised"], **arm)


def rotations_grid(**parameters) -> list[dict]:
    """Rotated simplices, non-negative features: the network's coordinates are not the code's."""
    arm = {"change": "rotation", "features": "relu", "dimension": parameters["rotated_dimension"]}
    return _layouts(parameters, over=["dataset", "dimension", "normalised"], **arm)


def controls_grid(**parameters) -> list[dict]:
    """What cannot matter: simplices, permuted or rotated, below linear features; and permuted codes, where all classes are alike."""
    simplex, alike = parameters["simplex_dimension"], parameters["exchangeable_dataset"]
    arms = [{"dataset": d, "change": c, "dimension": simplex} for d, c in product(parameters["dataset"], parameters["change"])]
    arms += [{"dataset": alike, "change": "permutation", "dimension": parameters["exchangeable_dimension"]}]
    return _layouts(parameters, over=[arms, "normalised"], features="linear")


def _layouts(parameters: dict, over: list, **arm) -> list[dict]:
    """The independent layouts of each arm."""
    number = {"layout": range(parameters["seeds"]), "seeds": parameters["seeds_per_layout"]}
    return expand(layout, parameters, over=[*over, "layout"], **arm, **number)


TABLES = {
    "optimisation": (optimisation, optimisation_grid),
    "permutations": (layout, permutations_grid),
    "rotations": (layout, rotations_grid),
    "controls": (layout, controls_grid),
}
