"""The same statistics batch by batch, as `torchmetrics` metrics: mergeable, so they sync between processes and drop into a training loop.

NC1 and everything about nearest means need the final class means, hence two passes over the data:

    means = ClassMeans(num_classes=10, num_features=512)
    for features, labels in batches:
        means.update(features, labels)
    means.compute()                                   # V, CDNV, NC2, NC3
    collapse = Collapse(means.moments(), weight=head.weight, bias=head.bias)
    for features, labels in batches:
        collapse.update(features, labels)
    collapse.compute()                                # NC1, NC4, errors, distance to the nearest mean
"""

import torch
from torch import Tensor

import ncbook.torchvision_compat  # noqa: F401  torchmetrics imports torchvision, which may need help beside a CPU build of torch
from ncbook.errors import InputError
from ncbook.metrics.collapse import _cdnv, classifier_geometry, mean_geometry, nc1_from, nc3_self_duality, variance_ratio
from ncbook.metrics.moments import ClassMoments, check_features, check_labels
from ncbook.metrics.projection import MeanSpan, Projected, predictions, project
from ncbook.metrics.weak import weak_nearest_mean

from torchmetrics import Metric  # isort: skip  after ncbook.torchvision_compat


class _Streamed(Metric):
    is_differentiable = False
    higher_is_better = False
    full_state_update = False  # states merge, so `merge_state` works

    def forward(self, *args, **kwargs) -> None:
        """`update`, and no value: one batch lacks classes, and its collapse is biased down by its size."""
        self.update(*args, **kwargs)


class ClassMeans(_Streamed):
    """First pass: the moments of each class, and from them V, CDNV, NC2 and (with the classifier's ``weight``) NC3.

    ``update(features (B, d), labels (B,))``; a batch may be empty or lack classes. ``compute()`` gives a dict of 0-d float64 tensors under
    the names of `collapse_table`, and raises `InputError` if a class has fewer than two samples, features were not finite or means coincide.
    ``moments()`` gives the `ClassMoments` of all processes. ``weight`` (C, d) is read at compute time, so in-place training steps show.

    >>> means = ClassMeans(num_classes=2, num_features=1)
    >>> means.update(torch.tensor([[0.0], [10.0]]), torch.tensor([0, 1]))
    >>> means.update(torch.tensor([[12.0], [2.0]]), torch.tensor([1, 0]))
    >>> means.compute()["variance_ratio"].item()
    0.04
    """

    packed: Tensor

    def __init__(self, num_classes: int, num_features: int, *, weight: Tensor | None = None, weighting: str = "class", **kwargs) -> None:
        super().__init__(**kwargs)
        if num_classes < 2 or num_features < 1:
            raise InputError(f"ClassMeans needs at least 2 classes and 1 feature, not {num_classes} and {num_features}")
        self.num_classes, self.num_features, self.weighting = num_classes, num_features, weighting
        self._head = [] if weight is None else [weight.detach()]  # in a list, or nn.Module would adopt a parameter
        # One state (count, scatter, mean), because torchmetrics reduces each state by itself and merging needs all three at once.
        self.add_state("packed", torch.zeros(num_classes, num_features + 2, dtype=torch.float64), dist_reduce_fx=_merge_packed)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch."""
        features, labels = _check_batch(features, labels, self.num_classes, self.num_features)
        _add(self.packed, features, labels)

    def compute(self) -> dict[str, Tensor]:
        """V, CDNV, NC2 of the class means and, with a weight, NC2 of the classifier and NC3."""
        moments = _checked(self.packed)
        values = {
            "variance_ratio": variance_ratio(moments, weighting=self.weighting),
            "cdnv": _cdnv(moments, MeanSpan.from_moments(moments).coordinates),
            **mean_geometry(moments, weighting=self.weighting),
        }
        for weight in self._head:
            values |= classifier_geometry(weight)
            values["nc3_self_duality"] = nc3_self_duality(weight, moments.centred(self.weighting))
        return values

    def moments(self) -> ClassMoments:
        """The moments of all samples so far, over all processes (call it in each of them)."""
        with self.sync_context(should_sync=self._to_sync and not self._is_synced, should_unsync=not self._is_synced):
            return _checked(self.packed)


class Collapse(_Streamed):
    """Second pass: NC1, He & Su's separation, NC4, errors and the distance to the nearest class mean.

    ``moments`` are those of the data that is streamed (`ClassMeans.moments`), ``centres`` those of the training set where it is another:
    they decide the nearest mean. ``update(features, labels, outputs=None)``; outputs are scores (B, C) or predicted labels (B,), by default
    those of ``weight`` (C, d) and ``bias`` (C,), and without either NC4 and the error are NaN. ``compute()`` gives a dict of 0-d float64
    tensors, and raises `InputError` where a class of the moments has not been seen.

    >>> features, labels = torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([0, 0, 1, 1])
    >>> collapse = Collapse(ClassMoments.from_features(features, labels))
    >>> collapse.update(features, labels)
    >>> round(collapse.compute()["nc1"].item(), 6)
    0.02
    """

    count: Tensor
    whitened: Tensor
    wrong: Tensor
    nearest: Tensor
    compared: Tensor

    def __init__(
        self,
        moments: ClassMoments,
        *,
        centres: ClassMoments | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        weighting: str = "class",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        moments.within(weighting)  # for its check
        self.moments, self.centres, self.weighting = moments, centres or moments, weighting
        self.span = MeanSpan.from_moments(moments, weighting=weighting)
        self.centre_span = MeanSpan.from_moments(self.centres, weighting=weighting)
        self._head = [] if weight is None else [weight.detach(), None if bias is None else bias.detach()]
        classes, width = moments.mean.shape
        # All are plain sums but for the nearest-mean groups, whose spread is too small for sums of squares.
        self.add_state("count", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("whitened", torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("wrong", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")  # ncc_error, error, nc4
        self.add_state("compared", torch.zeros(1, dtype=torch.int64), dist_reduce_fx="sum")  # samples with a prediction
        self.add_state("nearest", torch.zeros(classes, width + 2, dtype=torch.float64), dist_reduce_fx=_merge_packed)
        self.to(moments.mean.device)

    def update(self, features: Tensor, labels: Tensor, outputs: Tensor | None = None) -> None:
        """Add a batch of the same data that the moments were made of."""
        classes, width = self.moments.mean.shape
        features, labels = _check_batch(features, labels, classes, width)
        if len(labels) == 0:
            return
        features = features.to(self.moments.mean.device)
        seen = project(features, labels, self.moments, self.span, self.centre_span)
        self.whitened = self.whitened + seen.whitened.to(self.whitened.device)
        self.count = self.count + labels.bincount(minlength=classes).to(self.count.device)
        nearest = seen.nearest.cpu()
        _add(self.nearest, features, nearest)
        wrong = [(nearest != labels).sum(), torch.tensor(0), torch.tensor(0)]
        if outputs is not None:
            outputs = outputs.argmax(1) if outputs.ndim == 2 else outputs
            predicted, _ = check_labels(outputs, samples=len(labels), num_classes=classes, what="outputs")
        elif self._head:
            predicted = predictions(features, *self._head).cpu()
        else:
            predicted = None
        if predicted is not None:
            wrong[1:] = [(predicted != labels).sum(), (predicted != nearest).sum()]
            self.compared = self.compared + len(labels)
        self.wrong = self.wrong + torch.stack(wrong).to(self.wrong.device)

    def compute(self) -> dict[str, Tensor]:
        """``nc1``, ``he_su_separation``, ``rank``, ``nc4_ncc_mismatch``, ``ncc_error``, ``error`` and ``weak_nearest_mean``."""
        seen = ClassMoments(self.count, self.moments.mean, self.moments.scatter)
        seen.check_present()
        nc1 = nc1_from(seen, Projected(self.whitened, None), weighting=self.weighting)
        total = self.count.sum().double()
        compared = self.compared[0].double()
        return {
            "nc1": nc1,
            "he_su_separation": nc1 * len(self.count),
            "rank": torch.tensor(self.span.rank, dtype=torch.float64),
            "nc4_ncc_mismatch": self.wrong[2] / compared,  # 0 / 0 = NaN where nothing was predicted
            "ncc_error": self.wrong[0] / total,
            "error": self.wrong[1] / compared,
            "weak_nearest_mean": weak_nearest_mean(_unpack(self.nearest), self.centres, weighting=self.weighting),
        }


def _add(packed: Tensor, features: Tensor, labels: Tensor) -> None:
    """Add checked samples to a packed state in place: only the rows of the classes that occur are touched."""
    moments = ClassMoments(packed[:, 0].long(), packed[:, 2:], packed[:, 1])  # mean and scatter are views of the state
    moments.add(features.to(packed.device), labels)
    packed[:, 0] = moments.count


def _pack(moments: ClassMoments) -> Tensor:
    return torch.cat([moments.count[:, None].double(), moments.scatter[:, None], moments.mean], dim=1)  # (C, d + 2)


def _unpack(packed: Tensor) -> ClassMoments:
    return ClassMoments(packed[:, 0].long(), packed[:, 2:], packed[:, 1])


def _checked(packed: Tensor) -> ClassMoments:
    moments = _unpack(packed)
    moments.check_finite()
    moments.check_present()
    return moments


def _merge_packed(states: Tensor) -> Tensor:
    """The states of several processes (P, C, d + 2) as one."""
    merged = _unpack(states[0])
    for state in states[1:]:
        merged = merged.merge(_unpack(state))
    return _pack(merged)


def _check_batch(features: Tensor, labels: Tensor, num_classes: int, num_features: int) -> tuple[Tensor, Tensor]:
    features, labels, _ = check_features(features, labels, num_classes=num_classes)
    if features.shape[1] != num_features:
        raise InputError(f"features have {features.shape[1]} dimensions, not {num_features}")
    return features, labels
