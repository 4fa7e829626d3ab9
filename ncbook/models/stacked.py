"""Several networks of one architecture as one: each layer computes all of them at once.

Products of matrices become one batched product, and batch norm of vectors one over the units of all networks. Convolutions stay one a
network, as grouped ones are slower on a CPU; what lies between them is done for all at once.

Activations are (K, B, …), for K networks and B images; in memory feature maps lie as (K, B, height, width, channels), of which each
network's convolution reads its own.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ncbook.models import linear_heads
from ncbook.models.networks import Network

ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.GELU, nn.Identity, linear_heads.SmoothLeaky)
aten = torch.ops.aten


class NetworkStack:
    """K networks that agree in their `architecture`, with stacked copies of their parameters and buffers, (K, …) each."""

    def __init__(self, networks: list[nn.Module]):
        self.layers = [(_LAYERS[type(module)], f"{name}.", module) for name, module in _chain(networks[0])]
        self.parameters = {name: _stacked([n.get_parameter(name) for n in networks]) for name, _ in networks[0].named_parameters()}
        self.buffers = {name: _stacked([n.get_buffer(name) for n in networks]) for name, _ in networks[0].named_buffers()}
        for parameter in self.parameters.values():
            parameter.requires_grad_()

    def __call__(self, x: Tensor, *, training: bool) -> Tensor:
        """Scores (K, B, C) of images x (K, B, channels, height, width), K batches."""
        for layer, name, module in self.layers:
            x = layer(self, name, module, x, training)
        return x

    @torch.no_grad()
    def take(self, k: int, network: nn.Module) -> None:
        """Give `network` the weights of network `k`."""
        for mine, its in self._pairs(network):
            its.copy_(mine[k])

    @torch.no_grad()
    def put(self, k: int, network: nn.Module) -> None:
        """Give network `k` the weights of `network`."""
        for mine, its in self._pairs(network):
            mine[k].copy_(its)

    def keep(self, members: list[int]) -> None:
        """Leave out all other networks."""
        self.parameters = {name: chosen(p.detach(), members).requires_grad_() for name, p in self.parameters.items()}
        self.buffers = {name: chosen(b, members) for name, b in self.buffers.items()}

    def _pairs(self, network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        for name, parameter in self.parameters.items():
            yield parameter, network.get_parameter(name)
        for name, buffer in self.buffers.items():
            yield buffer, network.get_buffer(name)

    def of(self, name: str) -> Tensor | None:
        """The stacked parameter or buffer; None where the networks have none."""
        found = self.parameters.get(name)
        return self.buffers.get(name) if found is None else found


def chosen(stacked: Tensor, members: list[int]) -> Tensor:
    """Some of a stack (K, …), laid out in memory as it is."""
    return _stacked([stacked[k] for k in members])


def architecture(network: nn.Module) -> tuple | None:
    """What networks of one stack agree in: their layers, with options and shapes. None for a network that cannot be in one."""
    try:
        layers = list(_chain(network))
    except NotImplementedError:
        return None
    tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    if len({tensor.data_ptr() for _, tensor in tensors}) < len(tensors):  # layers that share their weights
        return None
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for _, tensor in tensors):
        return None
    options = [(name, type(module), *sorted(_options(module).items())) for name, module in layers]
    return tuple(map(str, options)), tuple((name, tuple(tensor.shape), str(tensor.device)) for name, tensor in tensors)


def _options(module: nn.Module) -> dict:
    plain = (bool, int, float, str, tuple)
    return {name: value for name, value in vars(module).items() if isinstance(value, plain) and name != "training"}


def _chain(network: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers that a network's images go through, one after another; `NotImplementedError` where it is no chain of known ones."""
    if network._forward_hooks or network._forward_pre_hooks:
        raise NotImplementedError
    if type(network) is Network:
        for block, module in network.blocks.items():
            yield from _chain(module, f"blocks.{block}")
        yield "", _Vectors()
        yield from _chain(network.classifier, "classifier")
    elif type(network) is linear_heads._Linear:
        yield "", _Vectors()
        yield from _chain(network.map, f"{name}.map")
    elif type(network) is nn.Sequential:
        for child, module in network.named_children():
            yield from _chain(module, f"{name}.{child}".removeprefix("."))
    elif type(network) in _LAYERS and _plain(network):
        yield name, network
    else:
        raise NotImplementedError


def _plain(layer: nn.Module) -> bool:
    """Whether its options are among those of `_LAYERS`."""
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return getattr(layer, "momentum", 0.1) is not None


class _Vectors(nn.Module):
    """What `ncbook.models.networks.vectors` does to feature maps."""


def _stacked(tensors: list[Tensor]) -> Tensor:
    """(K, …) of K tensors; the channels of filters lie last in memory, as in `build_model`."""
    with torch.no_grad():
        if tensors[0].ndim < 4:
            return torch.stack(list(tensors))
        return torch.stack([t.movedim(1, -1) for t in tensors]).movedim(-1, 2)


# --- one function a kind of layer: (stack, the name before those of its parameters, module, x, training) → x ------------------------------


def _linear(stack: NetworkStack, name: str, module, x: Tensor, training: bool) -> Tensor:
    return _Products.apply(x, stack.of(f"{name}weight"), stack.of(f"{name}bias"))


def _convolution(stack: NetworkStack, name: str, module, x: Tensor, training: bool) -> Tensor:
    options = module.stride, module.padding, module.dilation, module.groups
    return _Convolutions.apply(x, stack.of(f"{name}weight"), stack.of(f"{name}bias"), options)


def _norm(stack: NetworkStack, name: str, module, x: Tensor, training: bool) -> Tensor:
    weight, bias, mean, variance = (stack.of(f"{name}{part}") for part in ("weight", "bias", "running_mean", "running_var"))
    if training and (batches := stack.of(f"{name}num_batches_tracked")) is not None:
        batches += 1
    if x.ndim == 5:
        return _NormOfMaps.apply(x, weight, bias, mean, variance, training, module.momentum, module.eps)
    count, batch, units = x.shape
    flat = (None if t is None else t.view(-1) for t in (mean, variance, weight, bias))
    x = nn.functional.batch_norm(x.transpose(0, 1).reshape(batch, -1), *flat, training or mean is None, module.momentum, module.eps)
    return x.view(batch, count, units).transpose(0, 1)


def _pool(stack: NetworkStack, name: str, module, x: Tensor, training: bool) -> Tensor:
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _vectors(stack: NetworkStack, name: str, module, x: Tensor, training: bool) -> Tensor:
    return x.mean((3, 4)) if x.ndim == 5 else x.flatten(2)


def _flatten(stack: NetworkStack, name: str, module, x: Tensor, training: bool) -> Tensor:
    return x.flatten(2)


def _elementwise(stack: NetworkStack, name: str, module, x: Tensor, training: bool) -> Tensor:
    return module(x)


_LAYERS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.MaxPool2d: _pool,
    nn.Flatten: _flatten,
    _Vectors: _vectors,
    **dict.fromkeys(ELEMENTWISE, _elementwise),
}


class _Products(torch.autograd.Function):
    """x (K, B, i), weights (K, o, i), biases (K, o) or None → (K, B, o). Gradients lie in memory as what they are of, for a fused SGD."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        to_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return to_x, torch.bmm(gradient.mT, x), gradient.sum(1) if ctx.biased else None


class _Convolutions(torch.autograd.Function):
    """x (K, B, i, height, width), filters (K, o, i, …), biases (K, o) or None → (K, B, o, …)."""

    @staticmethod
    def forward(ctx, x, weight, bias, options):
        ctx.save_for_backward(x, weight)
        ctx.options, ctx.biased = options, bias is not None
        biases = [None] * len(x) if bias is None else bias
        return _joined(lambda k: nn.functional.conv2d(x[k], weight[k], biases[k], *options), len(x))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        (stride, padding, dilation, groups), mask = ctx.options, [ctx.needs_input_grad[0], True, ctx.biased]
        to_x = torch.empty_like(x) if mask[0] else None
        to_weight, to_bias = torch.empty_like(weight), weight.new_empty(weight.shape[:2]) if ctx.biased else None
        for k in range(len(x)):
            found = aten.convolution_backward(
                gradient[k], x[k], weight[k], list(weight.shape[1:2]), stride, padding, dilation, False, [0, 0], groups, mask
            )
            for whole, part in zip((to_x, to_weight, to_bias), found, strict=True):
                if whole is not None:
                    whole[k].copy_(part)
        return to_x, to_weight, to_bias, None


class _NormOfMaps(torch.autograd.Function):
    """Batch norm of feature maps (K, B, c, height, width); moves the running averages."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, variance, training, momentum, eps):
        out, kept = torch.empty_like(x), []
        for k in range(len(x)):
            own = [None if t is None else t[k] for t in (weight, bias, mean, variance)]
            y, *statistics = torch.native_batch_norm(x[k], *own, training or mean is None, momentum, eps)
            out[k].copy_(y)
            kept.append(statistics)
        ctx.save_for_backward(x, weight)
        ctx.kept, ctx.eps = kept, eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = torch.empty_like(x), None, None
        if weight is not None:
            to_weight, to_bias = torch.empty_like(weight), torch.empty_like(weight)
        for k, statistics in enumerate(ctx.kept):
            own = None if weight is None else weight[k]
            mask = [True, weight is not None, weight is not None]
            found = aten.native_batch_norm_backward(gradient[k], x[k], own, None, None, *statistics, True, ctx.eps, mask)
            for whole, part in zip((to_x, to_weight, to_bias), found, strict=True):
                if whole is not None:
                    whole[k].copy_(part)
        return to_x, to_weight, to_bias, *[None] * 5


def _joined(part: Callable[[int], Tensor], count: int) -> Tensor:
    """The maps `part(k)` (B, c, height, width) of each network in one tensor, its channels last in memory."""
    first = part(0)
    out = first.new_empty(count, *first.permute(0, 2, 3, 1).shape).permute(0, 1, 4, 2, 3)
    out[0].copy_(first)
    for k in range(1, count):
        out[k].copy_(part(k))
    return out
