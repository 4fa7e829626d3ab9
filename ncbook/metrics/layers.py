"""Collapse at many layers at once, from batches: exact at any width, in memory that neither the number of samples nor d x d enters."""

from collections.abc import Callable, Hashable, Iterable

import pandas as pd
import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.collapse import _cdnv, nc1_from, variance_ratio
from ncbook.metrics.moments import ClassMoments, check_features
from ncbook.metrics.projection import MeanSpan, Projected, project
from ncbook.metrics.weak import weak_nearest_mean

LAYER_METRICS = ["variance_ratio", "nc1", "rank", "cdnv", "ncc_error", "weak_nearest_mean"]


@torch.no_grad()
def layer_table(
    layers: Callable[[Tensor], dict[Hashable, Tensor]],
    train: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    test: Callable[[], Iterable[tuple[Tensor, Tensor]]] | None = None,
    *,
    num_classes: int,
) -> pd.DataFrame:
    """Collapse of every layer on each split: one row a layer and split, with the columns ``layer``, ``split``, ``n``,
    ``width`` and `LAYER_METRICS`.

    ``layers(x)`` gives the features {layer: (B, d_l)} of a batch of images; ``train()`` and ``test()`` each give one pass over batches
    (x, y), the same at each call. Both are read twice: for the class means, then for what is measured around them. The numbers are those of
    `collapse_table` (V, NC1 and CDNV with each split's own class means; the last two columns with the training set's), to float64 rounding.

    Memory, with D the sum of the widths d_l: 8 B D bytes for a batch of B (the features, and the copy that their mean is taken from) and
    80 C D for class means and their spans, whatever the number of samples. A map of 64 x 32 x 32 (d = 65,536; a d x d matrix is 17 GB) with
    batches of 50 and 10 classes: 79 MB.

    Raises `InputError` where `collapse_table` does.

    >>> features, labels = torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([0, 0, 1, 1])
    >>> batches = lambda: zip(features.split(3), labels.split(3))
    >>> layer_table(lambda x: {"input": x}, batches, num_classes=2)[["layer", "split", "n", "width", "variance_ratio"]].values.tolist()
    [['input', 'train', 4, 1, 0.04]]
    """
    rows, centres, centre_spans = [], None, None
    for split, batches in {"train": train, "test": test}.items():
        if batches is None:
            continue
        moments = _moments(layers, batches, num_classes)
        spans = {layer: MeanSpan.from_moments(m) for layer, m in moments.items()}
        if split == "train":
            centres, centre_spans = moments, spans
        found = _second_pass(layers, batches, moments, spans, centres, centre_spans)
        for layer, (seen, nearest, wrong) in found.items():
            n = int(moments[layer].count.sum())
            values = {
                "variance_ratio": variance_ratio(moments[layer]),
                "nc1": nc1_from(moments[layer], seen),
                "rank": spans[layer].rank,
                "cdnv": _cdnv(moments[layer], spans[layer].coordinates),
                "ncc_error": wrong / n,
                "weak_nearest_mean": weak_nearest_mean(nearest, centres[layer]),
            }
            place = {"layer": layer, "split": split, "n": n, "width": moments[layer].mean.shape[1]}
            rows.append(place | {name: float(value) for name, value in values.items()})
    return pd.DataFrame(rows, columns=["layer", "split", "n", "width", *LAYER_METRICS])


def _moments(layers, batches, num_classes: int) -> dict[Hashable, ClassMoments]:
    moments = {}
    for x, y in batches():
        for layer, features in layers(x).items():
            features, labels, _ = _checked(layer, features, y, num_classes)
            if layer not in moments:
                moments[layer] = ClassMoments.empty(num_classes, features.shape[1], device=features.device)
            moments[layer].add(features, labels)
    if not moments:
        raise InputError("there are no batches, or no layers; batches must be a function that gives a new pass at each call")
    for layer, found in moments.items():
        try:
            found.check_finite(), found.check_present(), found.within(), found.between()
        except InputError as error:
            raise InputError(f"layer {layer}: {error}") from None
    return moments


def _second_pass(layers, batches, moments, spans, centres, centre_spans) -> dict[Hashable, tuple[Projected, ClassMoments, int]]:
    """By layer: sums in the span of the means, moments of the samples grouped by nearest training mean, and how many of these are wrong."""
    whitened = {layer: torch.zeros_like(m.scatter) for layer, m in moments.items()}
    nearest = {layer: ClassMoments.empty(*m.mean.shape, device=m.mean.device) for layer, m in moments.items()}
    wrong = dict.fromkeys(moments, 0)
    for x, y in batches():
        for layer, features in layers(x).items():
            features, labels, _ = _checked(layer, features, y, len(moments[layer].count))
            seen = project(features, labels, moments[layer], spans[layer], centre_spans[layer])
            whitened[layer] += seen.whitened
            nearest[layer].add(features, seen.nearest)
            wrong[layer] += int((seen.nearest.cpu() != labels).sum())
    return {layer: (Projected(whitened[layer], None), nearest[layer], wrong[layer]) for layer in moments}


def _checked(layer: Hashable, features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor, int]:
    try:
        return check_features(features, labels, num_classes=num_classes)
    except InputError as error:
        raise InputError(f"layer {layer}: {error}") from None
