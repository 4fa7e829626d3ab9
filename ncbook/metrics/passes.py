"""Both passes over batches of features of one or several layers, in memory that the number of samples does not enter."""

from collections.abc import Callable, Hashable, Iterable

from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.inputs import check_features
from ncbook.metrics.moments import ClassMoments
from ncbook.metrics.second import Second
from ncbook.metrics.table import Split

# A pass gives batches of features {layer: (B, d_l)}, labels (B,) and predicted labels (B,) or None.
Batch = tuple[dict[Hashable, Tensor], Tensor, Tensor | None]
Read = Callable[[], Iterable[Batch]]


def add_batch(moments: dict[Hashable, ClassMoments], features: dict[Hashable, Tensor], labels, num_classes: int, where: str = "") -> None:
    """The first pass over one batch, in place; layers are added as they come."""
    for layer, values in features.items():
        values, checked, _ = _checked(f"{where}layer {layer}", values, labels, num_classes)
        if layer not in moments:
            moments[layer] = ClassMoments.empty(num_classes, values.shape[1], device=values.device)
        if moments[layer].mean.shape[1] != values.shape[1]:
            raise InputError(
                f"{where}layer {layer} has {moments[layer].mean.shape[1]} dimensions in one batch and {values.shape[1]} in another; "
                "for sequences of different lengths give pooling='mean', 'cls' or a function"
            )
        moments[layer].add(values, checked)


def second_pass(
    read: Read, splits: dict[Hashable, Split], references: dict[Hashable, Split], *, predictions: bool, each: Callable | None = None
) -> dict[Hashable, Second]:
    """The second pass; ``each(layer, features, labels)`` sees what it sees."""
    seen = {layer: Second.empty(split.moments, split.span, predictions=predictions) for layer, split in splits.items()}
    for features, labels, predicted in read():
        for layer, values in features.items():
            split, centres = splits[layer], references[layer].span
            values, checked, _ = _checked(f"layer {layer}", values, labels, len(split.moments.count))
            seen[layer].update(values, checked, predicted, split.moments, split.span, centres)
            if each is not None:
                each(layer, values, checked)
    return seen


def _checked(where: str, features: Tensor, labels, num_classes: int) -> tuple[Tensor, Tensor, int]:
    try:
        return check_features(features, labels, num_classes=num_classes)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
