"""All metrics of train and test features at once: a table with a row a split, or a row a class."""

import warnings
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.collapse import _cdnv, classifier_geometry, mean_geometry, nc1_from, nc3_self_duality, variance_ratio, vci_from
from ncbook.metrics.common import at_common_size, check_common_n
from ncbook.metrics.inputs import check_features, check_head, check_outputs, scores_width
from ncbook.metrics.moments import ClassMoments, check_weighting
from ncbook.metrics.projection import MeanSpan, _check_width
from ncbook.metrics.second import Second
from ncbook.metrics.weak import (
    confused_ratio,
    v_even_weak,
    variance_ratio_predicted,
    variance_ratio_train_means,
    weak_kmeans,
    weak_nearest_mean,
)

# Always all of them and in this order; what was not asked for, or does not exist, is NaN.
METRICS = (
    ["error", "variance_ratio", "nc1", "rank", "cdnv", "he_su_separation", "vci"]
    + ["nc2_equinorm", "nc2_equiangularity", "nc2_max_angle"]
    + ["nc2_equinorm_classifier", "nc2_equiangularity_classifier", "nc2_max_angle_classifier"]
    + ["nc3_self_duality", "nc4_ncc_mismatch", "ncc_error"]
    + ["variance_ratio_train_means", "variance_ratio_predicted", "weak_nearest_mean", "weak_kmeans", "v_even_weak", "v_confused"]
    + ["common_n", "variance_ratio_common", "nc1_common", "cdnv_common"]
)
CLASS_METRICS = ["error", "variance_ratio", "nc1", "mean_norm", "nearest_class", "nearest_distance", "ncc_error", "nc4_ncc_mismatch"]
NAN = float("nan")


@dataclass
class Split:
    """One split after the first pass: its name, moments and the span of its means (None where a class has no samples)."""

    name: str
    moments: ClassMoments
    span: MeanSpan | None

    @classmethod
    def of(cls, name: str, moments: ClassMoments, *, weighting: str, strict: bool, reference: bool, where: str = "") -> "Split":
        """Checked: what cannot be measured is an `InputError` that names the split, what can in part one warning.

        The ``reference`` (training) split decides the nearest mean, so each class must be in it. With ``strict`` so it must in the others,
        and twice, for a within-class variance.
        """
        try:
            moments.check_finite()
            if reference or strict:
                moments.check_present()
            if strict or not bool((moments.count > 1).any()):
                moments.within(weighting)
            complete = bool((moments.count > 0).all())
            span = MeanSpan.from_moments(moments, weighting=weighting) if complete else None
        except InputError as error:
            raise InputError(f"{where or name}: {error}") from None
        if gaps := moments.gaps():
            warnings.warn(f"{where or name}: {gaps}; what needs them is NaN (strict=True makes this an error)", stacklevel=4)
        return cls(name, moments, span)


def collapse_table(
    train: tuple,
    test: tuple | None = None,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    weighting: str = "class",
    common_n: int | None = None,
    vci: bool = False,
    kmeans: bool = True,
    strict: bool = False,
) -> pd.DataFrame:
    """All metrics of train and test features: one row a split, the columns ``split``, ``n`` and `METRICS`.

    ``train`` and ``test`` are ``(features, labels)`` or ``(features, labels, outputs)`` with features (N, d), labels (N,) and outputs the
    network's scores (N, C) or predicted labels (N,). Without outputs the predictions are those of ``weight`` (C, d) and ``bias`` (C,), or
    of ``weight`` alone where there is no bias; without either, what compares with the network is NaN.

    Each split's V, NC1, CDNV, NC2, NC3 and VCI use its own class means; ``nc4_ncc_mismatch``, ``ncc_error``, ``weak_nearest_mean`` and
    ``variance_ratio_train_means`` the training set's. ``rank`` is the rank of Sigma_B that NC1 used. ``common_n`` adds `at_common_size`,
    ``vci=True`` the one metric that needs a d x d matrix, ``kmeans=False`` leaves the slowest one out.

    A class with one sample, or in the test set none, makes NaN of what needs its variance or its mean, with one warning that names it;
    ``strict=True`` refuses. Raises `InputError` where no number would have a meaning: NaN features, scores or weights, a class without
    training samples, coinciding class means, wrong shapes, labels out of range.

    >>> features, labels = torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([0, 0, 1, 1])
    >>> weight, bias = torch.tensor([[-1.0], [1.0]]), torch.tensor([6.0, -6.0])
    >>> table = collapse_table((features, labels), (features + 1, labels), weight=weight, bias=bias)
    >>> table[["split", "n", "error", "variance_ratio", "nc4_ncc_mismatch"]].round(12).values.tolist()
    [['train', 4, 0.0, 0.04, 0.0], ['test', 4, 0.0, 0.04, 0.0]]
    """
    common_n = None if common_n is None else check_common_n(common_n)
    rows = []
    data = _measured(train, test, weight, bias, weighting, strict)
    for split, second, reference, features, labels, head in data:
        extras = {}
        if kmeans:
            extras["weak_kmeans"] = weak_kmeans(features, second.near, reference.moments, groups=second.nearest)
        if common_n is not None:
            extras["common_n"] = common_n
        try:
            if vci and full(split.moments):
                extras["vci"] = vci_from(features, labels, split.moments, weighting=weighting)
            if common_n is not None and full(split.moments):
                extras |= at_common_size(features, labels, common_n, num_classes=len(split.moments.count))
        except InputError as error:
            raise InputError(f"{split.name}: {error}") from None
        rows.append(split_row(split, second, reference, weight=head, weighting=weighting) | extras)
    return as_table(rows, ["split", "n", *METRICS])


def class_table(
    train: tuple,
    test: tuple | None = None,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    weighting: str = "class",
    strict: bool = False,
) -> pd.DataFrame:
    """Which class lags: one row a split and class, the columns ``split``, ``class``, ``n`` and `CLASS_METRICS`.

    Arguments as in `collapse_table`. ``variance_ratio`` is E|h - mu_c|^2 of the class over Tr Sigma_B of the split, and ``nc1`` its
    E (h - mu_c)^T Sigma_B^+ (h - mu_c) / C: their means over the classes are the columns of `collapse_table` (with the same ``weighting``).
    ``mean_norm`` is |mu_c - mu_G| over the root of Tr Sigma_B (1 for each class: equal norms), ``nearest_class`` the class whose mean is
    nearest to this one's and ``nearest_distance`` how far, in the same unit. ``error``, ``ncc_error`` and ``nc4_ncc_mismatch`` are shares
    of the class.

    >>> features, labels = torch.tensor([[0.0], [2.0], [10.0], [16.0]]), torch.tensor([0, 0, 1, 1])
    >>> class_table((features, labels))[["class", "variance_ratio", "nearest_class"]].values.tolist()  # means 1 and 13: B = 36
    [[0.0, 0.027777777777777776, 1.0], [1.0, 0.25, 0.0]]
    """
    rows = []
    for split, second, *_ in _measured(train, test, weight, bias, weighting, strict):
        rows += class_rows(split, second, weighting=weighting)
    return as_table(rows, ["split", "class", "n", *CLASS_METRICS])


def _measured(train, test, weight, bias, weighting: str, strict: bool):
    """Both passes over each split: (split, second, reference, features, labels, weight)."""
    check_weighting(weighting)
    if weight is not None:
        weight, bias = check_head(weight, bias)
    for name, split in {"train": train, "test": train if test is None else test}.items():
        if not isinstance(split, (tuple, list)) or len(split) not in (2, 3):
            raise InputError(f"{name} must be (features, labels) or (features, labels, outputs)")
    classes, reference, found = None if weight is None else len(weight), None, []
    for name, data in {"train": train, "test": test}.items():
        if data is None:
            continue
        try:
            if classes is None and len(data) > 2:
                classes = scores_width(data[2])
            features, labels, classes = check_features(*data[:2], num_classes=classes)
            predicted = check_outputs(data[2], samples=len(labels), num_classes=classes)[0] if len(data) > 2 else None
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if classes < 2:
            raise InputError("collapse is a relation between classes; there is only one")
        if reference is not None and features.shape[1] != reference.moments.mean.shape[1]:
            raise InputError(f"train features have {reference.moments.mean.shape[1]} dimensions but test features {features.shape[1]}")
        if weight is not None:
            _check_width(weight, features.shape[1])
        moments = ClassMoments.grouped(features, labels, classes)
        split = Split.of(name, moments, weighting=weighting, strict=strict, reference=reference is None)
        reference = reference or split
        head = {"weight": weight, "bias": bias}
        second = Second.of(features, labels, predicted, moments, split.span, reference.span, **head)
        found.append((split, second, reference, features, labels, weight))
    return found


def full(moments: ClassMoments) -> bool:
    """Whether each class has the two samples that a variance needs."""
    return bool((moments.count > 1).all())


def split_row(split: Split, second: Second, reference: Split, *, weight: Tensor | None, weighting: str = "class") -> dict:
    """The metrics of one split from its two passes and the training set's first; NaN where a class lacks the samples."""
    moments, train = split.moments, reference.moments
    classes, n = moments.count.numel(), int(moments.count.sum())
    row = {
        "split": split.name,
        "n": n,
        "ncc_error": second.far.sum().item() / max(n, 1),
        "weak_nearest_mean": weak_nearest_mean(second.nearest, train, weighting=weighting) if n else NAN,
    }
    if split.span is not None:
        row["rank"] = split.span.rank
        row |= mean_geometry(moments, weighting=weighting)
        row["variance_ratio_train_means"] = variance_ratio_train_means(moments, train, weighting=weighting)
        if weight is not None:
            row["nc3_self_duality"] = nc3_self_duality(weight, moments.centred(weighting))
    if full(moments):
        row["variance_ratio"] = variance_ratio(moments, weighting=weighting)
        row["nc1"] = nc1_from(moments, second.whitened, weighting=weighting)
        row["cdnv"] = _cdnv(moments, split.span.coordinates)
        row["he_su_separation"] = classes * row["nc1"]
    if second.predicted is not None and n:
        row["error"] = (n - second.confusion.diagonal().sum().item()) / n
        row["nc4_ncc_mismatch"] = second.disagree.sum().item() / n
        row["variance_ratio_predicted"] = variance_ratio_predicted(second.predicted, weighting=weighting)
        row["v_even_weak"] = v_even_weak(row["error"], classes)
        if split.span is not None:
            row["v_confused"] = confused_ratio(second.confusion.to(train.mean.device), train, weighting=weighting)
    if weight is not None:
        row |= classifier_geometry(weight)
    return row


def class_rows(split: Split, second: Second, *, weighting: str = "class") -> list[dict]:
    """The rows of `class_table` of one split; NaN where a class lacks the samples."""
    moments = split.moments
    classes = moments.count.numel()
    count = moments.count.double()
    columns = {"n": moments.count, "ncc_error": second.far.to(count) / count}
    if split.span is not None:
        unit = moments.between(weighting).sqrt()
        alone = moments.count < 2
        distance = torch.cdist(split.span.coordinates, split.span.coordinates).fill_diagonal_(torch.inf) / unit
        columns["variance_ratio"] = (moments.scatter / count / unit**2).masked_fill(alone, torch.nan)
        columns["nc1"] = (second.whitened / count / classes).masked_fill(alone, torch.nan)
        columns["mean_norm"] = moments.centred(weighting).norm(dim=1) / unit
        columns["nearest_distance"], columns["nearest_class"] = distance.min(1)
    if second.predicted is not None:
        columns["error"] = (count - second.confusion.diagonal().to(count)) / count
        columns["nc4_ncc_mismatch"] = second.disagree.to(count) / count
    columns = {name: values.tolist() for name, values in columns.items()}
    return [{"split": split.name, "class": c, **{name: values[c] for name, values in columns.items()}} for c in range(classes)]


def as_table(rows: list[dict], columns: list[str]) -> pd.DataFrame:
    """Rows of numbers and 0-d tensors as a table of these columns."""
    # One transfer to the host at the end, not one a metric.
    rows = [{name: value.item() if isinstance(value, Tensor) else value for name, value in values.items()} for values in rows]
    return pd.DataFrame(rows).reindex(columns=columns)
