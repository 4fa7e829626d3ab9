"""Collapse at many layers at once, from batches: exact at any width, in memory that neither the number of samples nor d x d enters."""

from collections.abc import Callable, Hashable, Iterable

import pandas as pd
import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.passes import add_batch, second_pass
from ncbook.metrics.table import Split, split_row

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
    rows, references = [], None
    for name, batches in {"train": train, "test": test}.items():
        if batches is None:
            continue
        if not callable(batches):
            raise InputError(f"{name}: batches must be a function that gives a new pass at each call, not {type(batches).__name__}")
        moments = {}
        for x, y in batches():
            add_batch(moments, layers(x), y, num_classes)
        if not moments:
            raise InputError("there are no batches, or no layers; batches must be a function that gives a new pass at each call")
        first = references is None
        splits = {
            layer: Split.of(name, found, weighting="class", strict=True, reference=first, where=f"layer {layer}")
            for layer, found in moments.items()
        }
        references = references or splits
        seconds = second_pass(lambda b=batches: ((layers(x), y, None) for x, y in b()), splits, references, predictions=False)
        for layer, second in seconds.items():
            second.check(moments[layer], where=f"layer {layer}: ")
            values = split_row(splits[layer], second, references[layer], weight=None)
            place = {"layer": layer, "split": name, "n": values["n"], "width": moments[layer].mean.shape[1]}
            rows.append(place | {metric: float(values[metric]) for metric in LAYER_METRICS})
    return pd.DataFrame(rows, columns=["layer", "split", "n", "width", *LAYER_METRICS])
