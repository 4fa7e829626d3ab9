"""Count, mean and scatter of each class: what V, CDNV, NC2 and NC3 are made of, exact and mergeable.

Why not sums and sums of squares: at a collapse of 1e-10 on features with mean 10 the two large squares agree to twelve digits and their
difference is rounding. Here a value close to the class mean is subtracted first (exact in floating point for close numbers), the heavy sums run on
the small remainders in the features' own precision, and blocks are merged in float64 by the update of Chan, Golub & LeVeque (1979).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncbook.errors import InputError, unknown

WEIGHTINGS = ("class", "sample")
EPS32 = torch.finfo(torch.float32).eps
EPS64 = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class ClassMoments:
    """Counts, means and scatters of C groups of d-dimensional features.

    ``scatter[c]`` is the *sum* over class c of ``|h - mean[c]|^2``, that is n_c times the trace of its covariance (division by n_c, ddof 0).

    >>> moments = ClassMoments.from_features(torch.tensor([[0.0], [2.0], [10.0], [14.0]]), torch.tensor([0, 0, 1, 1]))
    >>> moments.mean.tolist(), moments.scatter.tolist()
    ([[1.0], [12.0]], [2.0, 8.0])
    """

    count: Tensor  # (C,) int64
    mean: Tensor  # (C, d) float64
    scatter: Tensor  # (C,) float64

    @classmethod
    def from_features(
        cls, features: Tensor, labels: Tensor, *, num_classes: int | None = None, allow_missing: bool = False
    ) -> "ClassMoments":
        """Moments of ``features`` (N, d) grouped by ``labels`` (N,); integers and half precision are taken as float32, float64 stays.

        ``num_classes`` is the largest label plus one unless given. With ``allow_missing`` a class may have no sample (count 0, mean 0).
        Raises `InputError` for wrong shapes or types, labels out of range, NaN or infinite features, and classes without samples.
        """
        features, labels, num_classes = check_features(features, labels, num_classes=num_classes)
        moments = cls.grouped(features, labels, num_classes)
        moments.check_finite()
        if not allow_missing:
            moments.check_present()
        return moments

    @classmethod
    def grouped(cls, features: Tensor, groups: Tensor, num_groups: int) -> "ClassMoments":
        """`from_features` of features and groups already checked; groups may be empty."""
        moments = cls.empty(num_groups, features.shape[1], device=features.device)
        moments.add(features, groups)
        return moments

    @classmethod
    def empty(cls, num_classes: int, num_features: int, *, device=None) -> "ClassMoments":
        """Moments of no samples: the neutral element of `merge`.

        >>> ClassMoments.empty(2, 3).mean.shape
        torch.Size([2, 3])
        """
        return cls(
            torch.zeros(num_classes, dtype=torch.int64, device=device),
            torch.zeros(num_classes, num_features, dtype=torch.float64, device=device),
            torch.zeros(num_classes, dtype=torch.float64, device=device),
        )

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add checked samples in place: one reading of ``features``, block by block."""
        with torch.no_grad(), exact_matmul(features.device):
            for block in sorted_blocks(features, labels):
                self._merge_rows(block.classes, *_block_moments(block))

    def merge(self, other: "ClassMoments") -> "ClassMoments":
        """Moments of both sets of samples together, exact to float64 rounding whatever the order.

        >>> a = ClassMoments.from_features(torch.tensor([[0.0], [9.0]]), torch.tensor([0, 1]))
        >>> b = ClassMoments.from_features(torch.tensor([[2.0], [9.0]]), torch.tensor([0, 1]))
        >>> a.merge(b).scatter.tolist()
        [2.0, 0.0]
        """
        if self.mean.shape != other.mean.shape:
            raise InputError(
                f"moments of shapes {tuple(self.mean.shape)} and {tuple(other.mean.shape)} (classes, features) cannot be merged"
            )
        merged = ClassMoments(self.count.clone(), self.mean.clone(), self.scatter.clone())
        merged._merge_rows(torch.arange(self.count.numel(), device=self.count.device), other.count, other.mean, other.scatter)
        return merged

    def _merge_rows(self, classes: Tensor, count: Tensor, mean: Tensor, scatter: Tensor) -> None:
        """Merge in place the moments of distinct ``classes`` (g,): Chan et al.'s update, without a difference of squares."""
        before = self.count[classes]  # (g,)
        total = (before + count).clamp_min(1).double()
        step = mean - self.mean[classes]  # (g, d)
        self.scatter[classes] += scatter + step.square().sum(1) * (before * (count / total))
        self.mean[classes] += step * (count / total)[:, None]
        self.count[classes] += count

    def present(self) -> "ClassMoments":
        """The classes that have samples, renumbered 0, 1, ... in order."""
        keep = self.count > 0
        return ClassMoments(self.count[keep], self.mean[keep], self.scatter[keep])

    def weights(self, weighting: str = "class") -> Tensor:
        """Weight of each class (C,), summing to 1: equal for "class" (the default everywhere), n_c / N for "sample"."""
        if weighting not in WEIGHTINGS:
            raise unknown("weighting", weighting, WEIGHTINGS)
        share = torch.ones_like(self.scatter) if weighting == "class" else self.count.double()
        return share / share.sum()

    def centred(self, weighting: str = "class") -> Tensor:
        """Class means minus the global mean mu_G, (C, d); mu_G is the weighted mean of the class means."""
        return self.mean - self.weights(weighting) @ self.mean

    def within(self, weighting: str = "class") -> Tensor:
        """Tr Sigma_W, the weighted mean over classes of the mean squared distance to the class mean; a 0-d tensor.

        Raises `InputError` if a class has fewer than two samples: its distance to its own mean is 0 by construction, which is not collapse.
        """
        if bool((self.count < 2).any()):
            few = (self.count < 2).nonzero().flatten().tolist()
            raise InputError(f"within-class variance needs at least 2 samples a class; too few in class {_list(few)}")
        return self.weights(weighting) @ (self.scatter / self.count)

    def between(self, weighting: str = "class") -> Tensor:
        """Tr Sigma_B, the weighted mean over classes of ``|mean[c] - mu_G|^2``; a 0-d tensor.

        Raises `InputError` for fewer than two classes and where all class means coincide: 0/0 is not collapse.
        """
        if self.count.numel() < 2:
            raise InputError("between-class variance needs at least 2 classes")
        between = self.weights(weighting) @ self.centred(weighting).square().sum(1)
        if bool(between <= self.noise(weighting) ** 2):
            raise InputError("all class means coincide, so that collapse (within-class over between-class variance) is undefined")
        return between

    def noise(self, weighting: str = "class") -> Tensor:
        """Spread of the class means that rounding alone can make: below it they count as equal (0-d tensor, in units of the features)."""
        spread = self.weights(weighting) @ (self.scatter / self.count.clamp_min(1))
        return 8 * EPS32 * spread.sqrt() + 8 * EPS64 * self.mean.norm(dim=1).max()

    def check_finite(self) -> None:
        """Raise `InputError` if a NaN, an infinity or an overflow went into the sums."""
        # Both are checked: an infinite feature gives an infinite or NaN scatter, and so does a square that overflows.
        if not bool(torch.isfinite(self.mean).all() & torch.isfinite(self.scatter).all()):
            raise InputError("the features contain NaN, infinite or overflowing values; look at the network's activations")

    def check_present(self) -> None:
        """Raise `InputError` naming the classes without samples."""
        if bool((self.count == 0).any()):
            missing = (self.count == 0).nonzero().flatten().tolist()
            raise InputError(f"no samples of class {_list(missing)}; give every class samples, or renumber the labels 0..C-1")


class Block(NamedTuple):
    """Some rows of the features, sorted by class and in the precision of the sums."""

    rows: Tensor  # (n,) where they stand in the features
    classes: Tensor  # (g,) the classes that occur, ascending
    index: Tensor  # (n,) position of each row's class in `classes`
    starts: list[int]  # (g + 1,) where each class begins, and the end
    count: Tensor  # (g,)
    values: Tensor  # (n, d) float32 or float64, a copy that may be changed


def sorted_blocks(features: Tensor, labels: Tensor) -> Iterator[Block]:
    """The features in class order, a cache-sized block at a time: few classes in a block, whatever C is.

    The bookkeeping runs on the CPU copy of the labels, so that a GPU is never waited for inside the loop.
    """
    labels = labels.cpu()
    dtype = compute_dtype(features)
    # Blocks of about 1 MB at d = 512 stay in the processor's cache; a GPU wants fewer and larger launches.
    size = (
        max(1, min(512, 2**22 // max(1, features.shape[1])))
        if features.device.type == "cpu"
        else max(1, 2**25 // max(1, features.shape[1]))
    )
    order = torch.from_numpy(np.argsort(_small(labels), kind="stable"))
    ordered = labels[order]
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        classes, index, count = torch.unique_consecutive(ordered[start : start + size], return_inverse=True, return_counts=True)
        starts = [0, *count.cumsum(0).tolist()]
        rows, classes, index, count = (t.to(features.device, non_blocking=True) for t in (rows, classes, index, count))
        yield Block(rows, classes, index, starts, count, features.index_select(0, rows).to(dtype))


def subtract(block: Block, shift: Tensor) -> None:
    """Subtract ``shift`` (g, d), one row a class, from the block's values in place."""
    if 8 * len(shift) > len(block.values):
        block.values.sub_(shift.index_select(0, block.index))
    else:  # a class is a slice, and a row is broadcast over it without being copied
        for row, start, end in zip(shift, block.starts, block.starts[1:], strict=False):
            block.values[start:end].sub_(row)


def _block_moments(block: Block) -> tuple[Tensor, Tensor, Tensor]:
    # First a sample of each class is subtracted, which is exact for a class that has collapsed (Sterbenz) and leaves 0 for one that is
    # constant; then the mean of the differences, so that an odd first sample costs no digits. Nothing large is taken from something large.
    member = torch.arange(len(block.classes), device=block.index.device)[:, None] == block.index  # (g, n)
    sample = block.values[block.starts[:-1]]  # (g, d)
    subtract(block, sample)
    offset = member.to(block.values.dtype) @ block.values / block.count[:, None]  # (g, d)
    subtract(block, offset)
    scatter = torch.zeros_like(block.count, dtype=torch.float64).index_add_(0, block.index, squared_norm(block.values))
    return block.count, sample.double() + offset.double(), scatter


def squared_norm(values: Tensor) -> Tensor:
    """Squared length of each row (n,) as float64."""
    return torch.linalg.vector_norm(values, dim=1).double().square()


def compute_dtype(features: Tensor) -> torch.dtype:
    """Precision of the heavy sums: float64 for float64 features, float32 for all others."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32


@contextmanager
def exact_matmul(device: torch.device):
    """Full float32 products: statistics are never TF32 or bfloat16, whatever the training loop has chosen."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def check_features(features, labels, *, num_classes: int | None = None) -> tuple[Tensor, Tensor, int]:
    """Features (N, d), labels as int64 on the CPU (N,) and the number of classes; `InputError` says what is wrong with them."""
    features, labels = torch.as_tensor(features), torch.as_tensor(labels)
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError(f"features must have the shape (samples, dimensions), not {tuple(features.shape)}; flatten them first")
    if features.dtype == torch.bool or features.is_complex():
        raise InputError(f"features must be real numbers, not {features.dtype}")
    labels, num_classes = check_labels(labels, samples=len(features), num_classes=num_classes)
    features = features.detach()
    # Squares of numbers below 1e-19 vanish in float32, and zero variance would look like collapse. A few rows answer nearly always.
    if features.dtype in (torch.float32, torch.bfloat16) and all(bool((part.abs() < 1e-12).all()) for part in (features[:64], features)):
        features = features.double()
    return features, labels, num_classes


def check_labels(labels: Tensor, *, samples: int, num_classes: int | None = None, what: str = "labels") -> tuple[Tensor, int]:
    """Labels as int64 on the CPU and the number of classes, or `InputError`."""
    if labels.ndim != 1:
        raise InputError(f"{what} must have the shape (samples,), not {tuple(labels.shape)}; for one-hot rows use argmax(1)")
    if labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        raise InputError(f"{what} must be integers 0..C-1, not {labels.dtype}")
    if len(labels) != samples:
        raise InputError(f"{samples} samples but {len(labels)} {what}")
    labels = labels.detach().cpu().long()
    if num_classes is None:
        if samples == 0:
            raise InputError("no samples")
        num_classes = int(labels.max()) + 1
    if samples and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(f"{what} must be in 0..{num_classes - 1}; found {int(labels.min())}..{int(labels.max())}")
    return labels, num_classes


def _small(labels: Tensor) -> np.ndarray:
    # NumPy sorts 16-bit integers by radix, several times faster than 64-bit ones.
    return labels.numpy().astype(np.int16) if len(labels) and int(labels.max()) < 2**15 else labels.numpy()


def _list(classes: list[int]) -> str:
    return ", ".join(map(str, classes[:5])) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
