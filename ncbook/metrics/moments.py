"""Count, mean and scatter of each class: what V, CDNV, NC2 and NC3 are made of, exact and mergeable.

Why not sums and sums of squares: at a collapse of 1e-10 on features with mean 10 the two large squares agree to twelve digits and their
difference is rounding. Here a value close to the class mean is subtracted first (exact in floating point for close numbers), the heavy sums
run on the small remainders in the features' own precision, and chunks are merged in float64 by the update of Chan, Golub & LeVeque (1979).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.errors import InputError, unknown
from ncbook.metrics.devices import no_tf32
from ncbook.metrics.inputs import check_features, check_labels, compute_dtype, listed

__all__ = ["ClassMoments", "blocks", "check_features", "check_labels", "check_weighting", "exact_matmul", "squared_norm"]

WEIGHTINGS = ("class", "sample")
EPS32 = torch.finfo(torch.float32).eps
EPS64 = torch.finfo(torch.float64).eps
CHUNK = 4096  # rows whose remainders are summed in float32 before they are merged in float64


@dataclass(frozen=True)
class ClassMoments:
    """Counts, means and scatters of C groups of d-dimensional features.

    ``scatter[c]`` is the *sum* over class c of ``|h - mean[c]|^2``, that is n_c times the trace of its covariance (division by n_c, ddof
    0).

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
        labels, dtype = labels.cpu(), compute_dtype(features)
        present = (self.count > 0).cpu()
        # Small chunks first: remainders from a good mean sum with less rounding than those from a class's first sample.
        size, start = CHUNK if bool(present.all()) else 64, 0
        with torch.no_grad(), exact_matmul(features.device):
            while start < len(labels):
                part = features[start : start + size]
                classes, index, count = _groups(labels[start : start + size], len(present))
                new = (~present[classes]).nonzero().flatten()
                first = torch.full_like(classes, len(index)).scatter_reduce_(0, index, torch.arange(len(index)), "amin")[new]
                present[classes] = True
                classes, index, count, new, first = (t.to(part.device, non_blocking=True) for t in (classes, index, count, new, first))
                shift = self.mean[classes].to(dtype)  # (g, d)
                shift[new] = part[first].to(dtype)  # exact for a class that has collapsed (Sterbenz)
                self._merge_rows(classes, count, *_chunk_moments(part, index, count, shift))
                start, size = start + size, min(2 * size, CHUNK)

    def without(self, other: "ClassMoments") -> "ClassMoments":
        """Moments of what is left when some of these samples are taken out: `merge` backwards.

        The scatter that is left is as exact as it is a part of the whole: where little is left, it is rounding.

        >>> all = ClassMoments.from_features(torch.tensor([[0.0], [2.0], [7.0]]), torch.tensor([0, 0, 0]), allow_missing=True)
        >>> last = ClassMoments.from_features(torch.tensor([[7.0]]), torch.tensor([0]), allow_missing=True)
        >>> all.without(last).mean.item(), all.without(last).scatter.item()
        (1.0, 2.0)
        """
        left = self.count - other.count
        share = other.count / left.clamp_min(1).double()
        step = other.mean - self.mean
        mean = self.mean - step * share[:, None]
        scatter = self.scatter - other.scatter - step.square().sum(1) * (self.count * share)
        empty = left == 0
        return ClassMoments(left, mean.masked_fill(empty[:, None], 0), scatter.masked_fill(empty, 0).clamp_min(0))

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

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def to(self, device) -> "ClassMoments":
        """These moments on another device."""
        return ClassMoments(self.count.to(device), self.mean.to(device), self.scatter.to(device))

    def present(self) -> "ClassMoments":
        """The classes that have samples, renumbered 0, 1, ... in order."""
        keep = self.count > 0
        return ClassMoments(self.count[keep], self.mean[keep], self.scatter[keep])

    def weights(self, weighting: str = "class") -> Tensor:
        """Weight of each class (C,), summing to 1: equal for "class" (the default everywhere), n_c / N for "sample"."""
        check_weighting(weighting)
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
            raise InputError(f"within-class variance needs at least 2 samples a class; too few in class {listed(few)}")
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

    def gaps(self) -> str:
        """The classes without samples, and those with one, as half a sentence; empty where there is none.

        >>> ClassMoments(torch.tensor([3, 0, 1]), torch.zeros(3, 1), torch.zeros(3)).gaps()
        'no samples of class 1, only one of class 2'
        """
        none, one = ((self.count == n).nonzero().flatten().tolist() for n in (0, 1))
        parts = [f"no samples of class {listed(none)}"] * bool(none) + [f"only one of class {listed(one)}"] * bool(one)
        return ", ".join(parts)

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
            raise InputError(f"no samples of class {listed(missing)}; give every class samples, or renumber the labels 0..C-1")


def _groups(labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """The classes that occur (g,), for each sample the place of its class among them (n,), and how many there are of each (g,)."""
    count = labels.bincount(minlength=num_classes)
    classes = count.nonzero().flatten()
    place = torch.empty_like(count)
    place[classes] = torch.arange(len(classes))
    return classes, place[labels], count[classes]


def _chunk_moments(part: Tensor, index: Tensor, count: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (g, d) and scatter (g,) of the groups ``index`` (n,) of a few thousand rows, from their distances to ``shift`` (g, d)."""
    # The second time is for a shift far from its group, such as a first sample that is an outlier: what is left of the squares would be
    # rounding. The mean that the first time found is near enough for anything.
    for last in (False, True):
        total = torch.zeros_like(shift)
        squares = torch.zeros_like(count, dtype=torch.float64)
        for rows, values in differences(part, index, shift):
            at = index[rows]
            add_rows(total, at, values)
            add_rows(squares, at, squared_norm(values))
        offset = total.double() / count[:, None]
        scatter = squares - count * offset.square().sum(1)
        if last or not bool(((scatter < 0.1 * squares) & (count > 1)).any()):
            break
        shift = (shift.double() + offset).to(shift.dtype)
    return shift.double() + offset, torch.where(count > 1, scatter.clamp_min(0), 0)


def blocks(features: Tensor, *, beside: int = 0, size: int = 2**20) -> Iterator[slice]:
    """Slices of rows of ``size`` numbers together: a few MB of them stay in a processor's cache; a GPU wants fewer and larger launches.

    ``beside`` is how many more numbers a row's results have, where these are many.
    """
    size = size if features.device.type == "cpu" else 2**25
    rows = max(8, size // max(features.shape[1], beside))
    return (slice(start, start + rows) for start in range(0, len(features), rows))


def differences(features: Tensor, index: Tensor, shift: Tensor, *, beside: int = 0) -> Iterator[tuple[slice, Tensor]]:
    """The `blocks` of rows with each row's ``shift`` (g, d), the one that ``index`` (n,) names, subtracted; valid until the next.

    They are read again at once, so without many results ``beside`` them a block is about as small as a core's own cache.
    """
    scratch = None  # one for all blocks: fresh memory costs more than the subtraction
    for rows in blocks(features, beside=beside, size=2**20 if beside else min(2**20, max(2**18, 256 * features.shape[1]))):
        part = features[rows]
        if scratch is None:
            scratch = torch.empty(part.shape, dtype=shift.dtype, device=part.device)
        values = scratch[: len(part)]
        torch.index_select(shift, 0, index[rows], out=values)
        yield rows, torch.sub(part.to(shift.dtype), values, out=values)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_k|^2 (n, m) of float64 points (n, r) and (m, r): by one product, and over again where points lie close together."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    i, k = (squares < 1e-4 * squares.amax()).nonzero(as_tuple=True)
    squares[i, k] = (a[i] - b[k]).square().sum(1)
    return squares


def add_rows(total: Tensor, index: Tensor, values: Tensor) -> None:
    """Add each row of ``values`` (n, ...) to the row of ``total`` (g, ...) that ``index`` (n,) names, in place."""
    if total.device.type == "cpu":
        total.index_add_(0, index, values)
    else:  # there an order that changes from run to run would change the last digits
        member = (torch.arange(len(total), device=index.device)[:, None] == index).to(values.dtype)  # (g, n)
        total.add_(member @ values)


def squared_norm(values: Tensor) -> Tensor:
    """Squared length of each row (n,) as float64."""
    return torch.linalg.vector_norm(values, dim=1).double().square()


def check_weighting(weighting: str) -> None:
    """Raise `InputError` for a weighting that does not exist."""
    if weighting not in WEIGHTINGS:
        raise unknown("weighting", weighting, WEIGHTINGS)


@contextmanager
def exact_matmul(device: torch.device):
    """Full float32 products: statistics are never TF32 or bfloat16, whatever the training loop has chosen."""
    with no_tf32(), torch.autocast(device.type, enabled=False):
        yield
