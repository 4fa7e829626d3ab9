"""The classifier of a network: which module it is, and its weight and bias at the moment they are asked for."""

import copy
import gc
import weakref
from types import CellType, FunctionType

import numpy as np
import torch
from torch import Tensor, nn

from ncbook.errors import InputError
from ncbook.metrics.inputs import check_head

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Head:
    """Where a classifier's weight (C, d) and bias (C,) are read, each time anew, so that training, conversion and copying show.

    ``source`` is the module itself (a linear layer, a 1 x 1 convolution, or any with a weight), a function that gives the weight or
    ``(weight, bias)``, a parameter, or an array that is to stay as it is. Raises `InputError` for a tensor that shares its memory with a
    network: it would silently become the weight of an earlier step.

    >>> layer = nn.Linear(2, 3)
    >>> head = Head(layer)
    >>> head.read()[0].dtype, layer.double() and head.read()[0].dtype
    (torch.float32, torch.float64)
    """

    def __init__(self, source, bias=None):
        parts = source if isinstance(source, (tuple, list)) and len(source) == 2 and bias is None else (source, bias)
        for part in parts:
            if (type(part) is Tensor or isinstance(part, np.ndarray)) and _shared(part):
                raise InputError(
                    "this weight shares its memory with a network's parameter, and goes stale when that trains or is converted: "
                    "give the layer itself (head=model.fc), a function, or a copy (.clone()) if it is to stay as it is"
                )
        self._parts = tuple(parts)
        self._places = [_place(part) if isinstance(part, (nn.Module, nn.Parameter)) else None for part in parts]
        self._of_network = [place is not None for place in self._places]
        self._twins: list[weakref.ref] = []

    def __getstate__(self) -> dict:
        return vars(self) | {"_places": [None] * len(self._parts), "_twins": []}  # weak references are not copied; places are found again

    def __deepcopy__(self, memo: dict) -> "Head":
        """A copy that reads the copy of its network where that is copied too."""
        copied = memo[id(self)] = type(self).__new__(type(self))
        vars(copied).update(copy.deepcopy(self.__getstate__(), memo))
        source = self._parts[0]
        if isinstance(source, FunctionType):
            function = _over_copies(source, memo)
            copied._parts = (function, *copied._parts[1:])
            if function is source:
                # A copy of what the function gives outlives this one only as a part of a network that is copied as well.
                copied._twins = [weakref.ref(copy.deepcopy(part, memo)) for part in _parts_given(source)]
        return copied

    def read(self) -> tuple[Tensor, Tensor | None]:
        """The weight (C, d) and the bias (C,) or None, detached, as they are now."""
        for i, was in enumerate(self._of_network):
            if was and not self._in_use(i):
                raise InputError(
                    "the classifier that was given is no longer a part of its network (a new head, or a weight that is computed now): "
                    "give the layer that is in use, or a function such as head=lambda: model.fc"
                )
        if any(twin() is not None for twin in self._twins):
            raise InputError(
                "this metric was copied with its network, but its function gives the classifier of the first: give the layer itself "
                "(head=self.fc), which is copied along, or a function of self (head=lambda: self.fc)"
            )
        source, bias = self._parts
        if isinstance(source, nn.Module):
            return module_head(source)
        if callable(source):
            given = source()
            return given.read() if isinstance(given, Head) else Head._plain(given)
        return check_head(source, bias)

    def _in_use(self, i: int) -> bool:
        """Whether a part is where it was found, or else, which takes long to find out, in any module."""
        if (place := self._places[i]) is not None:
            module, table, name = place
            if (owner := module()) is not None and vars(owner)[table].get(name) is self._parts[i]:
                return True
        self._places[i] = _place(self._parts[i])
        return self._places[i] is not None

    @staticmethod
    def _plain(given) -> tuple[Tensor, Tensor | None]:
        if isinstance(given, nn.Module):
            return module_head(given)
        return check_head(*given) if isinstance(given, (tuple, list)) else check_head(given)


def module_head(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight (C, d) and bias (C,) of a linear layer, a 1 x 1 convolution or any module that has them as attributes."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if (callable(weight) and not isinstance(weight, Tensor)) or (isinstance(weight, Tensor) and weight.is_quantized):
        raise InputError("the classifier is quantised: measure the network before it was")
    if not isinstance(weight, Tensor):
        raise InputError(f"{type(module).__name__} has no weight; give head=(weight, bias) or a function that does")
    if weight.ndim > 2 and weight[0, 0].numel() == 1:
        weight = weight.flatten(1)
    return check_head(weight, bias if isinstance(bias, Tensor) else None)


def find_head(ran: dict[str, tuple[nn.Module, Tensor]], scores: Tensor) -> str:
    """The name of the layer whose output *is* the network's output (or becomes it by softmax), of those that ``ran`` with their outputs."""
    made = [name for name, (_, output) in ran.items() if output is scores]
    made = made or [name for name, (_, output) in ran.items() if _agrees(output, scores)]
    if len(made) == 1:
        return made[0]
    if made:
        raise InputError(f"the layers {_names(made)} all put out the network's scores; say which is the classifier with head='{made[-1]}'")
    wide = [name for name, (_, output) in ran.items() if output.ndim > 1 and output.shape[1] == scores.shape[1]] or list(ran)
    raise InputError(
        "the network does not end in an nn.Linear (or 1 x 1 convolution) that makes its scores"
        + (f"; of those that ran, perhaps {_names(wide[-3:])}" if wide else "")
        + ": say which with head=NAME, give head=(weight, bias) with layer=NAME, or measure a layer alone with layer=NAME"
    )


def quantised_layers(model: nn.Module) -> list[str]:
    """The names of the modules of a network that PyTorch's quantisation has put in the place of others."""
    return [name for name, module in model.named_modules() if ".quantized" in type(module).__module__]


def linear_like(module: nn.Module) -> bool:
    """Whether a module may be a classifier: a linear layer, or a convolution of one pixel."""
    return isinstance(module, LINEAR) and set(getattr(module, "kernel_size", (1,))) == {1}


def decides_at(outputs: list[Tensor], score: Tensor) -> float:
    """Where one score (N, 1) decides between two classes: 0 for a logit, 1/2 for the probability that a sigmoid makes of one.

    Both may lie between 0 and 1, so the ``outputs`` of linear layers tell; `InputError` where they cannot.

    >>> decides_at([torch.tensor([[0.0], [2.0]])], torch.tensor([[0.5], [0.880797]]))
    0.5
    """
    if not bool(((score >= 0) & (score <= 1)).all()):
        return 0.0
    columns = [output.flatten().float() for output in outputs if output.numel() == len(score)]
    for make, place in ((lambda z: z, 0.0), (torch.sigmoid, 0.5)):
        if any(torch.allclose(make(z), score.flatten().float(), rtol=1e-4, atol=1e-5) for z in columns):
            return place
    raise InputError(
        "the network's one output lies between 0 and 1, and whether it is a probability or a logit is not clear: "
        "give scores=lambda p: torch.cat([1 - p, p], 1) or scores=lambda z: torch.cat([-z, z], 1) / 2, of (N, 1)"
    )


def is_plain(module: nn.Module) -> bool:
    """Whether nothing can come between a linear layer's input, weight and bias and its output: no forward of its own, and no hooks."""
    hooks = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return not hooks and type(module).forward is _base(module).forward


def is_linear(module: nn.Module, given: Tensor, output: Tensor) -> bool:
    """Whether a linear layer makes its output of what it was given as the class of torch does that it comes from."""
    try:
        wanted = _base(module).forward(module, given)
    except (RuntimeError, TypeError, AttributeError):
        return False
    return wanted.shape == output.shape and torch.allclose(wanted.float(), output.float(), rtol=1e-4, atol=1e-5)


def _base(module: nn.Module) -> type[nn.Module]:
    return next(kind for kind in LINEAR if isinstance(module, kind))


def _agrees(output: Tensor, scores: Tensor) -> bool:
    if output.ndim > 2:
        output = output.flatten(2).mean(2)  # a 1 x 1 convolution before or after the pooling
    if output.ndim == 1:
        output = output[:, None]
    if output.shape != scores.shape:
        return False
    output, scores = output.float(), scores.float()
    candidates = (lambda: output, lambda: output.softmax(1), lambda: output.log_softmax(1), lambda: output.sigmoid())
    return any(torch.allclose(make(), scores, rtol=1e-4, atol=1e-5) for make in candidates)


def two_class(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The head of one logit z as one of two, (-z/2, z/2): the same decisions and probabilities.

    >>> two_class(torch.tensor([[2.0, 4.0]]), torch.tensor([1.0]))[0].tolist()
    [[-1.0, -2.0], [1.0, 2.0]]
    """
    return torch.cat([-weight, weight]) / 2, None if bias is None else torch.cat([-bias, bias]) / 2


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _shared(values: Tensor | np.ndarray) -> bool:
    """Whether a parameter uses the memory of this tensor or array, as with ``.detach()``, ``.data`` and ``.numpy()``."""
    if isinstance(values, Tensor):
        place = values.untyped_storage().data_ptr() if values.layout == torch.strided else 0
    else:
        place = values.__array_interface__["data"][0]
    used = (o.untyped_storage() for o in gc.get_objects() if type(o) is nn.Parameter)
    return place != 0 and any(memory.data_ptr() <= place < memory.data_ptr() + memory.nbytes() for memory in used)


def _place(thing: nn.Module | nn.Parameter) -> tuple[weakref.ref, str, str] | None:
    """The module that has this one, or this parameter, as a part, the name of the table there, and its name in it; None without one."""
    for table in gc.get_referrers(thing):
        if not isinstance(table, dict):
            continue
        for owner in gc.get_referrers(table):
            # a module's attributes may lie in a dict of their own, which then refers to the table
            for module in gc.get_referrers(owner) if isinstance(owner, dict) else [owner]:
                attributes = vars(module) if isinstance(module, nn.Module) else {}
                for kind in ("_parameters", "_modules"):
                    if attributes.get(kind) is table:
                        return weakref.ref(module), kind, next(name for name, part in table.items() if part is thing)
    return None


def _over_copies(function: FunctionType, memo: dict) -> FunctionType:
    """The function, over the copies of what has been copied of what it closes over (``self``); itself where nothing has."""
    cells = function.__closure__ or ()
    known = [cell != CellType() and id(cell.cell_contents) in memo for cell in cells]
    if not any(known):
        return function
    closure = tuple(CellType(memo[id(cell.cell_contents)]) if was else cell for cell, was in zip(cells, known, strict=True))
    copied = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, closure)
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def _parts_given(function: FunctionType) -> list[nn.Module | nn.Parameter]:
    """The modules and parameters that a head's function gives."""
    try:
        given = function()
    except Exception:  # noqa: BLE001  the function is the user's; it is for reading to say what is wrong, not for copying
        return []
    given = given if isinstance(given, (tuple, list)) else [given]
    return [part for part in given if isinstance(part, (nn.Module, nn.Parameter))]


def as_head(head, weight=None, bias=None) -> Head | None:
    """The one way of three to give a classifier that was used; None if none was."""
    if head is not None and weight is not None:
        raise InputError("give head= or weight=, not both")
    source = head if head is not None else weight
    if source is None:
        if bias is not None:
            raise InputError("a bias needs its weight")
        return None
    return source if isinstance(source, Head) else Head(source, bias)


def checked_head(head: Head | None, num_classes: int, num_features: int) -> None:
    """Raise `InputError` if the head is not for so many classes and features."""
    if head is None:
        return
    shape = tuple(head.read()[0].shape)
    if shape != (num_classes, num_features):
        raise InputError(f"the classifier weight has the shape {shape}, not (classes, features) = ({num_classes}, {num_features})")
