"""The second pass: what needs the final class means, summed over batches so that it streams and merges between processes."""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.inputs import compute_dtype
from ncbook.metrics.moments import ClassMoments
from ncbook.metrics.projection import MeanSpan, Projector, project
from ncbook.metrics.weak import group_moments


@dataclass
class Second:
    """Sums over the samples of one split, each seen from its class mean. All but the two groups of moments are plain sums.

    Make one with `empty` and `update` it batch by batch, or with `of` from all features at once, which reads less.
    """

    count: Tensor  # (C,) int64, samples seen of each class
    whitened: Tensor  # (C,) float64
    residual: Tensor | None  # (C, r) float64: 0 if these are the data that the means were made of
    nearest: ClassMoments  # grouped by the nearest of the deciding means
    far: Tensor  # (C,) int64, samples of each class nearest to another's mean
    predicted: ClassMoments | None  # grouped by the network's decision; None where that is not known
    confusion: Tensor | None  # (C, C) int64, samples of each class given each label by the network
    disagree: Tensor | None  # (C,) int64, samples of each class whose nearest mean is not the network's decision
    near: Tensor | None = None  # (N,) int64, the nearest mean of each sample, where all were given at once
    projector: Projector | None = field(default=None, repr=False)  # of the last batch, for the next

    @classmethod
    def of(
        cls,
        features: Tensor,
        labels: Tensor,
        predicted: Tensor | None,
        moments: ClassMoments,
        span: MeanSpan | None,
        centres: MeanSpan,
        *,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> "Second":
        """All of it from checked features in memory; ``weight`` and ``bias`` predict where ``predicted`` (N,) is not given."""
        head = {} if predicted is not None else {"weight": weight, "bias": bias}
        seen = project(features, labels, moments, span, centres, **head)
        predicted = seen.predicted if predicted is None else predicted
        nearest = group_moments(features, seen.nearest, labels, moments)
        groups = None
        if predicted is not None:
            same = torch.equal(predicted, seen.nearest)
            groups = nearest if same else group_moments(features, predicted, labels, moments)
        counts = _counts(labels, seen.nearest, predicted, moments.count.numel())
        return cls(moments.count.cpu(), seen.whitened, None, nearest, counts[0], groups, *counts[1:], near=seen.nearest)

    @classmethod
    def empty(cls, moments: ClassMoments, span: MeanSpan | None, *, predictions: bool) -> "Second":
        """The sums over no samples; with ``predictions`` each `update` must say what the network decided."""
        classes, width = moments.mean.shape
        device = moments.mean.device
        groups = [ClassMoments.empty(classes, width, device=device) for _ in range(2)]
        sums = torch.zeros(classes, dtype=torch.int64)
        residual = torch.zeros(classes, 0 if span is None else span.rank, dtype=torch.float64, device=device)
        confusion, disagree = (torch.zeros(classes, classes, dtype=torch.int64), sums.clone()) if predictions else (None, None)
        whitened = torch.zeros(classes, dtype=torch.float64, device=device)
        return cls(sums, whitened, residual, groups[0], sums.clone(), groups[1] if predictions else None, confusion, disagree)

    def update(
        self, features: Tensor, labels: Tensor, predicted: Tensor | None, moments: ClassMoments, span: MeanSpan | None, centres: MeanSpan
    ) -> None:
        """Add a batch of checked samples in place."""
        if self.projector is None or self.projector.dtype != compute_dtype(features):
            self.projector = Projector(moments, span, centres, compute_dtype(features), residuals=True)
        seen = self.projector(features, labels)
        self.whitened += seen.whitened
        self.residual += seen.residual
        self.nearest.add(features, seen.nearest)
        if self.predicted is not None:
            self.predicted.add(features, predicted)
        far, confusion, disagree = _counts(labels, seen.nearest, None if self.predicted is None else predicted, len(self.count))
        self.count += labels.bincount(minlength=len(self.count))
        self.far += far
        if confusion is not None:
            self.confusion += confusion
            self.disagree += disagree

    def merge(self, other: "Second") -> "Second":
        """Both sets of samples together."""
        sums = [f.name for f in fields(self) if f.name not in ("near", "projector")]
        pairs = ((getattr(self, name), getattr(other, name)) for name in sums)
        return Second(*(a if a is None else a.merge(b) if isinstance(a, ClassMoments) else a + b for a, b in pairs))

    @property
    def device(self) -> torch.device:
        return self.whitened.device

    def to(self, device) -> "Second":
        """The sums on another device; counts of samples stay on the CPU."""
        moved = {name: getattr(self, name) for name in ("whitened", "residual", "nearest", "predicted")}
        return replace(self, projector=None, **{name: part if part is None else part.to(device) for name, part in moved.items()})

    def check(self, moments: ClassMoments, *, where: str = "") -> None:
        """Raise `InputError` if these are not the samples that ``moments`` were made of: other counts, other means, or another spread.

        The class residual sums are compared with the spread of the class, and with what another order of summation does to float32
        features.
        """
        check_same_data(self.count, self.whitened, self.residual, moments, self.nearest, far=int(self.far.sum()), where=where)


def check_same_data(
    count: Tensor, whitened: Tensor, residual: Tensor, moments: ClassMoments, nearest: ClassMoments, *, far: int, where: str = ""
) -> None:
    """Raise `InputError` where a second pass read other samples than the ``moments`` were made of: counts, means or spreads differ.

    ``count`` (C,), ``whitened`` (C,), ``residual`` (C, r) and ``nearest`` are those of `Second`, ``far`` is how many samples are nearest to
    another class's mean; ``where`` begins the message.
    """
    remedy = "both passes must read the same data, without random augmentation, dropout or a subset drawn anew"
    first = moments.count.to(count.device)
    if not torch.equal(count, first):
        c = int((count != first).nonzero()[0])
        raise InputError(f"{where}the second pass saw {int(count[c])} samples of class {c}, the first {int(first[c])}; {remedy}")
    if not bool(whitened.isfinite().all()):
        return
    n = first.clamp_min(1).to(residual.device)
    offset = residual.norm(dim=1) / n  # of the mean, where the spread of the class means is 1
    spread = (whitened / n).clamp_min(0).sqrt()
    # features of size |h| stored in float32, or made again in batches of another size, differ by about 1e-6 |h|
    length = moments.mean.norm(dim=1).max()
    size = length / moments.centred().norm(dim=1).max()
    other = offset > 1e-3 * spread + 1e-4 * (1 + size) + 1e-3 / n
    doubtful = (offset > 0.1 * spread) & (offset > 1e-6 * size)  # of the squares, which NC1 is made of, more than 1%
    if bool(doubtful.any()):
        least = MeanSpan.from_moments(moments).variance[: residual.shape[1]][-1].sqrt()  # the direction that whitening enlarges most
        other |= doubtful & (offset > 1e-6 * length / least)
    if bool(other.any()):
        c = int((offset - 1e-3 * spread).argmax())
        raise InputError(f"{where}the features of class {c} have another mean in the second pass than in the first; {remedy}")
    if far:  # the groups are others, and only the spread of all samples is to be compared
        now, before = (_total(part) for part in (nearest, moments))
        allowed = 0.05 * moments.scatter.sum() + n.sum() * (1e-6 * length) ** 2 + 1e-9 * before
    else:
        now, before = nearest.scatter, moments.scatter
        allowed = 0.05 * before + n * (1e-6 * length) ** 2
    if bool(((now - before).abs() > allowed).any()):
        what = "" if far else f" of class {int(((now - before).abs() - allowed).argmax())}"
        raise InputError(f"{where}the features{what} have another spread in the second pass than in the first; {remedy}")


def _total(moments: ClassMoments) -> Tensor:
    """The summed squared distance of all samples to their mean."""
    return moments.scatter.sum() + moments.count.double() @ moments.centred("sample").square().sum(1)


def _counts(labels: Tensor, nearest: Tensor, predicted: Tensor | None, classes: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    def per_class(flags: Tensor) -> Tensor:
        return labels[flags].bincount(minlength=classes)

    if predicted is None:
        return per_class(nearest != labels), None, None
    table = torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)
    return per_class(nearest != labels), table, per_class(predicted != nearest)
