"""The two-layer network on patches.

Our reconstruction of the network of Zhang, Gao, Zou & Cao (2025), with the details of Shi, Wang, Zhang & Cao (2025).
"""

import torch
from torch import Tensor

from ncbook.data.patches import PatchImages
from ncbook.errors import InputError


def huberised_relu(z: Tensor, *, power: float, threshold: float) -> tuple[Tensor, Tensor]:
    """The activation and its slope: 0 below 0, z^q / (q κ^(q−1)) up to the threshold κ, then z − κ + κ / q, so that the slope is
    continuous.

    >>> value, slope = huberised_relu(torch.tensor([-1.0, 1.5, 3.0, 5.0]), power=3, threshold=3.0)
    >>> value.tolist(), slope.tolist()
    ([0.0, 0.125, 1.0, 3.0], [0.0, 0.25, 1.0, 1.0])
    """
    if power <= 1 or threshold <= 0:
        raise InputError(f"the activation needs a power above 1 and a threshold above 0, not {power} and {threshold}.")
    low = z.clamp(0, threshold)
    slope = low.div(threshold).pow_(power - 1)
    return low.mul_(slope).div_(power).add_((z - threshold).relu_()), slope


def votes(activations: Tensor) -> Tensor:
    """What each patch adds to an image's output (..., U): the mean activation (..., 2m, U) of the first m filters less that of the
    others."""
    positive, negative = activations.chunk(2, dim=-2)
    return positive.mean(-2) - negative.mean(-2)


def outputs(of_patch: Tensor, index: Tensor) -> Tensor:
    """f(x) = Σ_p votes(x_p) for each image (..., N), from the votes of all patches (..., U); `index` (N, 1 + P) names each image's."""
    return of_patch[..., index].sum(-1)


@torch.no_grad()
def accuracy(filters: Tensor, data: PatchImages, *, power: float, threshold: float) -> Tensor:
    """Share of the images of `data` that filters (R, 2m, d) classify correctly, at each noise level (R,)."""
    value, _ = huberised_relu(filters @ data.patches.mT, power=power, threshold=threshold)
    return ((outputs(votes(value), data.index) > 0) == (data.labels > 0)).double().mean(-1)
