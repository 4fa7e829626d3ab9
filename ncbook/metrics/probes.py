"""Probes: what frozen features still tell about classes that they were not trained on.

Each probe is fitted on the train split's features with the fine labels and scored on the test split. The probe decides the outcome, so
there are several, and none has a setting that is chosen by its result: the three linear ones are the same classifier, trained for the same
number of steps, on the same features in three scalings.
"""

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.devices import decompose
from ncbook.metrics.moments import check_features

STEPS = 100  # gradient steps of the linear probes
NEIGHBOURS = 10
ROUNDING = 1e-6  # about ten times float32's: directions in which features vary by less, for their size, hold rounding errors only


def probe_accuracies(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, *, steps: int = STEPS, neighbours: int = NEIGHBOURS
) -> dict[str, float]:
    """Accuracy on ``test`` (M, d) with labels (M,) of the probes fitted on ``train`` (N, d) with labels (N,), by name.

    - ``logistic``: multinomial logistic regression on the raw features, `steps` of accelerated gradient descent (`fit_logistic`);
    - ``standardised``: the same, each coordinate divided by its standard deviation;
    - ``whitened``: the same, each principal direction divided by its own, so that a code counts however small it is;
    - ``neighbours``: the majority among the nearest `neighbours` train features, the nearest of the tied classes winning;
    - ``centre``: the nearest class mean.

    All distances are Euclidean. Features are centred with the training mean first, in float64. Raises `InputError` for wrong shapes, labels
    out of range, NaN or infinite features, classes without a train sample, and more neighbours than train samples.

    >>> train, labels = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0]]), torch.tensor([0, 1, 2, 3])
    >>> probe_accuracies(train, labels, train + 0.1, labels, neighbours=1)
    {'logistic': 1.0, 'standardised': 1.0, 'whitened': 1.0, 'neighbours': 1.0, 'centre': 1.0}
    """
    train, train_labels, classes = _checked("train", train, train_labels, None)
    test, test_labels, _ = _checked("test", test, test_labels, classes)
    if test.shape[1] != train.shape[1]:
        raise InputError(f"train features have {train.shape[1]} dimensions but test features {test.shape[1]}.")
    if not 1 <= neighbours <= len(train):
        raise InputError(f"neighbours must be from 1 to the {len(train)} train samples, not {neighbours}.")
    mean, size = train.mean(0), train.abs().max()
    train, test = train - mean, test - mean
    accuracy = {}
    for name, scaling in {"logistic": _raw, "standardised": _standardised, "whitened": _whitened}.items():
        a, b = scaling(train, test, ROUNDING * size)
        weight, bias = fit_logistic(a, train_labels, classes, steps=steps)
        accuracy[name] = _share(torch.addmm(bias[:, None], weight, b.T.to(weight.dtype)).argmax(0), test_labels)
    accuracy["neighbours"] = _share(_vote(train, train_labels, test, classes, neighbours), test_labels)
    hot = torch.nn.functional.one_hot(train_labels, classes).double()  # (N, C)
    means = (hot.T @ train) / hot.sum(0)[:, None]  # (C, d)
    accuracy["centre"] = _share(_square_distances(test, means).argmin(1), test_labels)
    return accuracy


def fit_logistic(features: Tensor, labels: Tensor, classes: int, *, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Weight (C, d) and bias (C,) of multinomial logistic regression on *centred* features (N, d), a fixed number of steps from zero.

    Nesterov's accelerated gradient descent without penalty: the number of steps is the whole budget. The step is 1 / L for the bound L =
    1/2 on the loss's curvature when the largest principal variance is 1, so multiplying all features by one number changes nothing, and n
    steps learn little from directions whose variance is below about 1 / n^2 of the largest. No features that vary at all: weight 0.

    >>> weight, bias = fit_logistic(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), 2, steps=1)
    >>> weight.tolist(), bias.tolist()  # one step of length 2 along the gradient, which is (-1/2, 1/2)
    ([[-1.0], [1.0]], [0.0, 0.0])
    """
    if steps < 1:
        raise InputError(f"a probe needs at least 1 step, not {steps}.")
    features = features.double()
    variance = decompose(torch.linalg.eigvalsh, features.T @ features / len(features))  # (d,), ascending
    largest = variance[-1].sqrt() if len(variance) and variance[-1] > 0 else features.new_ones(())
    x = torch.cat([features / largest, features.new_ones(len(features), 1)], dim=1).float()  # (N, d + 1): once scaled, float32 is enough
    columns = x.T.contiguous()  # products with few rows run several times faster than those with few columns
    hot = torch.nn.functional.one_hot(labels, classes).T.to(x.dtype)  # (C, N)
    here = ahead = x.new_zeros(classes, x.shape[1])  # (C, d + 1): weight and bias
    for k in range(steps):
        gap = (ahead @ columns).softmax(0).sub_(hot)  # (C, N): N times the loss's gradient in the logits
        before, here = here, torch.add(ahead, gap @ x, alpha=-2 / len(x))
        ahead = torch.lerp(before, here, 1 + k / (k + 3))  # beyond here, in the direction of the last step
    return here[:, :-1] / largest.float(), here[:, -1]


def _raw(train: Tensor, test: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    return train, test


def _standardised(train: Tensor, test: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    deviation = train.square().mean(0).sqrt()
    scale = torch.where(deviation > least, 1 / deviation, 0)  # a unit that is constant says nothing
    return train * scale, test * scale


def _whitened(train: Tensor, test: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    variance, directions = decompose(torch.linalg.eigh, train.T @ train / len(train))
    keep = variance > least.square()
    turn = directions[:, keep] / variance[keep].sqrt()  # (d, r)
    return train @ turn, test @ turn


def _vote(train: Tensor, labels: Tensor, test: Tensor, classes: int, neighbours: int) -> Tensor:
    """The class (M,) with most votes; among tied ones that of the nearest neighbour."""
    found = []
    for block in test.split(1024):
        near = labels[_square_distances(block, train).topk(neighbours, largest=False).indices]  # (m, k), nearest first
        votes = torch.nn.functional.one_hot(near, classes).sum(1)  # (m, C)
        tied = votes.gather(1, near) == votes.max(1, keepdim=True).values  # (m, k)
        found.append(near.gather(1, tied.int().argmax(1, keepdim=True)).squeeze(1))  # argmax: the first of equals
    return torch.cat(found)


def _square_distances(a: Tensor, b: Tensor) -> Tensor:
    """(M, N), up to a constant in each row; of centred float64 vectors, so that the difference of large numbers stays exact enough."""
    return b.square().sum(1) - 2 * (a @ b.T)


def _checked(split: str, features: Tensor, labels: Tensor, classes: int | None) -> tuple[Tensor, Tensor, int]:
    try:
        features, labels, classes = check_features(features, labels, num_classes=classes)
    except InputError as error:
        raise InputError(f"{split}: {error}") from None
    features, labels = features.detach().double(), labels.to(features.device)
    if not features.isfinite().all():
        raise InputError(f"{split}: features hold NaN or infinite values.")
    if split == "train" and (labels.bincount(minlength=classes) == 0).any():
        raise InputError("train: each class needs at least one sample.")
    return features, labels, classes


def _share(predicted: Tensor, labels: Tensor) -> float:
    return (predicted == labels).double().mean().item()
