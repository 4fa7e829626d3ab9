"""`fixed.train_together`, but handing the networks over after each epoch: a stack's outputs, its errors over time, and where its terminal phase begins."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ncbook.frames.fixed import FixedFrames, _aligned, _losses
from ncbook.training import SCHEDULES


def train_by_epoch(
    networks: FixedFrames,
    splits: list,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    generators: list[torch.Generator],
) -> Iterator[int]:
    """Train as `fixed.train_together` does, number for number, and yield after each epoch, 1 first, with the networks in eval mode."""
    each = len(networks.frames) // len(splits)
    optimiser = torch.optim.SGD(networks.parameters(), lr=learning_rate, momentum=0.9, weight_decay=weight_decay)
    for epoch in range(epochs):
        networks.train()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * SCHEDULES["cosine"](epoch / epochs)
        for x, y in _aligned(splits, batch_size, each, generators):
            loss = _losses(networks(x), y).mean(1).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {float(loss)}; a smaller learning rate than {learning_rate:g} may help.")
        networks.eval()
        yield epoch + 1


@torch.no_grad()
def outputs(networks: FixedFrames, splits: list) -> tuple[Tensor, Tensor]:
    """Features (K, N, d) and labels (K, N) of each network on its split: the first K / S networks on the first of S splits, and so on."""
    networks.eval()
    parts = [(networks.features(x), y) for x, y in _aligned(splits, 1024, len(networks.frames) // len(splits))]
    return torch.cat([z for z, _ in parts], dim=1), torch.cat([y for _, y in parts], dim=1)


@torch.no_grad()
def errors(networks: FixedFrames, splits: list) -> Tensor:
    """Share of its split that each network classifies wrongly, (K,) float64."""
    features, labels = outputs(networks, splits)
    return (networks.logits(features).argmax(2) != labels).double().mean(1)


def history(networks: FixedFrames, train: list, test: list, measured: range, **settings) -> tuple[Tensor, Tensor]:
    """Train on the `train` splits; errors (K, len(measured)) on both groups of splits at the measured epochs; `settings` as in `train_by_epoch`."""
    found = []
    for epoch in train_by_epoch(networks, train, **settings):
        if epoch in measured:
            found.append(torch.stack([errors(networks, train), errors(networks, test)]).cpu())  # (2, K)
    return tuple(torch.stack(found, dim=2))


def lasting(train_error: Tensor) -> list[int | None]:
    """For each row of errors (K, times) the first position from which on there is none; None where the last is not 0.

    >>> lasting(torch.tensor([[0.1, 0.0, 0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.1]]))
    [3, None]
    """
    after = [int(row.nonzero().max()) + 1 if row.any() else 0 for row in train_error]
    return [position if position < train_error.shape[1] else None for position in after]
