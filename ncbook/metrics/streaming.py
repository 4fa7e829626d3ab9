"""The same statistics batch by batch, as `torchmetrics` metrics: mergeable, so they sync between processes and drop into a training loop.

NC1 and everything about nearest means need the final class means, hence two passes over the data:

    means = ClassMeans(num_classes=10, num_features=512, head=model.fc)
    for features, labels in batches:
        means.update(features, labels)
    means.compute()                                   # V, CDNV, NC2, NC3
    collapse = Collapse(means.moments(), head=model.fc)
    for features, labels in batches:
        collapse.update(features, labels)
    collapse.compute()                                # NC1, NC4, errors, distance to the nearest mean
"""

import warnings
from importlib.util import find_spec

import torch
from torch import Tensor

from ncbook.errors import InputError, unknown
from ncbook.metrics.collapse import _cdnv, classifier_geometry, mean_geometry, nc1_from, nc3_self_duality, variance_ratio
from ncbook.metrics.head import as_head, checked_head
from ncbook.metrics.inputs import check_features, check_outputs, compute_dtype
from ncbook.metrics.moments import ClassMoments, check_weighting
from ncbook.metrics.projection import MeanSpan, Projector, predictions
from ncbook.metrics.second import check_same_data
from ncbook.metrics.weak import weak_nearest_mean

if find_spec("torchvision"):  # torchmetrics imports it where it is installed, and beside a CPU build of torch that may need help
    import ncbook.torchvision_compat  # noqa: F401

from torchmetrics import Metric  # isort: skip  after torchvision

GEOMETRY = ("nc2_equinorm", "nc2_equiangularity", "nc2_max_angle")


class _Streamed(Metric):
    is_differentiable = False
    higher_is_better = False
    full_state_update = False  # states merge, so `merge_state` works
    plot_lower_bound = 0.0

    def __init__(self, *, only: str | None, prefix: str, strict: bool, names: tuple[str, ...], **kwargs) -> None:
        super().__init__(**{"compute_with_cache": False, **kwargs})  # the classifier may change between two computations
        if only is not None and only not in names:
            raise unknown("value", only, names)
        self.only, self.prefix, self.strict, self._batch = only, prefix, strict, False

    def forward(self, *args, **kwargs):
        """`update`, and the values of this batch alone: NaN where it lacks classes, and biased down by its size."""
        self._batch = True
        try:
            return super().forward(*args, **kwargs)
        finally:
            self._batch = False

    def plot(self, val=None, ax=None):
        """The values, or a list of those computed before, as a Matplotlib figure and axes."""
        return self._plot(val, ax)

    def _apply(self, fn, exclude_state=""):
        # Devices change, precision never: sums of squares in bfloat16 would be noise.
        return super()._apply(lambda t: t.to(fn(t).device) if t.is_floating_point() else fn(t), exclude_state)

    def _values(self, values: dict[str, Tensor]) -> dict[str, Tensor] | Tensor:
        if self.only is not None:
            return values[self.only]
        return {f"{self.prefix}{name}": value for name, value in values.items()}

    def _usable(self, moments: ClassMoments) -> bool:
        """Whether each class has two samples; if not, an error or one warning."""
        if not self._batch:
            if self.strict or not bool(moments.count.any()):
                moments.check_present()
                moments.within()
            elif gaps := moments.gaps():
                text = f"{type(self).__name__}: {gaps}; what needs them is NaN (strict=True makes this an error)"
                warnings.warn(text, stacklevel=3)
        return bool((moments.count > 1).all())


class ClassMeans(_Streamed):
    """First pass: the moments of each class, and from them V, CDNV, NC2 and (with the classifier) NC3.

    ``update(features (B, d), labels (B,))``; a batch may be empty or lack classes. ``compute()`` gives a dict of 0-d float64 tensors under
    the names of `collapse_table`, with ``prefix`` before each, or with ``only="variance_ratio"`` that one alone, as ``self.log`` wants it.
    ``moments()`` gives the `ClassMoments` of all processes.

    ``head`` is the classifier: its module, a function that gives the weight (C, d), or the parameter (as ``weight=``). It is read at each
    ``compute()``, so that training and conversion show; one that is no longer a part of its network is refused.

    Classes with fewer than two samples make NaN with one warning, and with ``strict=True`` an `InputError`; so do, always, features that
    are not finite and means that coincide.

    >>> means = ClassMeans(num_classes=2, num_features=1)
    >>> means.update(torch.tensor([[0.0], [10.0]]), torch.tensor([0, 1]))
    >>> means.update(torch.tensor([[12.0], [2.0]]), torch.tensor([1, 0]))
    >>> means.compute()["variance_ratio"].item()
    0.04
    """

    packed: Tensor

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        head=None,
        weight=None,
        weighting: str = "class",
        only: str | None = None,
        prefix: str = "",
        strict: bool = False,
        **kwargs,
    ) -> None:
        names = ("variance_ratio", "cdnv", *GEOMETRY, *(f"{n}_classifier" for n in GEOMETRY), "nc3_self_duality")
        super().__init__(only=only, prefix=prefix, strict=strict, names=names, **kwargs)
        if num_classes < 2 or num_features < 1:
            raise InputError(f"ClassMeans needs at least 2 classes and 1 feature, not {num_classes} and {num_features}")
        check_weighting(weighting)
        self.num_classes, self.num_features, self.weighting = num_classes, num_features, weighting
        self._head = as_head(head, weight)
        checked_head(self._head, num_classes, num_features)
        # One state (count, scatter, mean), because torchmetrics reduces each state by itself and merging needs all three at once.
        self.add_state("packed", torch.zeros(num_classes, num_features + 2, dtype=torch.float64), dist_reduce_fx=_merge_packed)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch."""
        features, labels = _check_batch(features, labels, self.num_classes, self.num_features)
        _add(self.packed, features, labels)

    def compute(self, weight=None) -> dict[str, Tensor] | Tensor:
        """V, CDNV, NC2 of the class means and, with the classifier (or a ``weight`` (C, d) given here), NC2 of the classifier and NC3."""
        moments = _unpack(self.packed)
        moments.check_finite()
        values = dict.fromkeys(("variance_ratio", "cdnv", *GEOMETRY), _nan(self.packed))
        usable = self._usable(moments)
        whole = bool((moments.count > 0).all()) and (not self._batch or _distinct(moments))
        if whole:
            values |= mean_geometry(moments, weighting=self.weighting)
            span = MeanSpan.from_moments(moments)
            if usable:
                values["variance_ratio"] = variance_ratio(moments, weighting=self.weighting)
                values["cdnv"] = _cdnv(moments, span.coordinates)
        head = self._head if weight is None else as_head(weight)
        if head is not None:
            checked_head(head, self.num_classes, self.num_features)
            rows = head.read()[0]
            values |= classifier_geometry(rows)
            values["nc3_self_duality"] = nc3_self_duality(rows, moments.centred(self.weighting)) if whole else _nan(self.packed)
        return self._values(values)

    def moments(self) -> ClassMoments:
        """The moments of all samples so far, over all processes (call it in each of them)."""
        with self.sync_context(should_sync=self._to_sync and not self._is_synced, should_unsync=not self._is_synced):
            moments = _unpack(self.packed.clone())
        moments.check_finite()
        if self.strict or not bool(moments.count.any()):
            moments.check_present()
        return moments


class Collapse(_Streamed):
    """Second pass: NC1, He & Su's separation, NC4, errors and the distance to the nearest class mean.

    ``moments`` are those of the data that is streamed (`ClassMeans.moments`), ``centres`` those of the training set where it is another:
    they decide the nearest mean. ``update(features, labels, outputs=None)``; outputs are scores (B, C) or predicted labels (B,), by default
    those of the classifier (``head`` as in `ClassMeans`, or ``weight`` (C, d) and ``bias`` (C,)), and without either NC4 and the error are
    NaN. ``compute()`` gives a dict of 0-d float64 tensors (``only`` and ``prefix`` as in `ClassMeans`). It raises `InputError` if the data
    were not those of the first pass: the counts, residual sums and spreads of the classes are compared.

    >>> features, labels = torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([0, 0, 1, 1])
    >>> collapse = Collapse(ClassMoments.from_features(features, labels))
    >>> collapse.update(features, labels)
    >>> round(collapse.compute()["nc1"].item(), 6)
    0.02
    """

    count: Tensor
    whitened: Tensor
    residual: Tensor
    wrong: Tensor
    nearest: Tensor
    compared: Tensor

    def __init__(
        self,
        moments: ClassMoments,
        *,
        centres: ClassMoments | None = None,
        head=None,
        weight=None,
        bias=None,
        weighting: str = "class",
        only: str | None = None,
        prefix: str = "",
        strict: bool = False,
        **kwargs,
    ) -> None:
        names = ("nc1", "he_su_separation", "rank", "nc4_ncc_mismatch", "ncc_error", "error", "weak_nearest_mean")
        super().__init__(only=only, prefix=prefix, strict=strict, names=names, **kwargs)
        check_weighting(weighting)
        if not isinstance(moments, ClassMoments) or not isinstance(centres, ClassMoments | None):
            raise InputError("Collapse takes the moments of the first pass: ClassMeans.moments(), or ClassMoments.from_features(...)")
        if centres is not None and centres.mean.shape != moments.mean.shape:
            raise InputError(
                f"the centres have the shape {tuple(centres.mean.shape)} (classes, features), but the moments {tuple(moments.mean.shape)}"
            )
        self.weighting, self.centres = weighting, moments if centres is None else centres
        self._moments, self._projector = moments, None
        self._usable(moments)  # for its warning
        present = bool((moments.count > 0).all()) and bool((self.centres.count > 0).all())
        self.span = MeanSpan.from_moments(moments, weighting=weighting) if present else None
        self.centre_span = MeanSpan.from_moments(self.centres, weighting=weighting) if present else None
        classes, width = moments.mean.shape
        self._head = as_head(head, weight, bias)
        checked_head(self._head, classes, width)
        rank = 0 if self.span is None else self.span.rank
        # All are plain sums but for the nearest-mean groups, whose spread is too small for sums of squares.
        self.add_state("count", torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("whitened", torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("residual", torch.zeros(classes, rank, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("wrong", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")  # ncc_error, error, nc4
        self.add_state("compared", torch.zeros(1, dtype=torch.int64), dist_reduce_fx="sum")  # samples with a prediction
        self.add_state("nearest", torch.zeros(classes, width + 2, dtype=torch.float64), dist_reduce_fx=_merge_packed)
        self.to(moments.mean.device)

    def update(self, features: Tensor, labels: Tensor, outputs: Tensor | None = None) -> None:
        """Add a batch of the same data that the moments were made of."""
        classes, width = self._moments.mean.shape
        features, labels = _check_batch(features, labels, classes, width)
        if len(labels) == 0:
            return
        self.count = self.count + labels.bincount(minlength=classes).to(self.count.device)
        if self.span is None:
            return
        features = features.to(self._moments.device)
        dtype = compute_dtype(features)
        if self._projector is None or self._projector.dtype != dtype:
            self._projector = Projector(self._moments, self.span, self.centre_span, dtype, residuals=True)
        seen = self._projector(features, labels)
        predicted = None
        if outputs is not None:
            predicted, _ = check_outputs(outputs, samples=len(labels), num_classes=classes)
        elif self._head is not None:  # read anew, for it may have been converted
            predicted = predictions(features, *self._head.read()).cpu()
        self.whitened = self.whitened + seen.whitened.to(self.whitened.device)
        self.residual = self.residual + seen.residual.to(self.residual.device)
        _add(self.nearest, features, seen.nearest)
        wrong = [(seen.nearest != labels).sum(), torch.tensor(0), torch.tensor(0)]
        if predicted is not None:
            wrong[1:] = [(predicted != labels).sum(), (predicted != seen.nearest).sum()]
            self.compared = self.compared + len(labels)
        self.wrong = self.wrong + torch.stack(wrong).to(self.wrong.device)

    def compute(self) -> dict[str, Tensor] | Tensor:
        """``nc1``, ``he_su_separation``, ``rank``, ``nc4_ncc_mismatch``, ``ncc_error``, ``error`` and ``weak_nearest_mean``."""
        total, compared = self.count.sum().double(), self.compared[0].double()
        if not self._batch and not bool(total):
            raise InputError("no samples: the second pass has not run")
        if self.span is None:
            names = ("nc1", "he_su_separation", "rank", "nc4_ncc_mismatch", "ncc_error", "error", "weak_nearest_mean")
            return self._values(dict.fromkeys(names, _nan(self.whitened)))
        nearest = _unpack(self.nearest)
        nearest.check_finite()
        if not self._batch:
            check_same_data(self.count, self.whitened, self.residual, self._moments, nearest, far=int(self.wrong[0]))
        seen = ClassMoments(self.count, self._moments.mean, self._moments.scatter)
        usable = bool((self._moments.count > 1).all())
        nc1 = nc1_from(seen, self.whitened, weighting=self.weighting) if usable else _nan(self.whitened)
        values = {
            "nc1": nc1,
            "he_su_separation": nc1 * len(self.count),
            "rank": torch.tensor(self.span.rank, dtype=torch.float64, device=self.whitened.device),
            "nc4_ncc_mismatch": self.wrong[2] / compared,  # 0 / 0 = NaN where nothing was predicted
            "ncc_error": self.wrong[0] / total,
            "error": self.wrong[1] / compared,
            "weak_nearest_mean": weak_nearest_mean(nearest, self.centres, weighting=self.weighting),
        }
        return self._values(values)

    def _apply(self, fn, exclude_state=""):
        this = super()._apply(fn, exclude_state)
        device = fn(torch.zeros(1, device=self._moments.device)).device
        self._projector = None
        self._moments, self.centres = self._moments.to(device), self.centres.to(device)
        if self.span is not None:
            self.span, self.centre_span = self.span.to(device), self.centre_span.to(device)
        return this


def _add(packed: Tensor, features: Tensor, labels: Tensor) -> None:
    """Add checked samples to a packed state in place: only the rows of the classes that occur are touched."""
    moments = ClassMoments(packed[:, 0].long(), packed[:, 2:], packed[:, 1])  # mean and scatter are views of the state
    moments.add(features.to(packed.device), labels)
    packed[:, 0] = moments.count


def _pack(moments: ClassMoments) -> Tensor:
    return torch.cat([moments.count[:, None].double(), moments.scatter[:, None], moments.mean], dim=1)  # (C, d + 2)


def _unpack(packed: Tensor) -> ClassMoments:
    return ClassMoments(packed[:, 0].long(), packed[:, 2:], packed[:, 1])


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


def _distinct(moments: ClassMoments) -> bool:
    try:
        moments.between()
    except InputError:
        return False
    return True


def _nan(like: Tensor) -> Tensor:
    return torch.full((), torch.nan, dtype=torch.float64, device=like.device)
