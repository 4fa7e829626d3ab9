"""Inputs and labels from batches of many forms, scores from outputs of many forms, and activations of named layers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ncbook.errors import InputError, unknown
from ncbook.metrics.devices import no_tf32
from ncbook.metrics.inputs import as_tensor

LABELS = ("labels", "label", "y", "target", "targets")
POOLINGS = ("auto", "flatten", "mean", "cls")
Pooling = str | Callable[[Tensor, object], Tensor]


def plain(model: nn.Module) -> nn.Module:
    """The network inside `torch.compile` or data-parallel wrappers; one that runs no Python hooks is refused."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if inner is None:
            break
        model = inner
    if not isinstance(model, nn.Module):
        raise InputError(f"the network must be a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        raise InputError("the network is scripted (torch.jit), so nothing inside it can be read: measure the one that it was made from")
    return model


def loader(data, name: str, batch_size: int = 256) -> Iterable:
    """Something that gives batches: a loader or any iterable as it is, a data set of single samples in batches."""
    if isinstance(data, torch.utils.data.Dataset):
        return torch.utils.data.DataLoader(data, batch_size=batch_size)
    if data is None or (not hasattr(data, "__iter__") and not hasattr(data, "__getitem__")):
        raise InputError(f"{name} must be a loader, a data set, or an iterable of batches (x, y), not {type(data).__name__}")
    return data


def batch_parts(batch, read: Callable | None) -> tuple[object, object]:
    """Inputs and labels of a batch: of a pair, of a dict with its labels under a usual name, or what ``read(batch)`` says."""
    if read is not None:
        parts = read(batch)
        if not isinstance(parts, (tuple, list)) or len(parts) != 2:
            raise InputError("batch= must be a function that gives (inputs, labels)")
        return parts[0], parts[1]
    if isinstance(batch, Mapping):
        names = [name for name in LABELS if name in batch]
        if len(names) != 1:
            raise InputError(f"a batch with {', '.join(map(str, batch))} has no one entry of labels; give batch=lambda b: (inputs, labels)")
        inputs = {name: value for name, value in batch.items() if name != names[0]}
        return inputs, batch[names[0]]
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    count = f"of {len(batch)} parts" if isinstance(batch, (tuple, list)) else f"of type {type(batch).__name__}"
    raise InputError(f"batches must be pairs (x, y); for one {count} say which they are with batch=lambda b: (b[0], b[1])")


@no_tf32()
def run(model: nn.Module, inputs, device: torch.device):
    """The network's output: a dict of inputs goes in by name, unless it is one that the network does not know, a tuple by position."""
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def here(value):
        if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "to_numpy"):
            value = as_tensor(value, "inputs")
        if not isinstance(value, Tensor):
            return value
        # a network of one precision cannot take numbers of another
        return value.to(device, kind if value.is_floating_point() else None, non_blocking=True)

    if isinstance(inputs, Mapping):
        known = model.forward.__code__.co_varnames if hasattr(model.forward, "__code__") else None
        values = {name: here(value) for name, value in inputs.items()}
        if len(values) == 1 and known is not None and next(iter(values)) not in known:
            return model(*values.values())
        return model(**values)
    return model(*map(here, inputs)) if isinstance(inputs, (tuple, list)) else model(here(inputs))


def scores_of(outputs, read: Callable | None) -> Tensor:
    """The scores (N, C) in a network's output; those of one logit as (N, 1)."""
    if read is not None:
        outputs = read(outputs)
    elif hasattr(outputs, "logits"):
        outputs = outputs.logits
    elif isinstance(outputs, Mapping) and "logits" in outputs:
        outputs = outputs["logits"]
    elif isinstance(outputs, (tuple, list)):
        matrices = [part for part in outputs if isinstance(part, Tensor) and part.ndim == 2 and part.is_floating_point()]
        outputs = matrices[0] if len(matrices) == 1 else outputs
    if isinstance(outputs, Tensor) and outputs.ndim == 1:
        outputs = outputs[:, None]
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        found = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(f"the network must return scores of shape (N, C), not {found}; pick them with scores=lambda out: ...")
    return outputs


@contextmanager
def tapped(model: nn.Module, names: list[str], *, side: str, pooling: Pooling, current: dict) -> Iterator[dict[str, Tensor]]:
    """The ``side`` ("input" or "output") of the named modules at each forward pass, pooled to (B, d) and copied as it passes.

    Copied within the hook: what a network changes in place afterwards must not change what is measured. ``current["inputs"]`` is the batch,
    for a pooling function.
    """
    modules = dict(model.named_modules())
    taken: dict[str, Tensor] = {}

    def keep(name: str) -> Callable:
        def before(module, args, kwargs):
            activation = args[0] if args else next(iter(kwargs.values()), None)
            taken.pop(name, None)
            taken[name] = pooled(name, activation, pooling, current.get("inputs"), module)

        def after(module, args, output):
            taken.pop(name, None)
            taken[name] = pooled(name, output, pooling, current.get("inputs"), module)

        return before if side == "input" else after

    hooks = []
    try:
        for name in names:
            if name not in modules:
                raise unknown("layer", name, filter(None, modules))
            if isinstance(modules[name], torch.jit.ScriptModule):
                raise InputError(
                    f"layer {name!r} is scripted (torch.jit), and gives no hook its output: measure the network that it was made from"
                )
            if side == "input":
                hooks.append(modules[name].register_forward_pre_hook(keep(name), with_kwargs=True, prepend=True))
            else:
                hooks.append(modules[name].register_forward_hook(keep(name)))
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


def pooled(name: str, activation, pooling: Pooling, inputs=None, module: nn.Module | None = None) -> Tensor:
    """An activation as (B, d), a copy: "auto" averages the positions of 4-D maps and flattens the rest, "mean" averages all positions.

    "auto" refuses maps whose channels come last, as far as the ``module`` or the shape tell, and "cls" all but tokens and rows.
    """
    if callable(pooling):
        activation = pooling(activation, inputs)
    if not isinstance(activation, Tensor) or activation.ndim < 2:
        remedy = "give pooling=lambda activation, inputs: ... that makes one"
        raise InputError(f"layer {name!r} does not put out one tensor with a row a sample; {remedy}")
    activation = activation.detach()
    shape = tuple(activation.shape)
    if pooling == "cls" and activation.ndim > 3:
        raise InputError(f"layer {name!r} has the shape {shape}, which is not one of tokens (B, T, d), so pooling='cls' finds no first one")
    if pooling == "auto" and activation.ndim > 3 and _channels_last(shape, module):
        raise InputError(
            f"layer {name!r} has the shape {shape}, whose channels seem to come last: give pooling=lambda h, x: h.flatten(1, -2).mean(1) "
            "if they do, or pooling='mean' if they come first"
        )
    if pooling == "cls" and activation.ndim == 3:
        return activation[:, 0].clone()  # (B, T, d): the first token
    if pooling == "mean" and activation.ndim == 3:
        return _precise(activation).mean(1)
    if pooling in ("auto", "mean") and activation.ndim > 3:
        return _precise(activation).flatten(2).mean(2)  # (B, channels, ...)
    return activation.flatten(1).clone()


# what works on the second dimension
CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
)


def _channels_last(shape: tuple[int, ...], module: nn.Module | None) -> bool:
    """Whether a map is (B, height, width, channels): of a layer that works on the last dimension, or square so but not otherwise."""
    if isinstance(module, CHANNELS_FIRST):
        return False
    last = type(module) is nn.Linear or (type(module) is nn.LayerNorm and len(module.normalized_shape) == 1)
    return last or (len(shape) == 4 and 1 < shape[1] == shape[2] != shape[3])


def check_pooling(pooling: Pooling) -> None:
    """Raise `InputError` for a pooling that does not exist."""
    if not callable(pooling) and pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)


def layer_names(model: nn.Module, layer) -> list[str] | None:
    """The names that ``layer`` (a name, a module of the network, or several) means."""
    if layer is None:
        return None
    several = isinstance(layer, Iterable) and not isinstance(layer, (str, nn.Module))
    layers = list(layer) if several else [layer]
    if wrong := [one for one in layers if not isinstance(one, (str, nn.Module))]:
        raise InputError(f"layer must be a name, a module of the network, or a list of them, not {wrong[0]!r}")
    if not layers:
        raise InputError("layer=[] names no layer; leave it out to measure what the classifier reads")
    return [module_name(model, one) if isinstance(one, nn.Module) else one for one in layers]


def module_name(model: nn.Module, module: nn.Module) -> str:
    """The name of a module in the network."""
    for name, one in model.named_modules():
        if one is module:
            return name
    raise InputError(f"the {type(module).__name__} that was given is no part of the network")


def _precise(activation: Tensor) -> Tensor:
    return activation if activation.dtype == torch.float64 else activation.float()
