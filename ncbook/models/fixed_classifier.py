"""A stack of networks, each with a fixed classifier: only what comes before it is trained (`ncbook.training.together`)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ncbook.errors import InputError, unknown
from ncbook.models.networks import Network, build_model
from ncbook.renamed import moved_name

FEATURES = {"linear": nn.Identity, "relu": nn.ReLU}


class FixedClassifiers(nn.Module):
    """K networks with one architecture: logits = scale · M_k z_k(x), with the classifiers M (K, C, d) fixed and features z_k (d).

    z is a linear layer, Gaussian and without bias, on top of the backbone, then `features`: ``linear`` leaves it so, ``relu`` makes it
    non-negative. With `normalised` z is put on the unit sphere; `scale` multiplies the logits. With linear features, SGD and this
    initialisation the law of the trained network is the same for M and M R, for every rotation R.
    `backbone` is ``mlp:WIDTH`` (hidden ReLU layers, ``mlp:64-64`` for two) or a preset of `ncbook.models.networks`.
    """

    frames: Tensor  # a buffer

    def __init__(
        self,
        backbone: str,
        image_shape: tuple[int, int, int],
        classifiers: Tensor,
        *,
        features: str = "linear",
        normalised: bool = False,
        scale: float = 1.0,
        generator: torch.Generator,
    ):
        super().__init__()
        if features not in FEATURES:
            raise unknown("features", features, FEATURES)
        if classifiers.ndim != 3:
            raise InputError(f"classifiers must have the shape (K, C, d), not {tuple(classifiers.shape)}.")
        count, classes, dimension = classifiers.shape
        if backbone.startswith("mlp:"):
            try:
                widths = [int(w) for w in backbone.removeprefix("mlp:").split("-")]
            except ValueError:
                raise InputError(f"backbone {backbone!r}: write mlp: and the widths of the hidden layers, as in mlp:64-64.") from None
            sizes = [math.prod(image_shape), *widths]
            self.backbone: nn.Module = nn.Sequential(*[_Hidden(count, a, b, generator) for a, b in pairwise(sizes)])
        else:
            presets = _Presets([build_model(backbone, image_shape, classes, generator=generator) for _ in range(count)])
            self.backbone, sizes = presets, [presets.width]
        self.last = nn.Parameter(_gaussian(count, sizes[-1], dimension, 1.0, generator))  # (K, p, d)
        self.activation, self.normalised, self.scale = FEATURES[features](), normalised, scale
        self.register_buffer("classifiers", classifiers.float())

    def features(self, x: Tensor) -> Tensor:
        """Features (K, B, d) of S batches of images x (S, B, channels, H, W): the first K / S networks see the first batch, and so on."""
        x = self.backbone(x) @ self.last
        x = self.activation(x)
        return nn.functional.normalize(x, dim=2, eps=1e-6) if self.normalised else x

    def logits(self, features: Tensor) -> Tensor:
        """Scores (K, B, C) of features (K, B, d)."""
        return self.scale * features @ self.classifiers.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.features(x))


class _Hidden(nn.Module):
    """A linear layer, batch norm and ReLU in each of K networks: (S, B, …) to (K, B, out), S as in `FixedClassifiers.features`."""

    def __init__(self, count: int, inputs: int, outputs: int, generator: torch.Generator):
        super().__init__()
        self.weight = nn.Parameter(_gaussian(count, inputs, outputs, 2.0, generator).mT.contiguous())  # (K, out, in)
        self.norm = nn.BatchNorm1d(count * outputs)

    def forward(self, x: Tensor) -> Tensor:
        sets, batch = x.shape[:2]
        count, outputs, inputs = self.weight.shape
        x = self.weight.view(sets, -1, inputs) @ x.flatten(2).mT  # (S, K / S · out, B): one product for all that see the same images
        x = self.norm(x.view(1, count * outputs, batch))
        return torch.relu(x).view(count, outputs, batch).mT


class _Presets(nn.Module):
    """K networks of `ncbook.models.networks`, one after another, without their classifiers."""

    def __init__(self, networks: list[Network]):
        super().__init__()
        self.width = networks[0].classifier.in_features
        for network in networks:
            network.classifier = nn.Identity()  # type: ignore[assignment]
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        each = len(self.networks) // len(x)
        return torch.stack([network(x[k // each]) for k, network in enumerate(self.networks)])


def _gaussian(count: int, inputs: int, outputs: int, gain: float, generator: torch.Generator) -> Tensor:
    return torch.randn(count, inputs, outputs, generator=generator) * math.sqrt(gain / inputs)


def __getattr__(name: str):
    return moved_name(__name__, name)
