"""The (C-1)-dimensional span of the class means, and the second pass over the features that is made in it.

NC1 and the nearest-mean rule only see the part of a feature that lies in this span, so nothing of size d x d is ever formed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.devices import decompose
from ncbook.metrics.inputs import as_tensor, check_features, compute_dtype
from ncbook.metrics.moments import EPS64, ClassMoments, add_rows, blocks, differences, exact_matmul, squared_distances, squared_norm


@dataclass(frozen=True)
class MeanSpan:
    """Eigenvectors and eigenvalues of Sigma_B that are not zero, from a thin SVD of the (C, d) centred class means.

    ``rank`` is the number kept: at most min(C - 1, d), without those whose singular value is below max(C, d) * eps64 * the largest, or
    below what rounding of the means can make. Raises `InputError` when the means coincide.

    >>> moments = ClassMoments.from_features(torch.tensor([[0.0, 5.0], [0.0, 5.0], [2.0, 5.0]]), torch.tensor([0, 0, 1]))
    >>> span = MeanSpan.from_moments(moments)
    >>> span.rank, round(span.variance.item(), 12)
    (1, 1.0)
    """

    centre: Tensor  # (d,) the global mean mu_G
    basis: Tensor  # (d, r) orthonormal, the leading eigenvectors of Sigma_B
    variance: Tensor  # (r,) their eigenvalues, positive and descending
    coordinates: Tensor  # (C, r) the centred class means in this basis

    @property
    def rank(self) -> int:
        return self.variance.numel()

    def to(self, device) -> "MeanSpan":
        """This span on another device."""
        return MeanSpan(*(part.to(device) for part in vars(self).values()))

    @classmethod
    def from_moments(cls, moments: ClassMoments, *, weighting: str = "class") -> "MeanSpan":
        """The span of the class means of ``moments``, every class of which has samples."""
        moments.between(weighting)  # refuses means that coincide
        centred = moments.centred(weighting)
        root = moments.weights(weighting).sqrt()[:, None]  # (C, 1)
        left, singular, right = decompose(torch.linalg.svd, root * centred, full_matrices=False)  # (C, m), (m,), (m, d)
        # Centring leaves at most C - 1 directions: the C-th value is rounding and is dropped always, whatever its size.
        singular = singular[: len(centred) - 1]
        cutoff = max(centred.shape) * EPS64 * singular[0]
        rank = int((singular > torch.maximum(cutoff, moments.noise(weighting))).sum())
        left, singular, right = left[:, :rank], singular[:rank], right[:rank]
        return cls(moments.mean[0] - centred[0], right.T.contiguous(), singular.square(), left * singular / root)


class Projected(NamedTuple):
    """What the second pass finds."""

    whitened: Tensor  # (C,) float64, sum over each class of (h - mu_c)^T Sigma_B^+ (h - mu_c)
    nearest: Tensor  # (N,) int64 on the CPU, the class whose mean (of `centres`) is nearest
    predicted: Tensor | None  # (N,) int64 on the CPU, the class that the head chooses
    residual: Tensor | None  # (C, r) float64, sum over each class of the whitened differences: 0 where the means are those of the features


def project(features: Tensor, labels: Tensor, moments: ClassMoments, span: MeanSpan | None, centres: MeanSpan, **head) -> Projected:
    """One pass over checked features, by a `Projector` made for it."""
    return Projector(moments, span, centres, compute_dtype(features), **head)(features, labels)


class Projector:
    """The second pass: each sample seen from the mean of its class, in the span of the means and by the head.

    ``moments`` are of the samples' own data, ``span`` is theirs (None: nothing is whitened), ``centres`` is that of the means which decide
    (the training set's), ``weight`` (C, d) and ``bias`` (C,) are the head. ``residuals`` are asked for where the moments may be of other
    data. Means and scores are compared as *differences* from those at the sample's own class mean, so they stay right when the spread is
    1e-5 of the distances. What it is made of is worked out once, for all batches.
    """

    def __init__(
        self,
        moments: ClassMoments,
        span: MeanSpan | None,
        centres: MeanSpan,
        dtype: torch.dtype,
        *,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        residuals: bool = False,
    ) -> None:
        device, self.dtype, self.classes = moments.device, dtype, moments.count.numel()
        self.whitens, self.has_head, self.residuals = span is not None, weight is not None, residuals
        self.shift = moments.mean.to(dtype)  # (C, d), rounded ...
        rounding = self.shift.double() - moments.mean  # ... and by how much, to be put back after the projection
        unit = centres.variance.sum().sqrt()  # distances in units of the means' spread, far from underflow
        maps = [] if span is None else [span.basis / span.variance.sqrt()]  # (d, r)
        self.shared = span is centres
        maps += [] if self.shared else [centres.basis / unit]
        if weight is not None:
            _check_width(weight, self.shift.shape[1])
            weight = weight.to(device, torch.float64)
            maps.append(weight.T)
        maps = torch.cat(maps, dim=1)  # (d, m)
        self.back = (rounding @ maps).to(dtype)  # (C, m)
        self.maps = maps.T.to(dtype).contiguous()  # (m, d): products with few columns run fastest with the short side first
        points = centres.coordinates / unit  # (C, r')
        own = (moments.mean - centres.centre) @ centres.basis / unit  # (C, r')
        # |m_y - mu_k|^2 in the span; what lies outside is the same for all k.
        gap = squared_distances(own, points)  # (C, C)
        self.gap = gap.to(dtype)
        self.towards = 2 * (points * span.variance.sqrt() / unit if self.shared else points).T.to(dtype)  # (r', C)
        self.rank = 0 if span is None else span.rank
        self.first = 0 if self.shared else self.rank
        self.last = len(self.maps) - (0 if weight is None else self.classes)  # where the head's rows begin
        self.at_mean = [gap.argmin(1), None]  # (C,) what is decided at the class mean, and around it
        self.wide = len(self.maps) > 64
        if self.wide:  # most samples lie so near to their mean that nothing can be decided otherwise: they need no product with all classes
            self.sure = [_radius(gap) * unit - rounding.norm(dim=1), None]
        if weight is not None:
            scores = self.shift.double() @ weight.T + (0 if bias is None else bias.to(device, torch.float64))  # (C, C), at the means
            self.scores = (scores - scores.amax(1, keepdim=True)).to(dtype)
            self.at_mean[1] = scores.argmax(1)
            if self.wide:
                self.sure[1] = _margin(scores, weight)

    def __call__(self, features: Tensor, labels: Tensor) -> Projected:
        """One pass over checked features (N, d) with their labels (N,)."""
        device = features.device
        labels = labels.to(device)
        whitened = torch.zeros(self.classes, dtype=torch.float64, device=device)
        residual = torch.zeros(self.classes, self.rank, dtype=torch.float64, device=device) if self.residuals else None
        nearest, predicted = (None if place is None else place[labels] for place in self.at_mean)
        with torch.no_grad(), exact_matmul(device):
            decide = self._decide_open if self.wide else self._decide_all
            for rows in blocks(features, beside=len(self.maps)):
                at = labels[rows]
                seen = decide(features[rows], at, nearest[rows], None if predicted is None else predicted[rows])
                if self.rank:
                    add_rows(whitened, at, squared_norm(seen))
                    if residual is not None:
                        add_rows(residual, at, seen.double())
        if not self.whitens:
            whitened.fill_(torch.nan)
        return Projected(whitened, nearest.cpu(), None if predicted is None else predicted.cpu(), residual)

    def _decide_all(self, features: Tensor, at: Tensor, nearest: Tensor, predicted: Tensor | None) -> Tensor:
        """Decide a block's samples in place; their whitened coordinates (n, r)."""
        seen = torch.empty(len(self.maps), len(features), dtype=self.dtype, device=features.device)  # (m, n): the short side first
        for rows, values in differences(features, at, self.shift):
            seen[:, rows] = self.maps @ values.T
        seen += self.back.T.index_select(1, at)
        inside = seen[self.first : self.last]
        _decide(torch.addmm(self.gap.T.index_select(1, at), self.towards.T, inside, alpha=-1), nearest)
        if predicted is not None:
            _decide((seen[self.last :] + self.scores.T.index_select(1, at)).neg_(), predicted)
        return seen[: self.rank].T.contiguous()  # rows in one piece, for what sums over them

    def _decide_open(self, features: Tensor, at: Tensor, nearest: Tensor, predicted: Tensor | None) -> Tensor | None:
        """Decide in place the samples of a block that some boundary is near; the whitened coordinates (n, r) of all of them."""
        rank, first, last = self.rank, self.first, self.last
        values = features.to(self.dtype) - self.shift.index_select(0, at)
        seen = (values @ self.maps[:rank].T).add_(self.back[:, :rank].index_select(0, at)) if rank else None
        norm = torch.linalg.vector_norm(values, dim=1).double() * 1.001  # over what rounding can do
        rows = (norm >= self.sure[0][at]).nonzero().flatten()
        if len(rows):
            of = at[rows]
            inside = seen[rows] if self.shared else (values[rows] @ self.maps[first:last].T).add_(self.back[of, first:last])
            nearest[rows] = torch.addmm(self.gap.index_select(0, of), inside, self.towards, alpha=-1).argmin(1)
        if predicted is not None:
            rows = (norm >= self.sure[1][at]).nonzero().flatten()
            if len(rows):
                of = at[rows]
                by_head = (values[rows] @ self.maps[last:].T).add_(self.back[of, last:])
                predicted[rows] = by_head.add_(self.scores.index_select(0, of)).argmax(1)
        return seen


def _decide(costs: Tensor, found: Tensor) -> None:
    """Put the row of the least of the ``costs`` (C, n) into ``found`` (n,), which holds a good guess: the first of equals."""
    own = found[None]
    guessed = costs.gather(0, own)
    costs.scatter_(0, own, torch.inf)
    rows = (costs.amin(0) <= guessed[0]).nonzero().flatten()  # few, and a least entry costs far more to place than to find
    if len(rows):
        left = costs[:, rows].scatter_(0, own[:, rows], guessed[:, rows])
        found[rows] = left.T.contiguous().argmin(1)


def _radius(gap: Tensor) -> Tensor:
    """How far (C,) a sample may be from each class mean while its nearest centre is the mean's: half of what the second lies farther."""
    nearest = gap.clamp_min(0).sqrt().topk(2, dim=1, largest=False).values  # (C, 2)
    return (nearest[:, 1] - nearest[:, 0]) / 2


def _margin(scores: Tensor, weight: Tensor) -> Tensor:
    """How far (C,) a sample may be from each class mean while the head decides as at the mean: its distance to the next boundary."""
    best = scores.argmax(1)
    apart = squared_distances(weight, weight).clamp_min(0).sqrt()[best]  # (C, C)
    margin = (scores.gather(1, best[:, None]) - scores) / apart
    margin[torch.arange(len(best), device=best.device), best] = torch.inf
    return margin.nan_to_num(nan=0, posinf=torch.inf).amin(1)


def _check_width(weight: Tensor, width: int) -> None:
    if weight.shape[1] != width:
        raise InputError(f"the classifier weight has {weight.shape[1]} columns but the features {width} dimensions")


def nearest_centre(features: Tensor, near: Tensor, centres: Tensor) -> Tensor:
    """The nearest of ``centres`` (C, d) to each sample of ``features`` (N, d), as (N,) int64.

    ``near`` (N,) names a centre close to each sample, from which differences are taken: it changes the rounding, not the answer. Raises
    `InputError` for shapes that do not fit, and values that are not finite.

    >>> nearest_centre(torch.tensor([[0.0], [9.0]]), torch.tensor([0, 0]), torch.tensor([[1.0], [8.0]], dtype=torch.float64)).tolist()
    [0, 1]
    """
    centres = as_tensor(centres, "centres").double()
    if centres.ndim != 2 or len(centres) == 0:
        raise InputError(f"the centres must have the shape (C, d), not {tuple(centres.shape)}")
    features, near, _ = check_features(features, near, num_classes=len(centres))
    if features.shape[1] != centres.shape[1]:
        raise InputError(f"the centres have {centres.shape[1]} columns but the features {features.shape[1]} dimensions")
    if not all(bool(torch.isfinite(part).all()) for part in (features, centres)):
        raise InputError("the features or the centres contain NaN or infinite values")
    return nearest_checked(features, near, centres.to(features.device))


def nearest_checked(features: Tensor, near: Tensor, centres: Tensor) -> Tensor:
    """`nearest_centre` of what has been checked, again and again."""
    dtype = compute_dtype(features)
    shift = centres.to(dtype)  # (C, d)
    centred = centres - centres.mean(0)
    unit = centred.norm(dim=1).max().clamp_min(torch.finfo(torch.float64).tiny)  # as in `project`
    gap = squared_distances(shift.double() / unit, centres / unit).to(dtype)  # (C, C)
    towards = (2 * centred / unit).to(dtype)  # (C, d)
    nearest = torch.empty(len(features), dtype=torch.int64, device=features.device)
    at = near.to(features.device)
    with torch.no_grad(), exact_matmul(features.device):
        for rows, values in differences(features, at, shift, beside=len(centres)):
            nearest[rows] = (gap.index_select(0, at[rows]) - (towards @ values.T).T / unit.to(dtype)).argmin(1)
    return nearest.to(near.device)


def predictions(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The class that a linear head chooses, argmax_c <w_c, h> + b_c, (N,); the bias belongs to it (Papyan, Han & Donoho 2020, NC4).

    >>> predictions(torch.eye(2), torch.zeros(2, 2), torch.tensor([1.0, 0.0])).tolist()
    [0, 0]
    """
    features, weight = as_tensor(features, "features"), as_tensor(weight, "weight")
    if features.ndim != 2 or weight.ndim != 2:
        raise InputError(f"features (N, d) and weight (C, d) must be tables, not {tuple(features.shape)} and {tuple(weight.shape)}")
    bias = None if bias is None else as_tensor(bias, "bias")
    _check_width(weight, features.shape[1])
    dtype = compute_dtype(features)
    weight = weight.detach().to(features.device, dtype)
    bias = torch.zeros_like(weight[:, 0]) if bias is None else bias.detach().to(features.device, dtype)
    with torch.no_grad(), exact_matmul(features.device):
        best = [torch.addmm(bias, part.to(dtype), weight.T).max(1) for part in features.split(2**14)]
    if not all(bool((part.values < torch.inf).all()) for part in best):
        raise InputError("the scores of the classifier are NaN or infinite: its weight, its bias or the features are")
    return torch.cat([part.indices for part in best])
