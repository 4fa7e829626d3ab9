"""Networks that end in several linear layers in a row: a backbone, then L2 weight matrices without bias and nothing between them."""

import math

import torch
from torch import Tensor, nn

from ncbook.errors import InputError, unknown
from ncbook.models.networks import Network, build_model, mlp, vectors


class SmoothLeaky(nn.Module):
    """Smooth leaky ReLU: slope · x + (1 - slope) · (log(1 + exp(x)) - log 2), with σ(0) = 0.

    Its derivative, slope + (1 - slope) · sigmoid(x), lies between the slope and 1 and is Lipschitz: what Jacot et al. (2024, theorem 4.4)
    ask of an activation, and ReLU is not.

    >>> x = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    >>> SmoothLeaky(0.5)(x).sum().backward()
    >>> x.grad.tolist()
    [0.5, 0.75, 1.0]
    """

    def __init__(self, slope: float = 0.1):
        super().__init__()
        if not 0 < slope < 1:
            raise InputError(f"the slope of a leaky activation lies between 0 and 1, not {slope}.")
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x + (1 - self.slope) * (nn.functional.softplus(x) - math.log(2))


ACTIVATIONS = {"relu": nn.ReLU, "smooth_leaky": SmoothLeaky}


class _Linear(nn.Module):
    """A weight matrix on the vectors, or on the pooled feature maps, of the block before."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.map = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(vectors(x, pooled=True))


def linear_headed(
    backbone: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    linear_layers: int,
    *,
    nonlinear_layers: int | None = None,
    width: int | None = None,
    activation: str | None = "relu",
    generator: torch.Generator,
) -> Network:
    """A network whose last `linear_layers` weight matrices follow one another without bias or activation: square, but for the last (C, d).

    `backbone` is ``mlp`` (`nonlinear_layers` layers of `width` units, no bias, an `activation` of `ACTIVATIONS`), ``resnet20``, or a preset
    of `ncbook.models.networks`, which alone decides on what comes before the head. Matrices of the head and of the MLP are Gaussian with
    variance 1 / inputs, drawn from `generator`. Layers: those of the backbone, then ``linear1`` … Raises `InputError` for unknown names and
    fewer than one layer.

    >>> net = linear_headed("mlp", (1, 8, 8), 10, 3, nonlinear_layers=2, width=16, generator=torch.Generator().manual_seed(0))
    >>> net.layers, [tuple(w.shape) for w in net.parameters()]
    (['hidden1', 'hidden2', 'linear1', 'linear2'], [(16, 64), (16, 16), (16, 16), (16, 16), (10, 16)])
    """
    if linear_layers < 1:
        raise InputError(f"a network ends in at least one linear layer, not {linear_layers}.")
    if backbone == "mlp":
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)
        network = mlp(input_shape, num_classes, depth=nonlinear_layers, width=width, bias=False)
        for block in network.blocks.values():
            block[-1] = ACTIVATIONS[activation]()  # type: ignore[operator]  # a block of `mlp` is a sequence
            _gaussian(block[-2], generator)  # type: ignore[index]
    elif backbone == "resnet20":
        network = build_model("resnet_small", input_shape, num_classes, generator=generator, repeat=3)
    else:
        network = build_model(backbone, input_shape, num_classes, generator=generator)
    features = network.classifier.in_features
    head = {f"linear{i}": _Linear(features, features) for i in range(1, linear_layers)}
    network = Network({**network.blocks, **head}, nn.Linear(features, num_classes, bias=False))
    for layer in (*(block.map for block in head.values()), network.classifier):
        _gaussian(layer, generator)
    return network


def _gaussian(layer: nn.Linear, generator: torch.Generator) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) / math.sqrt(layer.in_features))
