"""Gradient descent on the filters of the two-layer network on patches, by way of inner products."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ncbook.data.patches import PatchImages
from ncbook.errors import InputError
from ncbook.models.patch_cnn import huberised_relu, outputs, votes
from ncbook.training.checkpoint import Checkpoint
from ncbook.training.parallel import alone


def descend(
    data: PatchImages, filters: Tensor, *, steps: int, learning_rate: float, power: float, threshold: float, measure_at: list[int]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Full-batch gradient descent on the logistic loss from `filters` (2m, d): (step, filters (R, 2m, d), loss (R,)) at the steps
    `measure_at`.

    The first m filters count +1/m each, the others −1/m, and only filters are trained. The R noise levels are trained side by side. A
    gradient is a combination of patches, so the filters are always ``filters + moved @ patches``, and all that happens depends on their
    inner products with the patches, which need only the patches' Gram matrix: the same steps as on the filters themselves, several times as
    fast. A long run of a sweep that was killed goes on from its checkpoint, as with `training.train`.
    """
    alone("descent on inner products of patches")
    m = len(filters) / 2
    if m != int(m) or m < 1:
        raise InputError(f"half of the filters count for each class, so their number must be even, not {len(filters)}.")
    side = torch.ones_like(filters[:, :1])  # (2m, 1)
    side[int(m) :] = -1
    gram = data.patches @ data.patches.mT  # (R, U, U)
    start = filters @ data.patches.mT  # (R, 2m, U)
    moved = torch.zeros_like(start)
    checkpoint = Checkpoint(nn.ParameterDict({"moved": nn.Parameter(moved, requires_grad=False)}))
    for state in checkpoint.states():
        yield state["epoch"], filters + moved @ data.patches, state["loss"]
    done, reached = set(checkpoint.measured), checkpoint.resume() or {"epoch": 0}
    for step in range(reached["epoch"], steps + 1):
        value, slope = huberised_relu(torch.baddbmm(start, moved, gram), power=power, threshold=threshold)
        of_patch = votes(value).requires_grad_()
        loss = softplus(-data.labels * outputs(of_patch, data.index)).mean(-1)  # (R,)
        measured, value = step in measure_at and step not in done, loss.detach()
        if measured and not bool(torch.isfinite(loss).all()):
            raise FloatingPointError(f"the loss is not finite at step {step}; a smaller learning rate than {learning_rate:g} may help.")
        checkpoint.save({"epoch": step, "loss": value}, measured=measured)
        if measured:
            yield step, filters + moved @ data.patches, value
        (pull,) = torch.autograd.grad(loss.sum(), of_patch)  # (R, U)
        moved -= slope.mul_(side * (learning_rate / m)).mul_(pull[:, None])  # by hand from here on: autograd takes eight times as long
