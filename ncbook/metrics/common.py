"""Collapse at a common sample size: V, NC1 and CDNV of small samples are biased down, so splits are compared at the same n a class.

True V = 0.5 measures about 0.43 at 10 samples a class and 0.49 at 100: the class means absorb part of the spread.
"""

from operator import index

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.collapse import _cdnv, nc1_from, variance_ratio
from ncbook.metrics.inputs import check_features
from ncbook.metrics.moments import ClassMoments
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
    n_per_class = check_common_n(n_per_class)
    subsets = CommonSize(n_per_class, num_classes)
    order = torch.randperm(len(labels), generator=generator) if generator is not None else torch.arange(len(labels))
    smallest = int(labels.bincount(minlength=num_classes).min())
    if smallest < n_per_class:
        raise InputError(f"a common size of {n_per_class} a class is more than the smallest class has, {smallest}")
    subsets.update(features, labels, order)
    return subsets.compute()


def check_common_n(common_n) -> int:
    """A common size as an int, of whatever kind the whole number is; `InputError` if it is none, or leaves no within-class variance.

    >>> check_common_n(torch.tensor(5))
    5
    """
    try:
        size = index(common_n)
    except (TypeError, ValueError):
        raise InputError(f"the common size common_n must be a whole number, not {common_n!r}") from None
    if size < 2:
        raise InputError(f"a common size of {size} a class leaves no within-class variance; use at least 2")
    return size


class CommonSize:
    """`at_common_size` batch by batch: the rows of a subset are kept until it is complete.

    From a shuffled loader these are about C x n rows at a time; from one that is sorted by class, nearly all.
    """

    def __init__(self, n_per_class: int, num_classes: int) -> None:
        self.n, self.classes = n_per_class, num_classes
        self.waiting: list[list[Tensor]] = [[] for _ in range(num_classes)]  # rows (k, d) of each class, in the order that they came
        self.have = [0] * num_classes
        self.total, self.subsets = torch.zeros(3, dtype=torch.float64), 0

    def update(self, features: Tensor, labels: Tensor, order: Tensor | None = None) -> None:
        """Add checked samples, those of each class in the ``order`` (N,) given."""
        order = torch.arange(len(labels)) if order is None else order
        for c in labels.unique().tolist():
            rows = order[labels[order] == c].to(features.device)
            self.waiting[c].append(features[rows])
            self.have[c] += len(rows)
        while min(self.have) >= self.n:
            self._take()

    def _take(self) -> None:
        taken = []
        for c, parts in enumerate(self.waiting):
            rows = parts[0] if len(parts) == 1 else torch.cat(parts)
            taken.append(rows[: self.n])
            self.waiting[c], self.have[c] = [rows[self.n :]], self.have[c] - self.n
        labels = torch.arange(self.classes).repeat_interleave(self.n)
        self.total += _variability(torch.cat(taken), labels).cpu()
        self.subsets += 1

    def compute(self, total=lambda value: value) -> dict[str, Tensor]:
        """The mean over the subsets; ``total`` sums over processes."""
        count = total(torch.tensor(float(self.subsets)))
        if not count:
            raise InputError(f"a common size of {self.n} a class is more than the smallest class has, {min(self.have)}")
        means = total(self.total) / count
        return dict(zip(("variance_ratio_common", "nc1_common", "cdnv_common"), means, strict=True))


def _variability(features: Tensor, labels: Tensor) -> Tensor:
    moments = ClassMoments.from_features(features, labels)
    span = MeanSpan.from_moments(moments)
    near = project(features, labels, moments, span, span)
    return torch.stack([variance_ratio(moments), nc1_from(moments, near.whitened), _cdnv(moments, span.coordinates)])
