"""Several networks of one architecture as one: each layer computes all of them at once.

Products of matrices become one batched product, and batch norm of vectors one over the units of all networks. Convolutions stay one a
network, as grouped ones are slower on a CPU; what lies between them is done for all at once. A small network's step is mostly the overhead
of its operators, so the gradient goes back through functions that each layer leaves, not through autograd's graph.

Activations are (K, B, …), for K networks and B images; in memory feature maps lie as (K, B, height, width, channels), of which each
network's convolution reads its own.

What a network computes does not depend, to the last digit, on how many others there are, nor on which. For products each network's
matrices begin where a vector register may, as those of a lone one do: the order of sums depends on it. And where a loop over all numbers
would end amid a register, whose rest is rounded otherwise, each network has a loop of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor, nn

from ncbook.models import linear_heads
from ncbook.models.networks import Network

EXACT = (nn.ReLU, nn.LeakyReLU, nn.Identity)  # rounded alike wherever a number stands
ELEMENTWISE = (*EXACT, nn.Tanh, nn.GELU, linear_heads.SmoothLeaky)
ALIGNED = 16  # numbers of the widest vector register
WHOLE = 2 * ALIGNED  # and of what a loop takes at a time
aten = torch.ops.aten

Back = Callable[[Tensor], Tensor]  # from the gradient of what a layer gives to that of what it takes
Layer = Callable[[Tensor, bool], tuple[Tensor, Back]]  # of activations, in training or not


class NetworkStack:
    """K networks that agree in their `architecture`, with stacked copies of their parameters and buffers, (K, …) each."""

    def __init__(self, networks: list[nn.Module]):
        self.chain = list(_chain(networks[0]))
        self.parameters = {name: _stacked([n.get_parameter(name) for n in networks]) for name, _ in networks[0].named_parameters()}
        self.buffers = {name: _stacked([n.get_buffer(name) for n in networks]) for name, _ in networks[0].named_buffers()}
        self._bind()

    def _bind(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        # whose parameters come first: nobody asks for the gradient of what it takes in
        self.first = next(name for name, _ in self.chain if self.of(f"{name}.weight") is not None)
        self.layers: list[Layer] = [_LAYERS[type(module)](self, name, module) for name, module in self.chain]

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Scores (K, B, C) of images x (K, B, channels, height, width), a batch each, in eval mode."""
        for layer in self.layers:
            x, _ = layer(x, False)
        return x

    @torch.no_grad()
    def differentiate(self, x: Tensor, labels: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss (K,) of each on its batch and labels (K, B), in training mode, and its gradients, each (K, …) as its parameter.

        `loss` is that of each of N images, from scores (N, C) and labels (N,).
        """
        backs: list[Back] = []
        for (name, _), layer in zip(self.chain, self.layers, strict=True):
            x, back = layer(x, True)
            backs = [*backs, back] if name != self.first else [back]
        rest = -labels.numel() % WHOLE
        flat = nn.functional.pad(labels.flatten(), (0, rest))

        def mean_loss(scores: Tensor) -> Tensor:
            of_each = loss(nn.functional.pad(scores.flatten(0, 1), (0, 0, 0, rest)), flat)
            return of_each[: labels.numel()].view(labels.shape).mean(1)

        mean, back = _local(mean_loss, x)
        gradient = back(torch.ones_like(mean))
        for back in reversed(backs):
            gradient = back(gradient)
        return mean, self.gradients

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
        self.parameters = {name: chosen(parameter, members) for name, parameter in self.parameters.items()}
        self.buffers = {name: chosen(buffer, members) for name, buffer in self.buffers.items()}
        self._bind()

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
    except _NoChain:
        return None
    tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    shared = len({tensor.data_ptr() for _, tensor in tensors}) < len(tensors)  # layers that have one weight
    if shared or not list(network.parameters()):
        return None
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for _, tensor in tensors):
        return None
    options = [(name, type(module), *sorted(_options(module).items())) for name, module in layers]
    return tuple(map(str, options)), tuple((name, tuple(tensor.shape), str(tensor.device)) for name, tensor in tensors)


def _options(module: nn.Module) -> dict:
    plain = (bool, int, float, str, tuple)
    return {name: value for name, value in vars(module).items() if isinstance(value, plain) and name != "training"}


def _chain(network: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers that a network's images go through, one after another; `_NoChain` where it is none of known ones."""
    if network._forward_hooks or network._forward_pre_hooks:
        raise _NoChain
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
        raise _NoChain


def _plain(layer: nn.Module) -> bool:
    """Whether its options are among those of `_LAYERS`."""
    if isinstance(layer, nn.Linear):
        return layer.in_features > 1  # a column is no matrix to the libraries, and rounded otherwise
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return getattr(layer, "momentum", 0.1) is not None


class _NoChain(Exception):
    """A network that cannot be in a stack."""


class _Vectors(nn.Module):
    """What `ncbook.models.networks.vectors` does to feature maps."""


def _stacked(tensors: list[Tensor]) -> Tensor:
    """(K, …) of K tensors; the channels of filters lie last in memory, as in `build_model`."""
    tensors = [tensor.detach() for tensor in tensors]
    return _aligned(torch.stack(tensors)) if tensors[0].ndim < 4 else _joined(tensors)


def _room(like: Tensor, *shape: int) -> Tensor:
    """An empty stack (K, …), each network's part aligned."""
    count, size = shape[0], prod(shape[1:])
    return like.new_empty(count, size + -size % ALIGNED)[:, :size].view(shape)


def _aligned(stack: Tensor) -> Tensor:
    return stack if stack.stride(0) % ALIGNED == 0 else _room(stack, *stack.shape).copy_(stack)


# --- one function a kind of layer: (stack, the name of the module, the module) → `Layer` --------------------------------------------------


def _linear(stack: NetworkStack, name: str, module) -> Layer:
    weight, bias = stack.of(f"{name}.weight"), stack.of(f"{name}.bias")  # (K, o, i), (K, o)

    def layer(x: Tensor, training: bool) -> tuple[Tensor, Back]:
        x = _aligned(x)
        y = _room(x, *x.shape[:2], weight.shape[1])
        if bias is None:
            torch.bmm(x, weight.mT, out=y)
        else:
            torch.baddbmm(bias[:, None], x, weight.mT, out=y)

        def back(gradient: Tensor) -> Tensor:
            gradient = _aligned(gradient)
            stack.gradients[f"{name}.weight"] = torch.bmm(gradient.mT, x, out=_room(x, *weight.shape))
            if bias is not None:
                stack.gradients[f"{name}.bias"] = gradient.sum(1)
            return torch.bmm(gradient, weight, out=_room(x, *x.shape)) if name != stack.first else gradient

        return y, back

    return layer


def _convolution(stack: NetworkStack, name: str, module) -> Layer:
    weight, bias = stack.of(f"{name}.weight"), stack.of(f"{name}.bias")  # (K, o, i, …), (K, o)
    options = module.stride, module.padding, module.dilation
    wanted = [name != stack.first, True, bias is not None]

    def layer(x: Tensor, training: bool) -> tuple[Tensor, Back]:
        y = _joined(
            [nn.functional.conv2d(x[k], weight[k], None if bias is None else bias[k], *options, module.groups) for k in range(len(x))]
        )

        def back(gradient: Tensor) -> Tensor:
            sizes = [weight.shape[1]] if wanted[2] else None
            found = [
                aten.convolution_backward(gradient[k], x[k], weight[k], sizes, *options, False, [0, 0], module.groups, wanted)
                for k in range(len(x))
            ]
            stack.gradients[f"{name}.weight"] = _joined([to_weight for _, to_weight, _ in found])
            if bias is not None:
                stack.gradients[f"{name}.bias"] = torch.stack([to_bias for *_, to_bias in found])
            return _joined([to_x for to_x, *_ in found]) if name != stack.first else gradient

        return y, back

    return layer


def _norm(stack: NetworkStack, name: str, module) -> Layer:
    parts = [stack.of(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]  # (K, d) each, or None
    passes, is_affine = stack.of(f"{name}.num_batches_tracked"), parts[0] is not None

    def norm(x: Tensor, own: list[Tensor | None], by_batch: bool) -> tuple[Tensor, Callable]:
        """Of images x (B, d, …), with parameters and averages (d,) of its `own`."""
        y, mean, deviation = aten.native_batch_norm(x, *own, by_batch, module.momentum, module.eps)

        def back(gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
            wanted = [True, is_affine, is_affine]
            return aten.native_batch_norm_backward(gradient, x, own[0], None, None, mean, deviation, True, module.eps, wanted)

        return y, back

    def keep(to_weight: Tensor, to_bias: Tensor) -> None:
        stack.gradients[f"{name}.weight"], stack.gradients[f"{name}.bias"] = to_weight, to_bias

    def of_vectors(x: Tensor, by_batch: bool) -> tuple[Tensor, Back]:
        count, batch, units = x.shape

        def side_by_side(vectors: Tensor) -> Tensor:  # the units of all networks: (B, K d)
            return vectors.transpose(0, 1).reshape(batch, -1)

        def one_by_one(vectors: Tensor) -> Tensor:
            return vectors.view(batch, count, units).transpose(0, 1)

        y, to_each = norm(side_by_side(x), [None if part is None else part.view(-1) for part in parts], by_batch)

        def back(gradient: Tensor) -> Tensor:
            to_x, to_weight, to_bias = to_each(side_by_side(gradient))
            if is_affine:
                keep(to_weight.view(count, units), to_bias.view(count, units))
            return one_by_one(to_x)

        return one_by_one(y), back

    def of_each(x: Tensor, by_batch: bool) -> tuple[Tensor, Back]:
        join = _joined if x.ndim == 5 else torch.stack
        found = [norm(x[k], [None if part is None else part[k] for part in parts], by_batch) for k in range(len(x))]

        def back(gradient: Tensor) -> Tensor:
            to_x, to_weight, to_bias = zip(*[to_each(gradient[k]) for k, (_, to_each) in enumerate(found)], strict=True)
            if is_affine:
                keep(torch.stack(to_weight), torch.stack(to_bias))
            return join(to_x)

        return join([y for y, _ in found]), back

    def layer(x: Tensor, training: bool) -> tuple[Tensor, Back]:
        if training and x.shape[1] * x[0, 0, 0].numel() == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {x[0].shape}")  # as torch has it
        if training and passes is not None:
            passes.add_(1)
        one_for_all = x.ndim == 3 and x.shape[2] % WHOLE == 0
        return (of_vectors if one_for_all else of_each)(x, training or parts[2] is None)

    return layer


def _relu(stack: NetworkStack, name: str, module) -> Layer:
    def layer(x: Tensor, training: bool) -> tuple[Tensor, Back]:
        y = x.relu_()  # what comes before has kept what it needs, which is not its own result
        return y, lambda gradient: aten.threshold_backward(gradient, y, 0)

    return layer


def _reshaped(stack: NetworkStack, name: str, module) -> Layer:
    """Feature maps as vectors, averaged over positions or flattened."""

    def layer(x: Tensor, training: bool) -> tuple[Tensor, Back]:
        if x.ndim == 5 and not isinstance(module, nn.Flatten):
            return _local(lambda maps: maps.mean((3, 4)), x)
        return x.flatten(2), lambda gradient: gradient.reshape(x.shape)

    return layer


def _pool(stack: NetworkStack, name: str, module) -> Layer:
    def layer(x: Tensor, training: bool) -> tuple[Tensor, Back]:
        return _local(lambda maps: module(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]), x)

    return layer


def _elementwise(stack: NetworkStack, name: str, module) -> Layer:
    def layer(x: Tensor, training: bool) -> tuple[Tensor, Back]:
        if type(module) in EXACT or x[0].numel() % WHOLE == 0:
            return _local(module, x)
        join = _joined if x.ndim == 5 else torch.stack
        return _local(lambda x: join([module(own) for own in x]), x)

    return layer


def _local(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Back]:
    """What has no parameters: its value, and its gradient by autograd."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = function(x)
    return y.detach(), lambda gradient: torch.autograd.grad(y, x, gradient)[0]


_LAYERS: dict[type[nn.Module], Callable[[NetworkStack, str, nn.Module], Layer]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.MaxPool2d: _pool,
    nn.Flatten: _reshaped,
    _Vectors: _reshaped,
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    nn.ReLU: _relu,
}


def _joined(maps: Sequence[Tensor]) -> Tensor:
    """The maps (B, c, height, width) of each network, or its filters, in one tensor, their channels last in memory."""
    return torch.stack([m.permute(0, 2, 3, 1) for m in maps]).permute(0, 1, 4, 2, 3)
