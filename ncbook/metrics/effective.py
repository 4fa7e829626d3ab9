"""The effective rank of features: how many directions they use."""

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.collapse import as_moments
from ncbook.metrics.devices import decompose
from ncbook.metrics.inputs import as_tensor, compute_dtype
from ncbook.metrics.moments import ClassMoments, blocks, exact_matmul


def effective_rank(features, *, centre: bool = True) -> Tensor:
    """exp of the entropy of p_i = s_i / sum s of the singular values s of features (N, d) (Roy & Vetterli 2007), from 1 to min(N, d).

    Of the features minus their mean, or with ``centre=False`` as they are, which is also known as RankMe (Garrido et al. 2023) but for the
    small number that is added to p there. C - 1 for features that have collapsed to a simplex. From the d x d Gram matrix in float64, so
    singular values below 1e-8 of the largest count as 0. Raises `InputError` for features that are not finite or all the same.

    >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])).item(), 12)
    2.0
    """
    features = as_tensor(features, "features")
    moments: ClassMoments = as_moments(features, torch.zeros(len(features), dtype=torch.int64))
    shift = moments.mean if centre else torch.zeros_like(moments.mean)  # (1, d)
    gram = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    with torch.no_grad(), exact_matmul(features.device):
        for rows in blocks(features, beside=features.shape[1]):
            values = features[rows].to(compute_dtype(features)).double() - shift
            gram.addmm_(values.T, values)
    energies = decompose(torch.linalg.eigvalsh, gram)
    singular = torch.where(energies > 1e-16 * energies[-1], energies, 0).sqrt()
    if not bool(singular[-1] > 0):
        raise InputError("the features are all the same, so that they have no effective rank")
    return torch.special.entr(singular / singular.sum()).sum().exp()
