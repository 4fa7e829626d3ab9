"""Collapse at a common sample size: V, NC1 and CDNV of small samples are biased down, so splits are compared at the same n a class.

True V = 0.5 measures about 0.43 at 10 samples a class and 0.49 at 100: the class means absorb part of the spread.
"""

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.collapse import _cdnv, nc1_from, variance_ratio
from ncbook.metrics.moments import ClassMoments, check_features
from ncbook.metrics.projection import MeanSpan, project


def at_common_size(
    features: Tensor, labels: Tensor, n_per_class: int, *, num_classes: int | None = None, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """V, NC1 and CDNV measured on balanced subsets of ``n_per_class`` samples a class, averaged over the disjoint subsets there are.

    Features (N, d), labels (N,). Returns 0-d tensors ``variance_ratio_common``, ``nc1_common`` and ``cdnv_common``. Samples are taken in
    stored order; a CPU ``generator`` shuffles them first. Raises `InputError` if a class has fewer than ``n_per_class`` samples.

    >>> features = torch.tensor([[0.0], [2.0], [10.0], [12.0], [0.0], [4.0], [10.0], [14.0]])
    >>> at_common_size(features, torch.tensor([0, 0, 1, 1, 0, 0, 1, 1]), 2)["variance_ratio_common"].item()  # (1 + 4) / 25 / 2
    0.1
    """
    features, labels, num_classes = check_features(features, labels, num_classes=num_classes)
    if n_per_class < 2:
        raise InputError(f"a common size of {n_per_class} a class leaves no within-class variance; use at least 2")
    order = torch.randperm(len(labels), generator=generator) if generator is not None else torch.arange(len(labels))
    rows = [order[labels[order] == c] for c in range(num_classes)]
    smallest = min(map(len, rows))
    if smallest < n_per_class:
        raise InputError(f"a common size of {n_per_class} a class is more than the smallest class has, {smallest}")
    values = []
    for start in range(0, smallest - n_per_class + 1, n_per_class):
        subset = torch.cat([of_class[start : start + n_per_class] for of_class in rows])
        values.append(_variability(features[subset.to(features.device)], labels[subset]))
    means = torch.stack(values).mean(0)  # (3,)
    return dict(zip(("variance_ratio_common", "nc1_common", "cdnv_common"), means, strict=True))


def _variability(features: Tensor, labels: Tensor) -> Tensor:
    moments = ClassMoments.from_features(features, labels)
    span = MeanSpan.from_moments(moments)
    near = project(features, labels, moments, span, span)
    return torch.stack([variance_ratio(moments), nc1_from(moments, near), _cdnv(moments, span.coordinates)])
