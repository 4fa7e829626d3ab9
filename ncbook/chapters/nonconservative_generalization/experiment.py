"""Margins and label alignment in the terminal phase: what grows, what it is worth on new images (Gao et al. 2023, non-conservative)."""

from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ncbook.data.datasets import load
from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.margins import margin_bound, margin_summary, pairwise_margins, svm_weight
from ncbook.metrics.moments import ClassMoments
from ncbook.models.fixed_classifier import FixedFrames
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator, child_seed
from ncbook.theory.alignment import alignment_score, assignments, confusability
from ncbook.theory.codes import frame
from ncbook.theory.covering_numbers import cell_diameters, class_distances, covering_bound, least_lipschitz, lipschitz_bound
from ncbook.theory.symmetry import rotation
from ncbook.training.loop import extract, measurement_epochs, train
from ncbook.training.staged import history, lasting
from ncbook.training.together import outputs

NAN = float("nan")


def terminal(
    *,
    dataset: str,
    model: str,
    train_size: int,
    epochs: int,
    measurements: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    precision: str,
    svm: bool,
    covering: bool,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Margins of one network through training, at a constant learning rate: one row an epoch."""
    data = load(dataset, train_size=train_size, seed=seed, device=device)
    generator = child_generator(seed, "weights")
    network = build_model(model, data.image_shape, data.num_classes, generator=generator)
    network.classifier.bias = None  # scores are W h, as in the theorems
    network.to(device)
    rows = []
    for state in train(
        network,
        data,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        batch_size=batch_size,
        schedule="constant",
        precision=precision,
        measure_at=measurement_epochs(epochs, measurements),
        generator=child_generator(seed, "batches"),
    ):
        w, y = network.classifier.weight.detach(), data.train.labels
        h, h_test = extract(network, data.train), extract(network, data.test)
        found = {
            "epoch": state.epoch,
            "terminal_epoch": state.terminal_epoch,
            "train_error": state.train_error,
            "test_error": error(h_test @ w.T, data.test.labels),
            "variance_ratio": float(variance_ratio(ClassMoments.from_features(h, y))),
            **margin_summary(h, y, w),
            **dict.fromkeys(("bound", "svm_cosine", "svm_share"), NAN),
        }
        if found["p_min"] > 0:
            centred = (w - w.mean(0)).double()  # no decision depends on the mean row
            found["bound"] = margin_bound(h, y, centred)
            if svm:
                best = svm_weight(h, y).to(device)
                cosine = (best * centred).sum() / best.norm() / centred.norm()
                found["svm_cosine"] = float(cosine)
                found["svm_share"] = found["p_min"] * float(best.norm() / centred.norm())
        if covering and found["p_min"] > 0 and state.epoch == epochs:
            found |= covering_bounds(network, data, h, h_test)
        rows.append(found)
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
    found = {"lipschitz": lipschitz}
    for name, (points, labels, diameters) in spaces.items():
        low, high = covering_bound(points, labels, diameters, n)
        found |= {f"covering_{name}_low": low, f"covering_{name}_high": high}
    return found


def alignment(
    *,
    dataset: str,
    dimension: int,
    features: str,
    frames: int,
    seeds: int,
    body: str,
    train_size: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    measure_every: int,
    layout: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Frames × seeds that differ in which class has which vector: one row a network."""
    arm = f"{dataset}/{dimension}/{features}/"
    roots = [child_seed(layout, f"{arm}{s}") for s in range(seeds)]
    sets = [load(dataset, train_size=train_size, seed=root, device=device) for root in roots]
    train_splits, test_splits = [data.train for data in sets], [data.test for data in sets]
    classes = sets[0].num_classes
    settings = {"epochs": epochs, "learning_rate": learning_rate}
    settings |= {"weight_decay": weight_decay, "batch_size": batch_size}
    draw = np.random.default_rng(child_seed(layout, f"{arm}frames"))
    vectors = frame(dimension, classes)
    if features == "relu":  # no vector may lie along the network's own axes
        vectors = vectors @ rotation(dimension, draw)
    orders = assignments(vectors, frames, draw)
    chosen = torch.tensor(vectors[orders])  # (frames, C, d)
    networks = FixedFrames(
        body,
        sets[0].image_shape,
        chosen.repeat(seeds, 1, 1),  # every seed, every frame
        features=features,
        generator=child_generator(layout, f"{arm}weights"),
    ).to(device)
    measured = range(measure_every, epochs + 1, measure_every)
    train_error, test_error = history(
        networks,
        train_splits,
        test_splits,
        measured,
        generators=[child_generator(root, "batches") for root in roots],
        **settings,
    )  # (K, len(measured)) each
    # fixed before any frame is trained: how easily two classes are confused without frames
    root = child_seed(layout, f"{arm}reference")
    reference = load(dataset, train_size=train_size, seed=root, device=device)
    confused = confusability(reference, body, networks=frames, seed=root, **settings)
    h, y = outputs(networks, train_splits)  # (K, N, d), (K, N)
    h_test, y_test = outputs(networks, test_splits)
    images = [split.normalise(split.images).flatten(1) for split in train_splits]
    rows = []
    for k, begins in enumerate(lasting(train_error)):
        f, split, w = k % frames, train_splits[k // frames], networks.frames[k]
        found = {
            "frame": f,
            "seed": k // frames,
            "assignment": " ".join(map(str, orders[f])),
            "score": alignment_score(chosen[f], confused),
            "least_lipschitz": least_lipschitz(images[k // frames], split.labels, chosen[f]),
            "terminal_epoch": NAN if begins is None else measured[begins],
            "terminal_test_error": NAN if begins is None else float(test_error[k, begins]),
            "train_error": float(train_error[k, -1]),
            "test_error": float(test_error[k, -1]),
            "train_variance_ratio": float(variance_ratio(ClassMoments.from_features(h[k], y[k]))),
            **margin_summary(h[k], y[k], w),
            "covering": NAN,
        }
        if found["p_min"] > 0:
            eps = cell_diameters(pairwise_margins(h[k] @ w.T, y[k]), w)
            found["covering"] = covering_bound(h_test[k], y_test[k], eps, len(split.labels))[0]
        rows.append(found)
    return pd.DataFrame(rows).rename(columns={"loss": "train_loss"})


def error(logits: Tensor, labels: Tensor) -> float:
    """Share of labels (N,) that are not where the logits (N, C) are largest."""
    return float((logits.argmax(1) != labels).double().mean())


def terminal_grid(*, dataset: list[str], weight_decay: list[float], seeds: int, **same) -> list[dict]:
    """Data set × weight decay × seed."""
    names = ("model", "train_size", "epochs", "measurements", "learning_rate", "batch_size", "precision", "svm", "covering")
    shared = {n: same[n] for n in names}
    return [{"dataset": d, "weight_decay": w, **shared, "seed": s} for d, w, s in product(dataset, weight_decay, range(seeds))]


def alignments_grid(*, aligned_dataset: list[str], dimension: list[int], seeds: int, **same) -> list[dict]:
    """Frames with too few dimensions for a simplex: permuting the classes changes which are neighbours."""
    return [_layout(same, d, k, "linear", number) for d, k, number in product(aligned_dataset, dimension, range(seeds))]


def simplices_grid(*, aligned_dataset: list[str], simplex_dimension: int, seeds: int, **same) -> list[dict]:
    """Simplices below non-negative features, whose axes are the network's: a permutation is a rotation, but a rotation may matter."""
    return [_layout(same, d, simplex_dimension, "relu", number) for d, number in product(aligned_dataset, range(seeds))]


def controls_grid(*, aligned_dataset: list[str], simplex_dimension: int, seeds: int, **same) -> list[dict]:
    """Simplices below linear features: permuting the classes changes nothing in law."""
    return [_layout(same, d, simplex_dimension, "linear", number) for d, number in product(aligned_dataset, range(seeds))]


def _layout(same: dict, dataset: str, dimension: int, features: str, number: int) -> dict:
    names = ("train_size", "epochs", "learning_rate", "weight_decay", "batch_size")
    training = {n: same[f"aligned_{n}"] for n in names} | {n: same[n] for n in ("frames", "body", "measure_every")}
    return {
        "dataset": dataset,
        "dimension": dimension,
        "features": features,
        **training,
        "seeds": same["seeds_per_layout"],
        "layout": number,
    }


def seconds(parameters: dict) -> float:
    """Rough time of a run on one CPU core."""
    steps = parameters["epochs"] * parameters["train_size"] / parameters["batch_size"]
    small = parameters["dataset"] in ("digits", "mnist5k", "gaussian")  # few test images
    if "layout" in parameters:
        networks, images = parameters["frames"] * parameters["seeds"], 500 if small else 10_000
        step, image = (2e-4, 4e-6) if parameters["body"].startswith("mlp") else (0.3, 2e-2)
        return networks * (steps * step + parameters["epochs"] / parameters["measure_every"] * images * image)
    step = {"mlp_plain": 2e-3, "mlp": 3e-3, "cnn": 0.08, "resnet18": 2.0}.get(parameters["model"], 0.1)
    return steps * step + parameters["measurements"] * (0.03 if small else 0.3)


TABLES = {
    "terminal": (terminal, terminal_grid),
    "alignments": (alignment, alignments_grid),
    "simplices": (alignment, simplices_grid),
    "controls": (alignment, controls_grid),
}

# columns that have no number, or are not there, where no run fits its labels
UNDEFINED = ("covering*", "lipschitz", "terminal_test_error")
