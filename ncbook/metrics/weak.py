"""Collapse of a test set: relative to the training set's means, without labels, and what errors alone would make of it.

Strong test collapse: test features tend to the mean of the *right* class. Weak: to *some* point of a C-point set (Hui, Belkin & Nakkiran
2022). How those authors measured weak collapse is not known to us, so the label-free statistics are ours: both tend to 0 exactly when the
features tend to C points. V under weak collapse stays positive; `v_even_weak` and `v_confused` give its scale and are no lower bounds.
"""

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.inputs import as_tensor, check_labels
from ncbook.metrics.moments import ClassMoments, squared_distances
from ncbook.metrics.projection import nearest_checked


def group_moments(features: Tensor, groups: Tensor, labels: Tensor, moments: ClassMoments) -> ClassMoments:
    """Moments under another grouping of the samples; ``moments`` themselves when the grouping is that of the ``labels``.

    >>> features, labels = torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1])
    >>> moments = ClassMoments.from_features(features, labels)
    >>> group_moments(features, torch.tensor([1, 1]), labels, moments).count.tolist()
    [0, 2]
    """
    groups, labels = groups.cpu(), labels.cpu()
    moved = (groups != labels).nonzero().flatten()
    classes = moments.count.numel()
    if len(moved) == 0:
        return moments
    if 4 * len(moved) > len(labels):
        return ClassMoments.grouped(features, groups, classes)
    # Only the rows that change group are read.
    rows = features[moved.to(features.device)]
    left = moments.without(ClassMoments.grouped(rows, labels[moved], classes))
    # Where those rows made nearly all of a class's scatter, what is left of it after subtraction is rounding: its other rows are read too.
    doubtful = (left.scatter < 0.1 * moments.scatter).cpu()
    if bool(doubtful.any()):
        stay = ((groups == labels) & doubtful[labels]).nonzero().flatten()
        again = ClassMoments.grouped(features[stay.to(features.device)], labels[stay], classes)
        at = doubtful.to(left.mean.device)
        left = ClassMoments(left.count, *(torch.where(at.view(-1, *[1] * (old.ndim - 1)), new, old)
                                          for new, old in ((again.mean, left.mean), (again.scatter, left.scatter))))  # fmt: skip
    return left.merge(ClassMoments.grouped(rows, groups[moved], classes))


def variance_ratio_train_means(moments: ClassMoments, train: ClassMoments, *, weighting: str = "class") -> Tensor:
    """V with the training set's class means in both W and B, in [0, inf); equals `variance_ratio` on the training set itself.

    ``moments`` and ``train`` are those of the test and of the training features, grouped by label. Under exact weak collapse with errors
    spread evenly over the vertices of a simplex this is 2 (1 - a), below `v_even_weak`. One sample of a class will do. Raises `InputError`
    for a class without any and for coinciding training means.

    >>> train = ClassMoments.from_features(torch.tensor([[0.0], [0.0], [2.0], [2.0]]), torch.tensor([0, 0, 1, 1]))
    >>> test = ClassMoments.from_features(torch.tensor([[1.0], [1.0], [2.0], [2.0]]), torch.tensor([0, 0, 1, 1]))
    >>> variance_ratio_train_means(test, train).item()
    0.5
    """
    moments.check_present()
    distance = moments.scatter / moments.count + (moments.mean - train.mean).square().sum(1)  # (C,)
    return moments.weights(weighting) @ distance / train.between(weighting)


def variance_ratio_predicted(groups: ClassMoments, *, weighting: str = "class") -> Tensor:
    """V with the groups made by the network's *predicted* labels and their own means (ours), in [0, inf).

    ``groups`` are the moments under the predictions. Classes never predicted are left out; NaN if fewer than two are left or their means
    coincide. A class predicted once has no spread, which lowers the value a little.

    >>> groups = ClassMoments.from_features(torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([0, 0, 2, 2]), allow_missing=True)
    >>> variance_ratio_predicted(groups).item()
    0.04
    """
    groups = groups.present()
    return groups.weights(weighting) @ (groups.scatter / groups.count) / _between_or_nan(groups, weighting)


def weak_nearest_mean(nearest: ClassMoments, train: ClassMoments, *, weighting: str = "class") -> Tensor:
    """Mean over samples of min_c |h - mu_c^train|^2, over Tr Sigma_B of the training set (ours), in [0, inf).

    ``nearest`` are the moments of the features grouped by their nearest training mean (`nearest_centre`). ``weighting`` is Sigma_B's; the
    samples weigh the same, for they have no labels here.

    >>> train = ClassMoments.from_features(torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1]))
    >>> nearest = ClassMoments.from_features(torch.tensor([[1.0], [4.0]]), torch.tensor([0, 1]))
    >>> weak_nearest_mean(nearest, train).item()  # (1 + 0) / 2 over 4
    0.125
    """
    # |h - mu|^2 summed over a group, through the group's own mean: exact where a sum of float32 differences from mu would not be.
    squares = nearest.scatter.sum() + nearest.count.double() @ (nearest.mean - train.mean).square().sum(1)
    return squares / nearest.count.sum() / train.between(weighting)


def weak_kmeans(features: Tensor, nearest: Tensor, train: ClassMoments, *, steps: int = 50, groups: ClassMoments | None = None) -> Tensor:
    """Within over between sum of squares of a k-means clustering started at the training means (ours), in [0, inf).

    Features (N, d); ``nearest`` (N,) is each sample's nearest training mean. Lloyd's steps until at most N / 1000 samples change cluster,
    or ``steps`` of them. A cluster that loses all its samples stays where it was. NaN if one cluster is left. ``groups`` are the moments by
    ``nearest``, where they are known.

    >>> train = ClassMoments.from_features(torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1]))
    >>> weak_kmeans(torch.tensor([[0.0], [2.0], [9.0], [11.0]]), torch.tensor([0, 0, 1, 1]), train).item()  # 4 over 81
    0.04938271604938271
    """
    features = as_tensor(features, "features")
    nearest, _ = check_labels(nearest, samples=len(features), num_classes=len(train.mean), what="nearest means")
    centres, cluster = train.mean, nearest
    groups = ClassMoments.grouped(features, nearest, len(centres)) if groups is None else groups
    groups.check_finite()
    for _ in range(steps):
        before, centres = centres, torch.where(groups.count[:, None] > 0, groups.mean, centres)
        if torch.equal(before, centres):  # so every sample stays where it is
            break
        moved = nearest_checked(features, cluster, centres)
        if int((moved != cluster).sum()) <= len(features) // 1000:
            break
        groups, cluster = group_moments(features, moved, cluster, groups), moved
    groups = groups.present()
    return groups.scatter.sum() / groups.count.sum() / _between_or_nan(groups, "sample")


def v_even_weak(error: float | Tensor, num_classes: int) -> float | Tensor:
    """V of features exactly on the vertices of a simplex, a share ``error`` of them on wrong ones, spread evenly (ours).

    (1 - a^2) / a^2 with a = 1 - error C / (C - 1). Even spreading is the worst case, so this is *not* a lower bound of V at that error.
    Infinite at chance, a = 0. Raises `InputError` for an error outside [0, 1] or fewer than two classes.

    >>> round(v_even_weak(0.05, 10), 3), round(v_even_weak(0.05, 2), 3), round(v_even_weak(0.3, 100), 2)
    (0.121, 0.235, 1.06)
    """
    if num_classes < 2 or not 0 <= error <= 1:
        raise InputError(f"v_even_weak needs an error in [0, 1] and at least 2 classes, not {error} and {num_classes}")
    a = 1 - error * num_classes / (num_classes - 1)
    return (1 - a**2) / a**2 if a != 0 else torch.inf


def v_confused(labels: Tensor, predicted: Tensor, train: ClassMoments, *, weighting: str = "class") -> Tensor:
    """V of the features replaced by the training mean of their predicted class (ours): the real confusions between the real means.

    Labels and predictions (N,), each class among the labels. NaN if the class averages coincide, as when one class is always predicted.

    >>> train = ClassMoments.from_features(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1]))
    >>> round(v_confused(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]), train).item(), 12)  # means 1 and 2, within 1 and 0
    2.0
    """
    classes = train.count.numel()
    labels, _ = check_labels(labels, samples=len(labels), num_classes=classes)
    predicted, _ = check_labels(predicted, samples=len(labels), num_classes=classes, what="predicted labels")
    table = torch.bincount(labels.to(train.mean.device) * classes + predicted.to(train.mean.device), minlength=classes**2)
    return confused_ratio(table.view(classes, classes), train, weighting=weighting)


def confused_ratio(table: Tensor, train: ClassMoments, *, weighting: str = "class") -> Tensor:
    """`v_confused` from the (C, C) table of how many samples of each class were given each label."""
    count = table.sum(1)  # (C,)
    if int(count.sum()) == int(table.diagonal().sum()):
        return torch.zeros((), dtype=torch.float64, device=train.mean.device)  # nothing is confused
    share = table.double() / count[:, None]  # (C, C), rows sum to 1
    means = train.centred()
    squares = squared_distances(means, means)  # (C, C)
    # The scatter of points p with shares s is half the mean squared distance between two of them: no difference of squares.
    groups = ClassMoments(count, share @ means, count * ((share @ squares) * share).sum(1) / 2)
    return groups.weights(weighting) @ (groups.scatter / groups.count) / _between_or_nan(groups, weighting)


def _between_or_nan(groups: ClassMoments, weighting: str) -> Tensor:
    try:
        return groups.between(weighting)
    except InputError:
        return torch.full((), torch.nan, dtype=torch.float64, device=groups.mean.device)
