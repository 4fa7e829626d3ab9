"""Features and labels as tensors, from arrays, tables and lists; what cannot be used is refused in one sentence."""

import warnings

import numpy as np
import torch
from torch import Tensor

from ncbook.errors import InputError

DOUBLE = {torch.float64, torch.int32, torch.int64, torch.uint32, torch.uint64}  # what float32 does not hold exactly


def as_tensor(values, what: str) -> Tensor:
    """Tensors, NumPy arrays (of either byte order, with any strides, memory-mapped), pandas tables and lists as one tensor.

    ``what`` names them in the error. Nothing is copied that need not be.

    >>> as_tensor([[1, 2]], "features").shape
    torch.Size([1, 2])
    """
    if isinstance(values, (list, tuple)) and values and isinstance(values[0], Tensor):
        try:
            return torch.stack([value.detach() for value in values])
        except (RuntimeError, AttributeError):
            raise InputError(f"{what} in a list must be tensors of one shape") from None
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_quantized:
            raise InputError(f"{what} are sparse or quantised; give them as an ordinary tensor (.to_dense() or .dequantize())")
        values = values.detach()
        return values.cpu() if values.device.type == "mps" else values  # that device has no float64
    if _masked(values):
        raise InputError(f"{what} are a masked array with masked values; leave their rows out, or fill them with .filled(...)")
    if hasattr(values, "toarray"):
        raise InputError(f"{what} are a sparse matrix; give {what}.toarray()")
    try:
        array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    except (ValueError, TypeError):
        raise InputError(f"{what} must be numbers in rows of one length, not {type(values).__name__}") from None
    if array.dtype.kind not in "biufc":
        hint = "; pandas.factorize(labels)[0] numbers them" if what == "labels" else ""
        raise InputError(f"{what} must be numbers, not {type(values).__name__} of {array.dtype}{hint}")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise InputError(f"{what} must be below 2^63")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of arrays that may not be written to; nothing here writes
        return torch.from_numpy(array) if array.ndim else torch.tensor(array.item())


def _masked(values) -> bool:
    """Whether an array, or one within lists, has masked values."""
    if isinstance(values, (list, tuple)):
        return any(map(_masked, values))
    return isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)


def compute_dtype(features: Tensor) -> torch.dtype:
    """Precision of the heavy sums: float64 for float64 and wide integers, float32 for what that holds exactly."""
    return torch.float64 if features.dtype in DOUBLE else torch.float32


def check_features(features, labels, *, num_classes: int | None = None) -> tuple[Tensor, Tensor, int]:
    """Features (N, d), labels as int64 on the CPU (N,) and the number of classes; `InputError` says what is wrong with them."""
    features = as_tensor(features, "features")
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError(f"features must have the shape (samples, dimensions), not {tuple(features.shape)}; flatten them first")
    if features.dtype == torch.bool or features.is_complex():
        raise InputError(f"features must be real numbers, not {features.dtype}")
    labels, num_classes = check_labels(labels, samples=len(features), num_classes=num_classes)
    # Squares of numbers below 1e-19 vanish in float32, and zero variance would look like collapse. A few rows answer nearly always.
    if features.dtype in (torch.float32, torch.bfloat16) and all(bool((part.abs() < 1e-12).all()) for part in (features[:64], features)):
        features = features.double()
    return features, labels, num_classes


def check_labels(labels, *, samples: int, num_classes: int | None = None, what: str = "labels") -> tuple[Tensor, int]:
    """Labels as int64 on the CPU and the number of classes, or `InputError`."""
    labels = as_tensor(labels, what)
    if labels.ndim != 1:
        remedy = "use squeeze(1)" if labels.ndim == 2 and labels.shape[1] == 1 else "for one-hot rows use argmax(1)"
        raise InputError(f"{what} must have the shape (samples,), not {tuple(labels.shape)}; {remedy}")
    whole = labels.dtype != torch.bool and not labels.is_floating_point() and not labels.is_complex()
    if not whole and (labels.numel() or labels.dtype == torch.bool):  # an empty list is a float array
        raise InputError(f"{what} must be integers 0..C-1, not {labels.dtype}")
    if len(labels) != samples:
        raise InputError(f"{samples} samples but {len(labels)} {what}")
    labels = labels.cpu().long()
    if num_classes is None:
        if samples == 0:
            raise InputError("no samples")
        num_classes = int(labels.max()) + 1
    if samples and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(f"{what} must be in 0..{num_classes - 1}; found {int(labels.min())}..{int(labels.max())}")
    return labels, num_classes


def check_outputs(outputs, *, samples: int, num_classes: int | None = None) -> tuple[Tensor, int]:
    """Predicted labels as int64 on the CPU (N,), from them or from scores (N, C), and the number of classes."""
    outputs = as_tensor(outputs, "outputs")
    if outputs.ndim == 2:
        num_classes = scores_width(outputs) if num_classes is None else num_classes
        if outputs.shape[1] != num_classes:
            raise InputError(f"the outputs (scores) have {outputs.shape[1]} columns for {num_classes} classes; there must be one a class")
        if outputs.is_floating_point() and outputs.numel() and not has_largest(outputs):
            raise InputError("the outputs (scores) contain NaN or infinity, and then no score is the largest")
        outputs = outputs.argmax(1)
    return check_labels(outputs, samples=samples, num_classes=num_classes, what="outputs")


def has_largest(scores: Tensor) -> bool:
    """Whether every row of scores (…, C) has a largest: none is NaN, infinity, or minus infinity throughout."""
    return bool(torch.isfinite(scores.amax(-1)).all())


def scores_width(outputs) -> int | None:
    """The number of classes that scores (N, C) are for; None for predicted labels."""
    outputs = as_tensor(outputs, "outputs")
    if outputs.dtype == torch.bool or outputs.is_complex():
        raise InputError(f"the outputs must be scores (N, C) or predicted labels (N,), not {outputs.dtype}")
    if outputs.ndim != 2:
        return None
    if outputs.shape[1] < 2:
        raise InputError(
            f"the outputs have the shape {tuple(outputs.shape)}: scores need a column a class, predicted labels the shape (samples,)"
        )
    return outputs.shape[1]


def check_head(weight, bias=None) -> tuple[Tensor, Tensor | None]:
    """A classifier's weight (C, d) and bias (C,), finite, as tensors."""
    weight = as_tensor(weight, "weight")
    if weight.ndim != 2:
        raise InputError(f"the classifier weight must have the shape (C, d), not {tuple(weight.shape)}")
    if bias is not None:
        bias = as_tensor(bias, "bias")
        if bias.shape != weight.shape[:1]:
            raise InputError(f"the bias must have the shape ({len(weight)},), not {tuple(bias.shape)}")
    if not all(bool(torch.isfinite(part).all()) for part in (weight, bias) if part is not None):
        raise InputError("the classifier's weight or bias contains NaN or infinite values")
    return weight, bias


def listed(classes: list[int]) -> str:
    """The first few of a list of classes, for an error.

    >>> listed([1, 2, 3, 4, 5, 6, 7])
    '1, 2, 3, 4, 5 and 2 more'
    """
    return ", ".join(map(str, classes[:5])) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
