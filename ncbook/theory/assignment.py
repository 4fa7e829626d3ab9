"""Assignments: which class gets which vector of a spherical code, and a score for it that needs no network trained with the code."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ncbook.data.datasets import Dataset, Split
from ncbook.errors import InputError
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.renamed import moved_name
from ncbook.seeds import child_generator
from ncbook.theory.codes import simplex
from ncbook.theory.symmetry import permutations
from ncbook.training.together import outputs, train_together


def assignments(vectors: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` orders (count, C) in which the classes get the vectors (C, d), no two with the same neighbours; of a simplex, where all are,
    any orders."""
    classes, dimension = vectors.shape
    if dimension >= classes - 1:
        return np.array([random.permutation(classes) for _ in range(count)])
    return permutations(vectors, count, random)


def assignment_score(vectors: Tensor, confusability: Tensor) -> float:
    """Sum over ordered pairs of classes of confusability (C, C) times the cosine of their unit vectors (C, d): high where classes that look
    alike are neighbours.

    Of a simplex the same for all assignments.

    >>> square = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> alike = torch.zeros(4, 4)
    >>> alike[0, 1] = alike[1, 0] = 0.25
    >>> assignment_score(square, alike), assignment_score(square[[0, 2, 1, 3]], alike)  # opposite, and at a right angle
    (-0.5, 0.0)
    """
    vectors, confusability = torch.as_tensor(vectors).double(), torch.as_tensor(confusability).double()
    if vectors.ndim != 2 or confusability.shape != (len(vectors), len(vectors)):
        raise InputError(f"vectors (C, d) and confusability (C, C) do not fit: {tuple(vectors.shape)} and {tuple(confusability.shape)}.")
    return float((confusability * (vectors @ vectors.T)).fill_diagonal_(0).sum())


def confusability(dataset: Dataset, backbone: str, *, networks: int, seed: int, **settings) -> Tensor:
    """How easily two classes are confused (C, C), symmetric with diagonal 0: the probability that reference networks give the other one.

    The classifier of the references is a simplex, for which no pair is special. Half of them are trained on one half of the training set
    and evaluated on the other; no test image, and no other assignment, is used. `settings` are those of
    `ncbook.training.together.train_by_epoch`.
    """
    order = dataset.train.labels.argsort(stable=True)  # class by class: halves by turns are balanced
    halves = [part(dataset.train, order[i : len(order) // 2 * 2 : 2]) for i in (0, 1)]
    vectors = torch.tensor(simplex(dataset.num_classes)).expand(2 * -(-networks // 2), -1, -1)
    stack = FixedClassifiers(backbone, dataset.image_shape, vectors, generator=child_generator(seed, "reference weights")).to(order.device)
    train_together(stack, halves, generators=[child_generator(seed, f"reference batches {i}") for i in (0, 1)], **settings)
    features, labels = outputs(stack, halves[::-1])
    guess = stack.logits(features).double().softmax(2).flatten(0, 1)  # (K N, C)
    table = torch.stack([guess[labels.flatten() == y].mean(0) for y in range(dataset.num_classes)]).cpu()
    return ((table + table.T) / 2).fill_diagonal_(0)


def part(split: Split, keep: Tensor) -> Split:
    """The images of a split at some positions (n,)."""
    names = ("images", "labels", "clean_labels", "fine_labels", "index")
    return replace(split, **{name: getattr(split, name)[keep] for name in names})


def __getattr__(name: str):
    return moved_name(__name__, name)
