"""How many dimensions a cloud of points has near each of its points, whatever space it lies in."""

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.inputs import as_tensor


def two_nearest(points: Tensor) -> float:
    """Intrinsic dimension of points (n, d) from the distances to their two nearest neighbours, r₁ and r₂: n / Σ log(r₂ / r₁).

    TwoNN, by maximum likelihood (Facco, d'Errico, Rodriguez & Laio 2017, https://doi.org/10.1038/s41598-017-11873-y): where the density
    hardly changes between the two neighbours, r₂ / r₁ is Pareto distributed with the dimension as exponent. Points that occur several times
    count once. High dimensions come out too low with few points. `InputError` for fewer than three different points, or all equally far.

    >>> round(two_nearest(torch.tensor([[0.0], [1.0], [3.0]])), 6)  # ratios 3, 2 and 3 / 2: the dimension 3 / log 9
    1.365359
    """
    points = as_tensor(points, "points")
    if points.ndim != 2 or not bool(torch.isfinite(points).all()) or len(distinct := points.double().unique(dim=0)) < 3:
        raise InputError(f"an intrinsic dimension needs three or more different finite points (n, d), not a tensor {tuple(points.shape)}.")
    far = torch.cdist(distinct, distinct, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(float("inf"))
    first, second = far.topk(2, largest=False).values.unbind(1)
    if not (logs := (second / first).log().sum()) > 0:
        raise InputError("all points have two nearest neighbours at one distance, so that their dimension is not defined.")
    return (len(distinct) / logs).item()
