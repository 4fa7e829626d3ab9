"""Classification error."""

from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.inputs import as_tensor, has_largest


def error_rate(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the labels (…, N) that are not where the logits (…, N, C) are largest: float64, of the shape of the leading dimensions.

    >>> import torch
    >>> error_rate(torch.eye(4), torch.tensor([0, 1, 2, 0])).item()
    0.25
    """
    logits, labels = as_tensor(logits, "logits"), as_tensor(labels, "labels")
    if logits.ndim < 2 or logits.shape[-1] == 0 or logits.shape[-2] != (labels.shape[-1] if labels.ndim else None):
        raise InputError(f"logits (…, N, C) and labels (…, N) do not fit together: {tuple(logits.shape)} and {tuple(labels.shape)}")
    if logits.is_floating_point() and logits.numel() and not has_largest(logits):
        raise InputError("the logits contain NaN or infinity, and then none is the largest")
    return (logits.argmax(-1) != labels).double().mean(-1)
