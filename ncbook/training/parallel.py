"""One network trained by several processes, each at its share of every batch (distributed data parallel).

All draw the same batches, from generators in the same state, and gradients and the statistics of batch norm are those of the whole batch:
the steps are those of one process, to rounding, and the weights are the same in all processes. What is measured is worked out by shares as
well, and then every process has all of it.

Where `torch.distributed` has no group of several processes, nothing of this happens.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ncbook.errors import InputError
from ncbook.metrics.processes import of_all


def ranks() -> int:
    """How many processes train together: 1 for one by itself."""
    return torch.distributed.get_world_size() if torch.distributed.is_available() and torch.distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is."""
    return torch.distributed.get_rank() if ranks() > 1 else 0


def alone(what: str) -> None:
    """An `InputError` where several processes train together: `what` is for one."""
    if ranks() > 1:
        raise InputError(f"{what} cannot be shared by several processes; without torchrun, each process gets runs of its own.")


def _rows(count: int, of: int) -> slice:
    """The rows that a rank has of `count`, as many as any other, or one more."""
    return slice(count * of // ranks(), count * (of + 1) // ranks())


def share(split):
    """This process's part of a split."""
    if ranks() == 1:
        return split
    if len(split) < ranks():
        raise InputError(f"{len(split)} images cannot be shared by {ranks()} processes.")
    here = _rows(len(split), rank())
    tensors = ("images", "labels", "clean_labels", "fine_labels", "index")
    return replace(split, **{name: getattr(split, name)[here] for name in tensors})


def whole(rows: Tensor, split) -> Tensor:
    """The rows of all images of a split, from those that each process has of its share."""
    if ranks() == 1:
        return rows
    found = rows.new_empty(len(split), *rows.shape[1:])
    found[_rows(len(split), rank())] = rows
    for source in range(ranks()):
        torch.distributed.broadcast(found[_rows(len(split), source)], source)
    return found


def total(value: Tensor) -> Tensor:
    """The sum of what the processes have."""
    if ranks() > 1:
        value = value.clone()
        torch.distributed.all_reduce(value)
    return value


def everywhere(yes: bool, device: torch.device) -> bool:
    """Whether all processes say yes; they talk by way of `device`."""
    return yes if ranks() == 1 else not total(torch.tensor(not yes, dtype=torch.int64, device=device))


def alike(value: object) -> bool:
    """Whether all processes have the same."""
    return ranks() == 1 or all(one == value for one in of_all(value))


def batch_loss(model: nn.Module, loss: Callable, split, batch_size: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a batch, as a function of its images and labels; of several processes, each gets one for its share of them.

    It is weighted so that the mean over the processes is the loss of the batch, and so the mean of the gradients, which
    ``DistributedDataParallel`` takes, its gradient.
    """
    if ranks() == 1:
        return lambda x, y: loss(model(x).float(), y)
    if (smallest := len(split) % batch_size or batch_size) < ranks():
        raise InputError(f"a batch of {smallest} images cannot be shared by {ranks()} processes; choose another batch size.")
    _share_batch_norm(model, split.labels.device.type)
    parallel = nn.parallel.DistributedDataParallel(model)

    def of_share(x: Tensor, y: Tensor) -> Tensor:
        here = _rows(len(y), rank())
        return loss(parallel(x[here]).float(), y[here]) * (len(y[here]) * ranks() / len(y))

    return of_share


def _share_batch_norm(model: nn.Module, device: str) -> None:
    """Let batch norm see whole batches, in place; PyTorch's own layer for that is for GPUs only."""
    if device == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__ = _SharedBatchNorm


class _SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm by the mean and variance of the whole batch, of which each process has a share."""

    def _check_input_dim(self, x: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        over, channels = [0, *range(2, x.ndim)], (-1, *[1] * (x.ndim - 2))
        count = float(total(torch.tensor(x.numel() / x.shape[1], dtype=torch.float64)))
        mean = _Total.apply(x.sum(over)) / count  # (channels,)
        centred = x - mean.view(channels)
        variance = _Total.apply(centred.square().sum(over)) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return centred * (self.weight / (variance + self.eps).sqrt()).view(channels) + self.bias.view(channels)


class _Total(torch.autograd.Function):
    """`total`, through which gradients go back: each process's value counts in what all of them make of the sum."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        return total(value)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return total(gradient)
