"""The (C-1)-dimensional span of the class means, and the second pass over the features that is made in it.

NC1 and the nearest-mean rule only see the part of a feature that lies in this span, so nothing of size d x d is ever formed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.moments import EPS64, ClassMoments, compute_dtype, exact_matmul, sorted_blocks, squared_norm, subtract


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

    @classmethod
    def from_moments(cls, moments: ClassMoments, *, weighting: str = "class") -> "MeanSpan":
        """The span of the class means of ``moments``, every class of which has samples."""
        moments.between(weighting)  # refuses means that coincide
        centred = moments.centred(weighting)
        root = moments.weights(weighting).sqrt()[:, None]  # (C, 1)
        left, singular, right = torch.linalg.svd(root * centred, full_matrices=False)  # (C, m), (m,), (m, d)
        # Centring leaves at most C - 1 directions: the C-th value is rounding and is dropped always, whatever its size.
        singular = singular[: len(centred) - 1]
        cutoff = max(centred.shape) * EPS64 * singular[0]
        rank = int((singular > torch.maximum(cutoff, moments.noise(weighting))).sum())
        left, singular, right = left[:, :rank], singular[:rank], right[:rank]
        return cls(moments.mean[0] - centred[0], right.T.contiguous(), singular.square(), left * singular / root)


class Projected(NamedTuple):
    """What the second pass finds."""

    whitened: Tensor  # (C,) float64, sum over each class of (h - mu_c)^T Sigma_B^+ (h - mu_c)
    nearest: Tensor  # (N,) int64, the class whose mean (of `centres`) is nearest


def project(features: Tensor, labels: Tensor, moments: ClassMoments, span: MeanSpan, centres: MeanSpan) -> Projected:
    """One pass over checked features: each seen from the mean of its class, in the span of the means.

    ``moments`` are of these features and labels, ``span`` is theirs, ``centres`` is that of the means which decide (the training set's).
    Nearest means are compared as *differences* from the sample's own class mean, so they stay right when the spread is 1e-5 of the distances.
    """
    dtype = compute_dtype(features)
    shift = moments.mean.to(dtype)  # (C, d), rounded ...
    rounding = shift.double() - moments.mean  # ... and by how much, to be put back after the projection
    whiten = span.basis / span.variance.sqrt()  # (d, r)
    unit = centres.variance.sum().sqrt()  # distances in units of the means' spread, far from underflow
    basis = whiten if centres is span else torch.cat([whiten, centres.basis / unit], dim=1)  # (d, r) or (d, r + r')
    back = (rounding @ basis).to(dtype)  # (C, r + r')
    basis = basis.T.to(dtype).contiguous()  # (r + r', d): products with few columns run fastest with the short side first
    points = centres.coordinates / unit  # (C, r')
    own = (moments.mean - centres.centre) @ centres.basis / unit  # (C, r')
    # |m_y - mu_k|^2 in the span; what lies outside is the same for all k.
    gap = torch.cdist(own, points, compute_mode="donot_use_mm_for_euclid_dist").square().to(dtype)  # (C, C)
    towards = 2 * (points * span.variance.sqrt() / unit if centres is span else points).T.to(dtype)  # (r', C)

    whitened = torch.zeros_like(moments.scatter)
    nearest = torch.empty(len(features), dtype=torch.int64, device=features.device)
    with torch.no_grad(), exact_matmul(features.device):
        for block in sorted_blocks(features, labels):
            subtract(block, shift[block.classes])
            seen = (basis @ block.values.T).T + back[block.classes][block.index]  # (n, r + r')
            whitened.index_add_(0, block.classes[block.index], squared_norm(seen[:, : span.rank]))
            distance = gap[block.classes][block.index] - seen[:, -len(towards) :] @ towards  # (n, C)
            nearest[block.rows] = distance.argmin(1)
    return Projected(whitened, nearest)


def nearest_centre(features: Tensor, near: Tensor, centres: Tensor) -> Tensor:
    """The nearest of ``centres`` (C, d) to each sample of checked ``features`` (N, d), as (N,) int64.

    ``near`` (N,) names a centre close to each sample, from which differences are taken: it changes the rounding, not the answer.

    >>> nearest_centre(torch.tensor([[0.0], [9.0]]), torch.tensor([0, 0]), torch.tensor([[1.0], [8.0]], dtype=torch.float64)).tolist()
    [0, 1]
    """
    dtype = compute_dtype(features)
    shift = centres.to(dtype)  # (C, d)
    centred = centres - centres.mean(0)
    unit = centred.norm(dim=1).max().clamp_min(torch.finfo(torch.float64).tiny)  # as in `project`
    gap = (torch.cdist(shift.double(), centres, compute_mode="donot_use_mm_for_euclid_dist") / unit).square().to(dtype)  # (C, C)
    towards = (2 * centred / unit).to(dtype)  # (C, d)
    nearest = torch.empty(len(features), dtype=torch.int64, device=features.device)
    with torch.no_grad(), exact_matmul(features.device):
        for block in sorted_blocks(features, near):
            subtract(block, shift[block.classes])
            nearest[block.rows] = (gap[block.classes][block.index] - (towards @ block.values.T).T / unit.to(dtype)).argmin(1)
    return nearest.to(near.device)


def predictions(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The class that a linear head chooses, argmax_c <w_c, h> + b_c, (N,); the bias belongs to it (Papyan, Han & Donoho 2020, NC4).

    >>> predictions(torch.eye(2), torch.zeros(2, 2), torch.tensor([1.0, 0.0])).tolist()
    [0, 0]
    """
    if weight.shape[1] != features.shape[1]:
        raise InputError(f"the classifier weight has {weight.shape[1]} columns but the features {features.shape[1]} dimensions")
    dtype = compute_dtype(features)
    weight = weight.detach().to(features.device, dtype)
    bias = torch.zeros_like(weight[:, 0]) if bias is None else bias.detach().to(features.device, dtype)
    with torch.no_grad(), exact_matmul(features.device):
        return torch.cat([torch.addmm(bias, part.to(dtype), weight.T).argmax(1) for part in features.split(2**14)])
