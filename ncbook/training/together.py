"""Many networks trained at once, each with a fixed classifier, and what they then make of images.

A small network leaves a core idle between steps; the MLPs of a stack do each step in one batched matrix product, in which those that learn
from the same images read them once. They share nothing else: the gradient of the summed loss is, for each, that of its own.
"""

from collections.abc import Container, Iterator

import torch
from torch import Tensor, nn

from ncbook.metrics.collapse import variance_ratio
from ncbook.metrics.devices import no_tf32
from ncbook.metrics.error import error_rate
from ncbook.metrics.moments import ClassMoments
from ncbook.models.fixed_classifier import FixedClassifiers
from ncbook.training.checkpoint import Checkpoint
from ncbook.training.loop import SCHEDULES
from ncbook.training.parallel import alone


def train_together(networks: FixedClassifiers, splits: list, **settings) -> None:
    """SGD with momentum 0.9, a cosine schedule and cross-entropy for all networks at once, to the end; `settings` as in
    `train_by_epoch`."""
    for _ in train_by_epoch(networks, splits, **settings):
        pass


def train_by_epoch(
    networks: FixedClassifiers,
    splits: list,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    batch_size: int,
    generators: list[torch.Generator],
    measure_at: Container[int] = (),
) -> Iterator[int]:
    """Train as `train_together` does and yield the epochs of `measure_at` (1 is the first) when they are done, with the networks in eval
    mode.

    The first K / S networks learn from the first of the S splits, in the order that the first generator draws, and so on.
    A long run of a sweep that was killed goes on from its checkpoint, as with `training.train`.
    """
    alone("a stack of networks")
    each = len(networks.classifiers) // len(splits)
    optimiser = torch.optim.SGD(networks.parameters(), lr=learning_rate, momentum=0.9, weight_decay=weight_decay, fused=True)
    checkpoint = Checkpoint(networks, optimiser, _Generators(generators))
    for state in checkpoint.states():
        networks.eval()
        yield state["epoch"]
    reached = checkpoint.resume() or {"epoch": 0}
    for epoch in range(reached["epoch"] + 1, epochs + 1):
        networks.train()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * SCHEDULES["cosine"]((epoch - 1) / epochs)
        for x, y in _aligned(splits, batch_size, each, generators):
            loss = _losses(networks(x), y).mean(1).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {float(loss)}; a smaller learning rate than {learning_rate:g} may help.")
        networks.eval()
        checkpoint.save({"epoch": epoch}, measured=epoch in measure_at)
        if epoch in measure_at:
            yield epoch


class _Generators:
    """Several generators whose states are saved, and restored, as one."""

    def __init__(self, generators: list[torch.Generator]):
        self.generators = generators

    def get_state(self) -> Tensor:
        return torch.stack([generator.get_state() for generator in self.generators])

    def set_state(self, states: Tensor) -> None:
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state.clone())  # of its own memory: torch reads a row of a larger tensor wrongly, and crashes


@torch.no_grad()
@no_tf32()
def outputs(networks: FixedClassifiers, splits: list) -> tuple[Tensor, Tensor]:
    """Features (K, N, d) and labels (K, N) of each network on its split (see `train_by_epoch`)."""
    networks.eval()
    parts = [(networks.features(x), y) for x, y in _aligned(splits, 1024, len(networks.classifiers) // len(splits))]
    return torch.cat([z for z, _ in parts], dim=1), torch.cat([y for _, y in parts], dim=1)


@torch.no_grad()
def measured(networks: FixedClassifiers, splits: list) -> dict[str, list[float]]:
    """Error, cross-entropy and V of the features of each network on its split (see `train_by_epoch`), K numbers each."""
    features, labels = outputs(networks, splits)
    logits = networks.logits(features)
    classes = logits.shape[2]
    return {
        "error": error_rate(logits, labels).tolist(),
        "loss": _losses(logits, labels).double().mean(1).tolist(),
        "variance_ratio": [
            float(variance_ratio(ClassMoments.from_features(z, y, num_classes=classes))) for z, y in zip(features, labels, strict=True)
        ],
    }


def _aligned(splits: list, batch_size: int, each: int, generators: list | None = None):
    """Batches x (S, B, channels, H, W), one of each split, and the labels (K, B) of the networks, `each` for a split."""
    passes = [s.batches(batch_size, generator=g) for s, g in zip(splits, generators or [None] * len(splits), strict=True)]
    for batches in zip(*passes, strict=True):
        x, y = (torch.stack(parts) for parts in zip(*batches, strict=True))
        yield x, y.repeat_interleave(each, 0)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (K, B) of scores (K, B, C)."""
    return nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
