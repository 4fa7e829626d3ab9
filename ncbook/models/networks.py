"""Networks with named layers: one output a block, and the last-layer features h on which collapse is defined."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ncbook.errors import InputError, unknown

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "linear": nn.Identity}


class Network(nn.Module):
    """A chain of named blocks and a linear classifier: logits = W h + b, with h the last block's output, pooled and flattened.

    `blocks` maps names to modules, in order; the names are the layers of `features`. `classifier` is the linear layer.
    """

    def __init__(self, blocks: dict[str, nn.Module], classifier: nn.Linear):
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        self.classifier = classifier

    @property
    def layers(self) -> list[str]:
        """The names of the blocks, first to last."""
        return list(self.blocks)

    @property
    def taps(self) -> list[str]:
        """The old name of `layers`, for one version."""
        warnings.warn("Network.taps is now called Network.layers", DeprecationWarning, stacklevel=2)
        return self.layers

    def features(self, x: Tensor, layer: str | None = None, *, pooled: bool = True) -> Tensor:
        """Features (N, d) of images `x` (N, channels, height, width) at a named layer; the last one unless told.

        Feature maps (N, c, h, w) become (N, c) by averaging over positions when `pooled`, else (N, c h w) by flattening.
        The classifier always sees the pooled features. An unknown layer raises `InputError`.
        """
        if layer is not None and layer not in self.blocks:
            raise unknown("layer", layer, self.layers)
        for name, block in self.blocks.items():
            x = block(x)
            if name == layer:
                break
        return vectors(x, pooled=pooled)

    def all_features(self, x: Tensor, *, pooled: bool = True) -> dict[str, Tensor]:
        """Features (N, d_l) at every layer in one forward pass."""
        features = {}
        for name, block in self.blocks.items():
            x = block(x)
            features[name] = vectors(x, pooled=pooled)
        return features

    def activations(self, x: Tensor) -> dict[tuple[str, str], Tensor]:
        """In one forward pass each block's output as it is, ``(layer, "post")``, and what its last activation takes in, ``(layer, "pre")``.

        In a residual block the last activation comes after the sum with the skip path, so "pre" is that sum.

        >>> net = mlp((1, 2, 2), 3, depth=1, width=5)
        >>> found = net.activations(torch.randn(7, 1, 2, 2))
        >>> [(*key, tuple(h.shape)) for key, h in found.items()], torch.equal(found["hidden1", "pre"].relu(), found["hidden1", "post"])
        ([('hidden1', 'pre', (7, 5)), ('hidden1', 'post', (7, 5))], True)
        """
        features = {}
        for name, block in self.blocks.items():
            last = [module for module in block.modules() if isinstance(module, tuple(ACTIVATIONS.values()))][-1]
            # a copy, since torchvision's ReLU works in place; where a module runs twice the second call is the one that stays
            hook = last.register_forward_pre_hook(lambda _, inputs, name=name: features.update({(name, "pre"): inputs[0].clone()}))
            try:
                x = block(x)
            finally:
                hook.remove()
            features[name, "post"] = x
        return features

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def vectors(x: Tensor, *, pooled: bool) -> Tensor:
    """Feature maps (N, c, h, w) as vectors: (N, c), averaged over positions, when `pooled`, else (N, c h w); vectors (N, d) as they are.

    >>> [tuple(vectors(torch.zeros(2, 3, 4, 5), pooled=pooled).shape) for pooled in (True, False)]
    [(2, 3), (2, 60)]
    """
    return x.mean(dim=(2, 3)) if pooled and x.ndim == 4 else x.flatten(1)


def mlp(
    input_shape: tuple[int, int, int], num_classes: int, *, depth=3, width=128, activation="relu", bias=True, batch_norm=False
) -> Network:
    """`depth` hidden layers of `width` units on flattened images; layers ``hidden1`` … after the activation.

    With `batch_norm`, before each activation, it collapses in far fewer steps; the hidden layers then need no bias and have none.

    >>> net = mlp((1, 8, 8), 10, depth=2, width=16)
    >>> net.layers, sum(p.numel() for p in net.parameters())  # 64*16+16 + 16*16+16 + 16*10+10
    (['hidden1', 'hidden2'], 1482)
    """
    if depth < 1 or width < 1:
        raise InputError(f"an MLP needs depth and width of at least 1, not depth={depth}, width={width}.")
    if activation not in ACTIVATIONS:
        raise unknown("activation", activation, ACTIVATIONS)
    sizes = [input_shape[0] * input_shape[1] * input_shape[2], *[width] * depth]

    def block(i: int) -> nn.Module:
        layers = [nn.Linear(sizes[i], sizes[i + 1], bias=bias and not batch_norm), *[nn.BatchNorm1d(sizes[i + 1])] * batch_norm]
        return nn.Sequential(*[nn.Flatten()] * (i == 0), *layers, ACTIVATIONS[activation]())

    return Network({f"hidden{i + 1}": block(i) for i in range(depth)}, nn.Linear(width, num_classes, bias=bias))


def cnn(input_shape: tuple[int, int, int], num_classes: int, *, width=16, repeat=1) -> Network:
    """Three stages of `repeat` 3 × 3 convolutions with batch norm and ReLU (width, 2 width, 4 width channels); the first two halve the
    image.

    >>> cnn((1, 8, 8), 10, repeat=2).layers
    ['conv1', 'conv2', 'conv3', 'conv4', 'conv5', 'conv6']
    """
    channels = [input_shape[0], *[width] * repeat, *[2 * width] * repeat, *[4 * width] * repeat]

    def block(i: int) -> nn.Module:
        layers = [nn.Conv2d(channels[i], channels[i + 1], 3, padding=1, bias=False), nn.BatchNorm2d(channels[i + 1]), nn.ReLU()]
        return nn.Sequential(*layers, *[nn.MaxPool2d(2)] * (i + 1 in (repeat, 2 * repeat)))

    return Network({f"conv{i + 1}": block(i) for i in range(3 * repeat)}, nn.Linear(4 * width, num_classes))


def two_layer(input_shape: tuple[int, int, int], num_classes: int, *, width=64, kernel=7, stride=3, start=0.1) -> Network:
    """One convolution without bias, ReLU, and a linear layer on the flattened map; layer ``conv1``. Filters start small: deviation `start`
    / `kernel`.

    >>> net = two_layer((1, 28, 28), 10)
    >>> net(torch.zeros(2, 1, 28, 28)).shape, net.classifier.in_features  # 8 x 8 positions
    (torch.Size([2, 10]), 4096)
    """
    filters = nn.Conv2d(input_shape[0], width, kernel, stride=stride, bias=False)
    nn.init.normal_(filters.weight, std=start / kernel)
    positions = [(side - kernel) // stride + 1 for side in input_shape[1:]]
    return Network({"conv1": nn.Sequential(filters, nn.ReLU(), nn.Flatten())}, nn.Linear(width * positions[0] * positions[1], num_classes))


def resnet18(input_shape: tuple[int, int, int], num_classes: int) -> Network:
    """torchvision's ResNet-18 with the small-image stem of Papyan et al. (2020): a 3 × 3 stride-1 convolution and no max-pool.

    Layers: ``stem``, ``layer1-0``, ``layer1-1``, … ``layer4-1``, one a residual block.
    """
    from ncbook.torchvision_compat import torchvision

    net = torchvision.models.resnet18(num_classes=num_classes)
    stem = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")  # as torchvision initialises its own
    blocks: dict[str, nn.Module] = {"stem": nn.Sequential(stem, net.bn1, net.relu)}
    for i in range(1, 5):
        for j, residual in enumerate(getattr(net, f"layer{i}")):
            blocks[f"layer{i}-{j}"] = residual  # a module's name may not hold a dot
    return Network(blocks, net.fc)


def resnet_small(input_shape: tuple[int, int, int], num_classes: int, *, width=16, repeat=2) -> Network:
    """The small ResNet of He et al. (2016) for CIFAR: a stem, and three stages of `repeat` residual blocks (width, 2 width, 4 width
    channels).

    The blocks are torchvision's, with a 1 × 1 convolution where a skip path changes size. At width 16 it is twenty times cheaper than
    ResNet-18. Layers: ``stem``, ``layer1-0`` … after the sum with the skip path and its ReLU.

    >>> resnet_small((1, 8, 8), 10, repeat=1).layers
    ['stem', 'layer1-0', 'layer2-0', 'layer3-0']
    """
    from ncbook.torchvision_compat import torchvision

    def block(i: int, j: int) -> nn.Module:
        stride, channels = (2 if i > 0 and j == 0 else 1), (width * 2 ** (i - 1 if i > 0 and j == 0 else i), width * 2**i)
        skip = None
        if stride > 1:
            skip = nn.Sequential(nn.Conv2d(*channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels[1]))
        return torchvision.models.resnet.BasicBlock(*channels, stride, skip)

    stem = nn.Sequential(nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    residual = {f"layer{i + 1}-{j}": block(i, j) for i in range(3) for j in range(repeat)}
    return Network({"stem": stem, **residual}, nn.Linear(4 * width, num_classes))


@dataclass(frozen=True)
class Preset:
    """A named network: how it is built, with which options, for which images."""

    build: Callable[..., Network]
    options: dict
    smallest: int = 1  # side of the smallest image it can take


PRESETS = {
    "mlp": Preset(mlp, {"depth": 3, "width": 128, "batch_norm": True}),
    "mlp_plain": Preset(mlp, {"depth": 3, "width": 128}),
    "mlp_wide": Preset(mlp, {"depth": 3, "width": 512, "batch_norm": True}),
    "mlp_deep": Preset(mlp, {"depth": 8, "width": 100, "batch_norm": True}),
    "cnn": Preset(cnn, {"width": 16}, smallest=4),
    "two_layer": Preset(two_layer, {}, smallest=7),
    "cnn_deep": Preset(cnn, {"width": 16, "repeat": 2}, smallest=4),
    "resnet_small": Preset(resnet_small, {"width": 16}, smallest=8),
    "resnet18": Preset(resnet18, {}, smallest=8),
}


def build_model(name: str, input_shape: tuple[int, int, int], num_classes: int, *, generator: torch.Generator, **options) -> Network:
    """The preset `name` for images (channels, height, width), initialised from `generator`; `options` override the preset's.

    torch's initialisers draw from the global generator: it is seeded from `generator` here and put back after, so nothing else notices.
    Unknown names and images too small raise `InputError`.
    """
    if name not in PRESETS:
        raise unknown("model", name, PRESETS)
    preset = PRESETS[name]
    if min(input_shape[1:]) < preset.smallest:
        raise InputError(f"model {name!r} needs images of at least {preset.smallest} × {preset.smallest} pixels, not {input_shape[1:]}.")
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = preset.build(input_shape, num_classes, **{**preset.options, **options})
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions run up to twice as fast; the numbers mean the same
