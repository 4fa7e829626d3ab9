"""Symmetric generalization: does the class-mean configuration that a network collapses to matter for new images? (Gao et al. 2023)."""

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ncbook.data.datasets import load
from ncbook.errors import unknown
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator, child_seed
from ncbook.theory.codes import spherical_code
from ncbook.theory.geometry import best_known, largest_cosine, one_vs_rest
from ncbook.theory.symmetry import permutations, rotation
from ncbook.theory.unconstrained import minimise
from ncbook.training.together import measured, outputs, train_by_epoch, train_together


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
    frames: int,
    seeds: int,
    body: str,
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
    arm = f"{dataset}/{change}/{features}/{dimension}/"
    roots = [child_seed(layout, f"{arm}{s}") for s in range(seeds)]
    sets = [load(dataset, train_size=train_size, seed=root, device=device) for root in roots]
    draw = np.random.default_rng(child_seed(layout, f"{arm}frames"))
    chosen, names = changed(change, dimension, sets[0].num_classes, frames, draw)
    networks = FixedClassifiers(
        body,
        sets[0].image_shape,
        torch.tensor(np.stack(chosen * seeds)),  # (seeds · frames, C, d): every seed, every configuration
        features=features,
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


def codes(
    *,
    dataset: str,
    codes: list[list],
    networks: int,
    body: str,
    train_size: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Fixed classifiers of unit vectors, the best code known or random directions, on one training set: one row a network.

    `codes` lists what is compared, each a kind (``best`` or ``random``) and a dimension.
    """
    data = load(dataset, train_size=train_size, seed=seed, device=device)
    draw = np.random.default_rng(child_seed(seed, "codes"))
    arms = [(kind, d) for kind, d in codes for _ in range(networks)]
    vectors = [unit_vectors(kind, d, data.num_classes, draw) for kind, d in arms]
    stack = narrow(vectors, body, data.image_shape, generator=child_generator(seed, "weights")).to(device)
    train_together(
        stack,
        [data.train],
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        generators=[child_generator(seed, "batches")],
    )
    train, test = measured(stack, [data.train]), measured(stack, [data.test])
    return pd.DataFrame(
        {
            "code": [kind for kind, _ in arms],
            "dimension": [d for _, d in arms],
            "network": [*range(networks)] * len(codes),
            "largest_cosine": [largest_cosine(v) for v in vectors],
            "train_error": train["error"],
            "train_variance_ratio": train["variance_ratio"],
            "test_error": test["error"],
        }
    )


def trained(
    *,
    dataset: str,
    dimensions: list[int],
    networks: int,
    body: str,
    train_size: int,
    epochs: int,
    measured_epochs: list[int],
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Networks whose classifier is trained as well, in few dimensions: one row a network and epoch, before training too."""
    data = load(dataset, train_size=train_size, seed=seed, device=device)
    draw = np.random.default_rng(child_seed(seed, "classifiers"))
    arms = [d for d in dimensions for _ in range(networks)]
    start = [unit_vectors("random", d, data.num_classes, draw) for d in arms]
    stack = narrow(start, body, data.image_shape, generator=child_generator(seed, "weights"))
    fixed = stack.classifiers
    del stack.classifiers
    stack.classifiers = nn.Parameter(fixed)
    steps: Iterator[int] = train_by_epoch(
        stack.to(device),
        [data.train],
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        generators=[child_generator(seed, "batches")],
        measure_at=measured_epochs,
    )
    rows = []
    for epoch in chain([0], steps):
        found = measured(stack, [data.train])
        features, labels = outputs(stack, [data.train])
        for k, d in enumerate(arms):
            rows.append(
                {
                    "dimension": d,
                    "network": k % networks,
                    "epoch": epoch,
                    "train_error": found["error"][k],
                    "train_variance_ratio": found["variance_ratio"][k],
                    "largest_cosine": largest_cosine(directions(features[k, :, :d], labels[k])),
                    "best_cosine": best_known(d, data.num_classes),
                    "random_cosine": random_cosine(d, data.num_classes),
                }
            )
    return pd.DataFrame(rows)


def unit_vectors(kind: str, dimension: int, classes: int, draw) -> np.ndarray:
    """A classifier (C, d) of unit rows: the best code known, its classes in random order, or random directions."""
    if kind == "best":
        return spherical_code(dimension, classes)[draw.permutation(classes)]
    if kind != "random":
        raise unknown("kind", kind, ["best", "random"])
    vectors = draw.standard_normal((classes, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def narrow(vectors: list[np.ndarray], body: str, image_shape, *, generator) -> FixedClassifiers:
    """One stack for classifiers (C, d) of several dimensions: each fills up with zeros, and so does what leads to its features.

    There the gradients are 0 as well, of a classifier that is trained too, so that a network never uses more than its d dimensions.
    """
    most = max(v.shape[1] for v in vectors)
    filled = np.stack([np.pad(v, ((0, 0), (0, most - v.shape[1]))) for v in vectors])
    stack = FixedClassifiers(body, image_shape, torch.tensor(filled), generator=generator)
    with torch.no_grad():
        for k, v in enumerate(vectors):
            stack.last[k, :, v.shape[1] :] = 0
    return stack


def directions(features: Tensor, labels: Tensor) -> np.ndarray:
    """Unit class means (C, d) of features (N, d)."""
    means = torch.stack([features[labels == y].double().mean(0) for y in labels.unique()])
    return (means / means.norm(dim=1, keepdim=True)).cpu().numpy()


def random_cosine(dimension: int, classes: int, draws: int = 200) -> float:
    """Largest cosine of random directions, the mean of draws that are always the same: what is known before training."""
    draw = np.random.default_rng(0)
    return float(np.mean([largest_cosine(unit_vectors("random", dimension, classes, draw)) for _ in range(draws)]))


def optimisation_grid(**parameters) -> list[dict]:
    """The runs on free features: dimension × seed."""
    return expand(optimisation, parameters, over=["dimension"])


def trained_grid(**parameters) -> list[dict]:
    """Trained classifiers in few dimensions, with a weight decay and epochs of their own."""
    own = {name.removeprefix("trained_"): value for name, value in parameters.items() if name.startswith("trained_")}
    return expand(trained, parameters, over=["dataset"], **own)


def codes_grid(**parameters) -> list[dict]:
    """The best code in several dimensions, and random directions in one; with more images the two dimensions that are compared."""
    few, simplex = parameters["permuted_dimension"], parameters["simplex_dimension"]
    best = [["best", d] for d in parameters["code_dimension"]]
    small = {"codes": [*best, ["random", few]], "train_size": parameters["train_size"], "epochs": parameters["epochs"]}
    large = {"codes": [["best", few], ["best", simplex]], "train_size": parameters["more_images"], "epochs": parameters["more_epochs"]}
    return expand(codes, parameters, over=["dataset", [small, large]])


def permutations_grid(**parameters) -> list[dict]:
    """Permuted codes with fewer dimensions than a simplex needs, linear features."""
    return _layouts(parameters, change="permutation", features="linear", dimension=parameters["permuted_dimension"])


def controls_grid(**parameters) -> list[dict]:
    """What cannot matter: permuted simplices below linear features. Each is the others rotated."""
    return _layouts(parameters, change="permutation", features="linear", dimension=parameters["simplex_dimension"])


def rotations_grid(**parameters) -> list[dict]:
    """Rotated simplices, non-negative features: the network's coordinates are not the code's."""
    return _layouts(parameters, change="rotation", features="relu", dimension=parameters["rotated_dimension"])


def reach_grid(**parameters) -> list[dict]:
    """The same in as few dimensions as a simplex needs, a few rotations a layout."""
    few = {"frames": parameters["reach_frames"], "dimension": parameters["simplex_dimension"]}
    return _layouts(parameters, change="rotation", features="relu", **few)


def _layouts(parameters: dict, **arm) -> list[dict]:
    """The independent layouts of an arm, their seeds beginning where those of the other runs do."""
    first = parameters["first_seed"]
    number = {"layout": range(first, first + parameters["seeds"]), "seeds": parameters["seeds_per_layout"]}
    return expand(layout, parameters, over=["dataset", "layout"], **number, **arm)


TABLES = {
    "optimisation": (optimisation, optimisation_grid),
    "trained": (trained, trained_grid),
    "codes": (codes, codes_grid),
    "permutations": (layout, permutations_grid),
    "controls": (layout, controls_grid),
    "rotations": (layout, rotations_grid),
    "reach": (layout, reach_grid),
}
