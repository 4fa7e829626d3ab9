"""One training loop: SGD with momentum, stopping at the epochs where something is to be measured."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import wraps
from math import cos, pi

import numpy as np
import torch
from torch import Tensor, nn

from ncbook.errors import InputError, unknown
from ncbook.training.checkpoint import Checkpoint
from ncbook.training.evaluate import Interpolation, error
from ncbook.training.parallel import batch_loss, ranks, total


def squared_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared error to one-hot labels, averaged over samples and classes, as in the authors' code for Papyan et al. (2020).

    >>> squared_loss(torch.zeros(4, 10), torch.arange(4)).item()  # one of ten targets is missed by 1
    0.10000000149011612
    """
    return nn.functional.mse_loss(logits, nn.functional.one_hot(labels, logits.shape[1]).to(logits.dtype))


LOSSES: dict[str, Callable] = {"cross_entropy": nn.functional.cross_entropy, "squared": squared_loss}

# The learning rate's factor when a share t in [0, 1) of the epochs is done.
SCHEDULES = {
    "constant": lambda t: 1.0,
    "step": lambda t: 0.1 ** int(3 * t + 1e-9),  # x 0.1 at 1/3 and 2/3, as in Papyan et al. (2020)
    "cosine": lambda t: 0.5 * (1 + cos(pi * t)),
}


@dataclass(frozen=True)
class State:
    """Where training stands when `train` yields for a measurement."""

    epoch: int  # epochs done; 0 is the network at initialisation
    loss: float  # mean loss over the epoch just done (nan at epoch 0)
    train_error: float  # share of the training set that the model, in eval mode, classifies wrongly; nan where nothing is measured
    terminal_epoch: int | None  # first epoch that ended with zero training error, once there is one


def measurement_epochs(epochs: int, count: int = 20) -> list[int]:
    """0, then `count` roughly log-spaced epochs up to the last one; fewer where they would coincide.

    >>> measurement_epochs(100, 8)
    [0, 1, 2, 4, 7, 14, 27, 52, 100]
    """
    if epochs < 1 or count < 1:
        raise InputError(f"epochs and the number of measurements must be at least 1, not {epochs} and {count}.")
    return sorted({0, epochs, *np.geomspace(1, epochs, count).round().astype(int).tolist()})


# what trains in the place of `train` where several runs train as one (`ncbook.training.stacked`)
instead: ContextVar[Callable[..., Iterator[State]] | None] = ContextVar("instead", default=None)


def _or_instead(train: Callable[..., Iterator[State]]) -> Callable[..., Iterator[State]]:
    @wraps(train)
    def either(*args, **settings) -> Iterator[State]:
        return (instead.get() or train)(*args, **settings)

    return either


@_or_instead
def train(
    model: nn.Module,
    dataset,
    *,
    loss: str = "cross_entropy",
    epochs: int,
    learning_rate: float,
    generator: torch.Generator,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: str = "step",
    augment: str | None = None,
    measure_at: list[int] | None = None,
    terminal_epochs: int | None = None,
    precision: str = "float32",
) -> Iterator[State]:
    """Train `model` on ``dataset.train`` and yield, with the model in eval mode, at each measurement epoch: ``for state in train(…):
    measure``.

    It stops at `measure_at` (default `measurement_epochs`) and also where the terminal phase begins: the first epoch that ends with
    zero training error (Papyan et al. 2020). The only early stop is the declared one: `terminal_epochs` after that epoch.
    `precision` ``"bfloat16"`` runs the forward pass under autocast, for GPUs.
    A long run of a sweep that was killed goes on from its checkpoint (`ncbook.training.checkpoint`).
    Where `torch.distributed` has several processes, they train the network together (`ncbook.training.parallel`).
    Raises `InputError` for unknown names and ``FloatingPointError`` when the loss is no longer finite.
    """
    if loss not in LOSSES:
        raise unknown("loss", loss, LOSSES)
    if schedule not in SCHEDULES:
        raise unknown("schedule", schedule, SCHEDULES)
    if precision not in ("float32", "bfloat16"):
        raise unknown("precision", precision, ["float32", "bfloat16"])
    stops = set(measurement_epochs(epochs) if measure_at is None else measure_at)
    cast = torch.autocast(dataset.train.labels.device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    settings: dict = {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay}
    optimiser = torch.optim.SGD(
        model.parameters(), **settings, fused=True
    )  # one pass over each parameter: a fifth less time for small networks
    checkpoint = Checkpoint(model, optimiser, generator)

    for state in checkpoint.states():
        model.eval()
        yield State(**state)
    reached = checkpoint.resume()
    state = State(**reached) if reached else State(0, float("nan"), error(model.eval(), dataset.train), None)
    if not reached and 0 in stops:
        checkpoint.save(asdict(state), measured=True)
        yield state
    epoch, terminal, interpolates = state.epoch, state.terminal_epoch, Interpolation(dataset.train)
    loss_of = batch_loss(model, LOSSES[loss], dataset.train, batch_size)
    while epoch < (end := epochs if terminal is None or terminal_epochs is None else min(epochs, terminal + terminal_epochs)):
        epoch += 1
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * SCHEDULES[schedule]((epoch - 1) / epochs)
        _mode(model, training=True)
        summed, batches = torch.zeros((), device=dataset.train.labels.device), 0
        for x, y in dataset.train.batches(batch_size, generator=generator, augment=augment):
            with cast:
                value = loss_of(x, y)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            summed, batches = summed + value.detach(), batches + 1  # stays on the device: one transfer an epoch
        mean_loss = float(total(summed)) / (ranks() * batches)
        if not np.isfinite(mean_loss):
            raise FloatingPointError(f"the loss is {mean_loss} in epoch {epoch}; a smaller learning rate than {learning_rate:g} may help.")

        measured, train_error = epoch in stops or epoch == end, float("nan")
        if measured or terminal is None:
            _mode(model, training=False)
            if measured:
                train_error = error(model, dataset.train)
            elif interpolates(model):  # most epochs before the terminal phase are told by the first images
                measured, train_error = True, 0.0
            if terminal is None and train_error == 0:
                terminal = epoch
        state = State(epoch, mean_loss, train_error, terminal)
        checkpoint.save(asdict(state), measured=measured)
        if measured:
            yield state


def _mode(model: nn.Module, *, training: bool) -> None:
    """Switch between training and eval mode where it is not there yet: asking each module each epoch took a fifth of a small network's
    time."""
    if model.training != training:
        model.train(training)
