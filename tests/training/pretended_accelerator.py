"""A second device, pretended: tensors that say they lie on ``pretended:0`` and are computed on the CPU, under the rules of a GPU.

An operation on tensors of both devices raises, as CUDA does; what makes the host wait for the device, and what crosses between the two, is
counted by the line of `ncbook` that asked for it. It says nothing of a GPU's speed or digits. Made once a process, since torch names its
additional device once: run it in a process of its own.
"""

import sys
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

import ncbook

NAME = "pretended"
PACKAGE = str(Path(ncbook.__file__).parent)
# the result's size, or the answer itself, is known to the device alone
WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "equal",
    "is_nonzero",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
}
TAKES_HOST_INDEX = {"index", "index_put", "index_put_", "_index_put_impl_"}

waits: Counter[str] = Counter()  # by line of the package: the host waits for the device
copies: Counter[str] = Counter()  # by line as well: the host sends something, and waits until it is there


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def current_device(self):
        return 0


_setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
DEVICE = torch.device(NAME, 0)


class There(torch.Tensor):
    """A tensor of the device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor):
        like = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype, "device": DEVICE}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, **like)
        made.held = held.detach()
        return made

    def __repr__(self, **_):
        return f"<{NAME}, {tuple(self.shape)}, {self.dtype}>"

    def tolist(self):
        return self.detach().cpu().tolist()

    def numpy(self, **_):
        raise TypeError(f"can't convert {NAME} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    def __array__(self, *_, **__):
        return self.numpy()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return dispatch(function, args, kwargs or {})


class Accelerator(TorchDispatchMode):
    """Within, tensors may be made on, and sent to, the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return dispatch(function, args, kwargs or {})

    def __enter__(self):
        self.lists = _Lists()
        self.lists.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.lists.__exit__(*error)


class _Lists(TorchFunctionMode):
    """`torch.tensor` of a list allocates on its device before any other mode is asked: here it is made on the CPU, and sent."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") is not None:
            return function(*args, **{**kwargs, "device": "cpu"}).to(kwargs["device"])
        return function(*args, **kwargs)


def changed(change, value):
    """A value, or the same lists and tuples of values, with `change` for each: an operation holds nothing deeper, and PyTorch's own trees,
    which may, take most of the time."""
    return type(value)([changed(change, one) for one in value]) if isinstance(value, list | tuple) else change(value)


def dispatch(function, args, kwargs):
    name = function._schema.name.removeprefix("aten::")
    tensors = []
    changed(lambda x: tensors.append(x) if isinstance(x, Tensor) else None, [*args, *kwargs.values()])
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    target = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
    if not there and target != NAME:
        return function(*args, **kwargs)
    here = [tensor for tensor in tensors if not isinstance(tensor, There)]
    if there and here and name not in ("copy_", "_to_copy"):
        _mixed(function, name, args, there, here)
    if name in WAITS or (name == "index" and any(isinstance(i, There) and i.dtype == torch.bool for i in args[1])):
        waits[f"{_line()} {name}"] += 1
    if name == "_to_copy" and target == "cpu" and there:
        waits[f"{_line()} to the host"] += 1
    crosses = (name == "_to_copy" and not there) or (name == "copy_" and len(there) == 1)
    if crosses and not kwargs.get("non_blocking", name == "copy_" and len(args) > 2 and args[2]):
        copies[f"{_line()} {name}"] += 1
    held = lambda x: x.held if isinstance(x, There) else torch.device("cpu") if isinstance(x, torch.device) else x
    inner = {key: changed(held, value) for key, value in kwargs.items() if key != "pin_memory"}
    result = function(*changed(held, args), **inner)
    if name == "_local_scalar_dense" or target == "cpu" or (name == "copy_" and not isinstance(args[0], There)):
        return args[0] if name == "copy_" else result
    known = {id(tensor.held): tensor for tensor in there}  # an operation in place gives back what it was given
    return changed(lambda x: (known[id(x)] if id(x) in known else There(x)) if isinstance(x, Tensor) else x, result)


def _mixed(function, name, args, there, here) -> None:
    """Raise as CUDA does where an operation has tensors of both devices, but for what it takes: a number, and positions in its tensor."""
    if name in TAKES_HOST_INDEX and isinstance(args[0], There):
        copies[f"{_line()} index of the host"] += 1
        return
    numbers = all(tensor.ndim == 0 for tensor in here)
    if numbers and (torch.Tag.pointwise in function.tags or name in ("where", "fill_")):
        return
    shapes = [tuple(tensor.shape) for tensor in (*there, *here)]
    raise RuntimeError(f"Expected all tensors to be on the same device: {function} of {shapes} at {_line()}")


def _line() -> str:
    """The line of the package that the operation is of."""
    frame = sys._getframe()
    while frame and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).relative_to(PACKAGE)}:{frame.f_lineno}" if frame else "?"
