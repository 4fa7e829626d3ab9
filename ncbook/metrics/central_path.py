"""How far a classifier is from the least-squares classifier of the features that it stands on (Han, Papyan & Donoho 2022)."""

import torch
from torch import Tensor, nn

from ncbook.errors import InputError
from ncbook.metrics.devices import decompose
from ncbook.metrics.inputs import check_features, check_head
from ncbook.metrics.moments import ClassMoments, exact_matmul


@torch.no_grad()
def central_path(features, labels, weight, bias=None, *, penalty: float = 0.0) -> dict[str, float]:
    """The squared loss of a classifier on features (N, d), and the parts that it is the sum of: how far from the central path it is.

    ``squared_loss`` is L(W) = |W H - Y|^2 / 2N + penalty/2 |W|^2 of the weight W (C, d), with Y the one-hot labels (N,) and H (d, N).
    A ``bias`` (C,) is one column more of W, on a feature that is always 1, and has the penalty too: as weight decay does it. For these
    features L is least at W_LS = (Y H'/N) G^-1 with G = H H'/N + penalty I, on the central path, and as L is quadratic in W

        L(W) = L(W_LS) + ``off_path``,  ``off_path`` = Tr (W - W_LS) G (W - W_LS)' / 2,

    where L(W_LS) is the sum of ``within``, what W_LS makes of the variation within classes (NC1), ``means``, how far from one-hot it puts
    the class means (NC2 and NC3), and ``of_penalty``. In float64. Without a penalty W_LS is 0 in directions of less than 1e-7 of the
    features' largest singular value.

    Raises `InputError` for a weight that does not fit the features, for fewer rows than there are classes, for what is not finite, and for
    a negative penalty.

    >>> features, labels = torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1])  # W_LS is 1/2 and -1/2
    >>> central_path(features, labels, torch.tensor([[1.0], [-1.0]]))
    {'squared_loss': 0.5, 'off_path': 0.25, 'within': 0.0, 'means': 0.25, 'of_penalty': 0.0}
    """
    weight, bias = check_head(weight, bias)
    classes = len(weight)
    features, labels, _ = check_features(features, labels, num_classes=classes)
    if not len(features):
        raise InputError("no samples")
    if weight.shape[1] != features.shape[1]:
        raise InputError(f"the weight has the shape {tuple(weight.shape)}; features of {features.shape[1]} dimensions need as many columns")
    if not 0 <= penalty < float("inf"):
        raise InputError(f"the penalty must be a finite number from 0 on, not {penalty}.")
    device, h = features.device, features.double()
    w, m = weight.double().to(device), ClassMoments.from_features(h, labels, num_classes=classes, allow_missing=True).mean
    if bias is not None:
        w = torch.cat([w, bias.double().to(device)[:, None]], dim=1)
        h, m = (nn.functional.pad(rows, (0, 1), value=1.0) for rows in (h, m))
    labels = labels.to(device)
    targets = nn.functional.one_hot(labels, classes).double()  # (N, C)
    with exact_matmul(device):
        gram = h.T @ h / len(h)
        energies, directions = decompose(torch.linalg.eigh, gram)
        energies = energies.clamp(min=0) + penalty
        seen = energies > len(energies) * torch.finfo(torch.float64).eps * energies[-1]
        inverse = torch.where(seen, 1 / energies, 0)
        least = (targets.T @ h / len(h)) @ (directions * inverse) @ directions.T  # W_LS

        def half_mean(rows: Tensor) -> float:
            return float(rows.square().sum()) / 2 / len(h)

        def of_penalty(matrix: Tensor) -> float:
            return penalty / 2 * float(matrix.square().sum())

        return {
            "squared_loss": half_mean(h @ w.T - targets) + of_penalty(w),
            "off_path": half_mean(h @ (w - least).T) + of_penalty(w - least),
            "within": half_mean((h - m[labels]) @ least.T),
            "means": half_mean((m @ least.T)[labels] - targets),
            "of_penalty": of_penalty(least),
        }
