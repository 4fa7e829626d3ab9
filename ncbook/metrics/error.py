"""Classification error."""

from torch import Tensor


def error_rate(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the labels (…, N) that are not where the logits (…, N, C) are largest: float64, of the shape of the leading dimensions.

    >>> import torch
    >>> error_rate(torch.eye(4), torch.tensor([0, 1, 2, 0])).item()
    0.25
    """
    return (logits.argmax(-1) != labels).double().mean(-1)
