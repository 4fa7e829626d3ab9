"""Weight decay for features: what the unconstrained features model has and a network's optimiser lacks."""

import torch
from torch import Tensor, nn

from ncbook.errors import InputError


class FeatureDecay(nn.Module):
    """A last block that hands features h (N, d) on as they are, and adds to their gradient that of decay/2 · mean |h|^2.

    As weight decay is added to a weight's gradient, so that the loss that is reported is without it.

    >>> features = torch.tensor([[3.0], [1.0]], requires_grad=True)
    >>> FeatureDecay(0.5)(features).sum().backward()
    >>> features.grad.tolist()  # 1, and 0.5 h / 2
    [[1.75], [1.25]]
    """

    def __init__(self, decay: float):
        super().__init__()
        if not 0 <= decay < float("inf"):
            raise InputError(f"the decay of features must be a finite number from 0 on, not {decay}.")
        self.decay = decay

    def forward(self, features: Tensor) -> Tensor:
        return _Decayed.apply(features, self.decay / len(features))


class _Decayed(torch.autograd.Function):
    @staticmethod
    def forward(context, features: Tensor, slope: float) -> Tensor:
        context.save_for_backward(features)
        context.slope = slope
        return features.view_as(features)

    @staticmethod
    def backward(context, gradient: Tensor):
        (features,) = context.saved_tensors
        return gradient + context.slope * features, None
