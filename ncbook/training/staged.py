"""The errors of a stack of networks with fixed classifiers as training goes on, and where the terminal phase of each begins."""

import torch
from torch import Tensor

from ncbook.metrics.error import error_rate
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.training.together import outputs, train_by_epoch


@torch.no_grad()
def errors(networks: FixedClassifiers, splits: list) -> Tensor:
    """Share of its split that each network classifies wrongly, (K,) float64."""
    features, labels = outputs(networks, splits)
    return error_rate(networks.logits(features), labels)


def history(networks: FixedClassifiers, train: list, test: list, measured: range, **settings) -> tuple[Tensor, Tensor]:
    """Train on the `train` splits; errors (K, len(measured)) on both groups of splits at the measured epochs; `settings` as in
    `train_by_epoch`."""
    measurements = []
    for _ in train_by_epoch(networks, train, measure_at=measured, **settings):
        measurements.append(torch.stack([errors(networks, train), errors(networks, test)]).cpu())  # (2, K)
    return tuple(torch.stack(measurements, dim=2))


def lasting(train_error: Tensor) -> list[int | None]:
    """For each row of errors (K, times) the first position from which on there is none; None where the last is not 0.

    >>> lasting(torch.tensor([[0.1, 0.0, 0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.1]]))
    [3, None]
    """
    after = [int(row.nonzero().max()) + 1 if row.any() else 0 for row in train_error]
    return [position if position < train_error.shape[1] else None for position in after]
