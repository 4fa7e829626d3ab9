"""Margins and label alignment in the terminal phase: what grows, what it is worth on new images (Gao et al. 2023, non-conservative)."""

from itertools import chain

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ncbook.data.datasets import load
from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.error import error_rate
from ncbook.metrics.margins import margin_bound, margin_summary, pairwise_margins, svm_weight
from ncbook.metrics.moments import ClassMoments
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.runs.grid import expand
from ncbook.seeds import child_generator, child_seed
from ncbook.theory.assignment import assignment_score, assignments, confusability
from ncbook.theory.codes import spherical_code
from ncbook.theory.covering_numbers import cell_diameters, class_distances, covering_bound, least_lipschitz, lipschitz_bound
from ncbook.theory.symmetry import rotation
from ncbook.training.evaluate import extract
from ncbook.training.recipe import Recipe, takes_recipe
from ncbook.training.stacked import in_stacks
from ncbook.training.together import outputs, train_by_epoch

NAN = float("nan")
BEGINNING = ("epoch", "test_error", "p_min", "normalised_min", "normalised_q05")  # of a network where its terminal phase begins


@in_stacks(10)
@takes_recipe
def terminal(recipe: Recipe, *, svm: bool, covering: bool, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Margins of one network through training, at a constant learning rate: one row an epoch."""
    data, network, states = recipe.start(seed, device)
    network.classifier.bias = None  # scores are W h, as in the theorems
    rows, first = [], None
    for state in states:
        w, y = network.classifier.weight.detach(), data.train.labels
        h, h_test = extract(network, data.train), extract(network, data.test)
        row = {
            "epoch": state.epoch,
            "terminal_epoch": state.terminal_epoch,
            "train_error": state.train_error,
            "test_error": float(error_rate(h_test @ w.T, data.test.labels)),
            "variance_ratio": float(variance_ratio(ClassMoments.from_features(h, y))),
            **margin_summary(h, y, w),
            **dict.fromkeys(("bound", "svm_share", *(f"svm_cosine{name}" for name in ("", "_first", "_other", "_other_first"))), NAN),
        }
        if row["p_min"] > 0:
            centred = (w - w.mean(0)).double()  # no decision depends on the mean row
            row["bound"] = margin_bound(h, y, centred)
            if svm:
                best = svm_weight(h, y).to(device)
                first = centred.clone() if first is None else first  # the classifier of the first epoch with a positive margin
                other = best.roll(1, 0)  # a machine for classes that have been given another name
                pairs = {"": (best, centred), "_first": (best, first), "_other": (other, centred), "_other_first": (other, first)}
                for name, (machine, weight) in pairs.items():
                    row[f"svm_cosine{name}"] = float((machine * weight).sum() / machine.norm() / weight.norm())
                row["svm_share"] = row["p_min"] * float(best.norm() / centred.norm())
        if covering and row["p_min"] > 0 and state.epoch == recipe.epochs:
            row |= covering_bounds(network, data, h, h_test)
        rows.append(row)
    return pd.DataFrame(rows)


def covering_bounds(network, data, features: Tensor, test_features: Tensor) -> dict[str, float]:
    """The covering bound, low and high, in the space of features (their supports sampled by train
    or by test features) and in that of images; and the least that any network could have."""
    w, y, n = network.classifier.weight.detach(), data.train.labels, len(data.train.labels)
    gamma = pairwise_margins(features @ w.T, y)
    images = data.train.normalise(data.train.images).flatten(1)
    eps = cell_diameters(gamma, w)  # L = 1: the space is that of the features
    spaces = {
        "train_features": (features, y, eps),
        "test_features": (test_features, data.test.labels, eps),
    }
    if (lipschitz := lipschitz_bound(network.blocks)) == lipschitz:  # not nan
        spaces["images"] = images, y, cell_diameters(gamma, w, lipschitz)
    spaces["any_network"] = images, y, class_distances(images, y)
    bounds = {"lipschitz": lipschitz}
    for name, (points, labels, diameters) in spaces.items():
        low, high = covering_bound(points, labels, diameters, n)
        bounds |= {f"covering_{name}_low": low, f"covering_{name}_high": high}
    return bounds


def alignment(
    *,
    dataset: str,
    dimension: int,
    features: str,
    train_size: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    frames: int,
    body: str,
    measure_every: int,
    scored: bool,
    seeds: int,
    layout: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Assignments of one code × seeds, each cell a network of its own: one row a network."""
    arm = f"{dataset}/{dimension}/{features}/"
    roots = [child_seed(layout, f"{arm}{s}") for s in range(seeds)]
    sets = [load(dataset, train_size=train_size, seed=root, device=device) for root in roots]
    train_splits, test_splits = [data.train for data in sets], [data.test for data in sets]
    classes = sets[0].num_classes
    settings = {"epochs": epochs, "learning_rate": learning_rate}
    settings |= {"weight_decay": weight_decay, "batch_size": batch_size}
    draw = np.random.default_rng(child_seed(layout, f"{arm}frames"))
    vectors = spherical_code(dimension, classes)
    if features == "relu":  # no vector may lie along the network's own axes
        vectors = vectors @ rotation(dimension, draw)
    orders = assignments(vectors, frames, draw)
    chosen = torch.tensor(vectors[orders])  # (frames, C, d)
    networks = FixedClassifiers(
        body,
        sets[0].image_shape,
        chosen.repeat(seeds, 1, 1),  # every seed, every assignment
        features=features,
        generator=child_generator(layout, f"{arm}weights"),
    ).to(device)
    generators = [child_generator(root, "batches") for root in roots]
    # the first epoch from which on a network has no training error, and what it was like then
    begins: dict[int, dict] = {}
    measured = range(measure_every, epochs + 1, measure_every)
    steps = train_by_epoch(networks, train_splits, generators=generators, measure_at=measured, **settings)
    for epoch in chain(steps, [epochs]):
        h, y = outputs(networks, train_splits)
        train_error = error_rate(networks.logits(h), y)
        begins = {k: then for k, then in begins.items() if train_error[k] == 0}
        new = [k for k in range(len(h)) if train_error[k] == 0 and k not in begins]
        if new or epoch == epochs:  # test images are many
            h_test, y_test = outputs(networks, test_splits)
            test_error = error_rate(networks.logits(h_test), y_test)
        for k in new if epoch < epochs else []:
            then = margin_summary(h[k], y[k], networks.classifiers[k])
            begins[k] = {"epoch": epoch, "test_error": float(test_error[k])} | {name: then[name] for name in BEGINNING[2:]}
    scores = (
        scored_by(dataset, body, frames, train_splits, chosen, root=child_seed(layout, f"{arm}reference"), **settings) if scored else {}
    )
    rows = []
    for k in range(len(h)):
        f, split, w = k % frames, train_splits[k // frames], networks.classifiers[k]
        row = {
            "frame": f,
            "seed": k // frames,
            "assignment": " ".join(map(str, orders[f])),
            **{f"terminal_{name}": begins.get(k, {}).get(name, NAN) for name in BEGINNING},
            "train_error": float(train_error[k]),
            "test_error": float(test_error[k]),
            "train_variance_ratio": float(variance_ratio(ClassMoments.from_features(h[k], y[k]))),
            **margin_summary(h[k], y[k], w),
        }
        if scored:
            row |= {"score": scores["score"][f], "least_lipschitz": scores["least_lipschitz"][k], "covering": NAN}
            if row["p_min"] > 0:
                eps = cell_diameters(pairwise_margins(h[k] @ w.T, y[k]), w)
                row["covering"] = covering_bound(h_test[k], y_test[k], eps, len(split.labels))[0]
        rows.append(row)
    return pd.DataFrame(rows).rename(columns={"loss": "train_loss"})


def scored_by(dataset, body, frames, splits, chosen, *, root, **settings) -> dict[str, list[float]]:
    """What is known of frames before one is trained: how much they put classes together that networks which favour none confuse, and
    how steep a map from each training set to each of them must be."""
    reference = load(dataset, train_size=len(splits[0].labels), seed=root, device=splits[0].labels.device)
    confused = confusability(reference, body, networks=frames, seed=root, **settings)
    images = [split.normalise(split.images).flatten(1) for split in splits]
    steep = [least_lipschitz(x, split.labels, vectors) for x, split in zip(images, splits, strict=True) for vectors in chosen]
    return {"score": [assignment_score(vectors, confused) for vectors in chosen], "least_lipschitz": steep}


def terminal_grid(**parameters) -> list[dict]:
    """Data set × weight decay × network."""
    return expand(terminal, parameters | {"seeds": parameters["networks"]}, over=["dataset", "weight_decay"])


def controls_grid(**parameters) -> list[dict]:
    """The same on classes so far apart that no test image can be gained."""
    return expand(terminal, parameters, over=["weight_decay"], dataset=parameters["separated_dataset"], svm=False, covering=False)


def alignments_grid(**parameters) -> list[dict]:
    """Codes with too few dimensions for a simplex: permuting the classes changes which are neighbours."""
    return _layouts(parameters, features="linear", dimension=parameters["dimension"], scored=True)


def simplices_grid(**parameters) -> list[dict]:
    """Simplices below non-negative features, whose axes are the network's: a permutation is a rotation, but a rotation may matter."""
    return _layouts(parameters, features="relu", dimension=parameters["simplex_dimension"], scored=False)


def _layouts(parameters: dict, **arm) -> list[dict]:
    """Data set × dimension × independent layouts, trained as the parameters ``aligned_…`` say."""
    aligned = {name.removeprefix("aligned_"): value for name, value in parameters.items() if name.startswith("aligned_")}
    first = parameters["first_seed"]
    number = {"layout": range(first, first + parameters["seeds"]), "seeds": parameters["seeds_per_layout"]}
    return expand(alignment, parameters, over=["dataset", "dimension", "layout"], **aligned, **number, **arm)


TABLES = {
    "terminal": (terminal, terminal_grid),
    "controls": (terminal, controls_grid),
    "alignments": (alignment, alignments_grid),
    "simplices": (alignment, simplices_grid),
}

# columns that have no number, or are not there, where no run fits its labels
UNDEFINED = ("covering*", "lipschitz", "terminal_*", "bound", "svm_*")
