"""Networks whose features and classifier rows are unit vectors: logits are cosines over a temperature (Jiang et al. 2023)."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ncbook.errors import InputError
from ncbook.models.networks import Network, build_model, vectors


class Embedding(nn.Module):
    """A linear map of vectors, or pooled feature maps, to d dimensions, and from there onto the unit sphere."""

    def __init__(self, inputs: int, dimension: int):
        super().__init__()
        self.map = nn.Linear(inputs, dimension, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.map(vectors(x, pooled=True)), dim=1)


class RowsOfLength(nn.Module):
    """Rows of a matrix, each brought to one length: what the classifier's weight is made of, so that it *is* what multiplies features."""

    def __init__(self, length: float):
        super().__init__()
        self.length = length

    def forward(self, rows: Tensor) -> Tensor:
        return self.length * nn.functional.normalize(rows, dim=1)


def spherical(
    backbone: str, input_shape: tuple[int, int, int], num_classes: int, *, dimension: int, scale: float, generator: torch.Generator
) -> Network:
    """A backbone (a preset of `ncbook.models.networks`), an `Embedding` of `dimension`, and a classifier without bias whose rows have the
    length `scale`, one over the temperature, while features have length 1.

    The last layer is called ``embedding``. First weights are drawn from `generator`; the map is Gaussian with variance 1 / inputs, the rows
    point anywhere. Raises `InputError` for an unknown backbone, a dimension below 2 and a scale that is not positive.

    >>> net = spherical("mlp", (1, 8, 8), 30, dimension=5, scale=4.0, generator=torch.Generator().manual_seed(0))
    >>> net.features(torch.rand(7, 1, 8, 8)).norm(dim=1).round(decimals=4).unique().tolist(), net.classifier.weight.norm(dim=1)[0].item()
    ([1.0], 4.0)
    """
    if dimension < 2 or not scale > 0:
        raise InputError(f"unit features need at least 2 dimensions and a scale above 0, not {dimension} and {scale}.")
    network = build_model(backbone, input_shape, num_classes, generator=generator)
    inputs = network.classifier.in_features
    embedding, classifier = Embedding(inputs, dimension), nn.Linear(dimension, num_classes, bias=False)
    with torch.no_grad():
        embedding.map.weight.copy_(torch.randn(dimension, inputs, generator=generator) / inputs**0.5)
        classifier.weight.copy_(nn.functional.normalize(torch.randn(num_classes, dimension, generator=generator), dim=1))
    parametrize.register_parametrization(classifier, "weight", RowsOfLength(scale), unsafe=True)
    return Network({**network.blocks, "embedding": embedding}, classifier)
