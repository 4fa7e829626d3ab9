"""How many directions a matrix uses: stable, entropy and numerical rank, all from its singular values, so that no finding hangs on one."""

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.devices import decompose
from ncbook.metrics.inputs import as_tensor

THRESHOLDS = (0.3, 0.1, 0.03, 0.01)  # shares of the largest singular value above which `ranks` counts


def singular_values(matrix: Tensor) -> Tensor:
    """Singular values (..., min(n, d)) of matrices (..., n, d), largest first, in float64.

    From the eigenvalues of the smaller Gram matrix: values below 1e-7 of the largest are lost in rounding, and count here as any small one.
    A matrix without entries, or with one that is not finite, is an `InputError`.

    >>> singular_values(torch.diag(torch.tensor([3.0, 0.0, 4.0]))).tolist()
    [4.0, 3.0, 0.0]
    """
    matrix = as_tensor(matrix, "matrices")
    if matrix.ndim < 2 or not matrix.numel() or not bool(torch.isfinite(matrix).all()):
        raise InputError(f"singular values need finite matrices (..., n, d) with entries, not one of shape {tuple(matrix.shape)}.")
    a = matrix.double()
    a = a.mT if a.shape[-2] > a.shape[-1] else a
    return from_gram(a @ a.mT)


def from_gram(gram: Tensor) -> Tensor:
    """Singular values (..., d), largest first, of matrices A known by their Gram matrices AᵀA (..., d, d).

    >>> from_gram(torch.tensor([[4.0, 0.0], [0.0, 9.0]])).tolist()
    [3.0, 2.0]
    """
    return decompose(torch.linalg.eigvalsh, gram.double()).flip(-1).clamp(min=0).sqrt()


def stable_rank(s: Tensor) -> Tensor:
    """Squared Frobenius norm over squared spectral norm, Σ s² / max s² (...), of singular values (..., k): from 1 to the rank.

    It changes little when small singular values are added, and lies below the number of directions when these are of unequal size.

    >>> stable_rank(torch.tensor([2.0, 1.0, 1.0])).item()
    1.5
    """
    return energies(s).sum(-1) / energies(s).amax(-1)


def entropy_rank(s: Tensor) -> Tensor:
    """exp of the entropy of the energies s² / Σ s² (...), of singular values (..., k): from 1 to the rank.

    Roy and Vetterli's effective rank with energies in place of the singular values themselves.

    >>> round(entropy_rank(torch.tensor([1.0, 1.0, 0.0])).item(), 12)
    2.0
    """
    p = energies(s) / energies(s).sum(-1, keepdim=True)
    return torch.special.entr(p).sum(-1).exp()


def numerical_rank(s: Tensor, threshold: float) -> Tensor:
    """How many singular values (..., k) exceed `threshold` times the largest (...).

    >>> numerical_rank(torch.tensor([5.0, 1.0, 0.1]), 0.1).item()
    2
    """
    if not 0 <= threshold < 1:
        raise InputError(f"the threshold is a share of the largest singular value, from 0 up to but not including 1, not {threshold!r}.")
    s = as_tensor(s, "singular values")
    energies(s)
    return (s > threshold * s.amax(-1, keepdim=True)).sum(-1)


def energies(s: Tensor) -> Tensor:
    """s² in float64, once `s` is known to be singular values: finite, none negative, and not all 0; `InputError` otherwise."""
    s = as_tensor(s, "singular values")
    if not s.numel() or not bool((torch.isfinite(s) & (s >= 0)).all()) or not bool((s.amax(-1) > 0).all()):
        raise InputError("a rank needs singular values that are finite, not negative, and not all 0.")
    return s.double() ** 2


def ranks(s: Tensor, *, spectrum: int = 0) -> dict[str, list]:
    """Every rank of singular values (B, k), as columns of B values: ``stable_rank``, ``entropy_rank`` and ``rank_above_<threshold>``.

    With `spectrum`, also a text ``singular_values``: so many singular values over the largest, ``"1 0.93 …"``.

    >>> found = ranks(torch.tensor([[2.0, 1.0, 0.5]]), spectrum=2)
    >>> found["rank_above_0.3"], found["singular_values"]
    ([2], ['1 0.5'])
    """
    columns = {"stable_rank": stable_rank(s).tolist(), "entropy_rank": entropy_rank(s).tolist()}
    columns |= {f"rank_above_{t:g}": numerical_rank(s, t).tolist() for t in THRESHOLDS}
    if spectrum:
        columns["singular_values"] = [" ".join(f"{v:.3g}" for v in row) for row in (s / s[:, :1])[:, :spectrum].tolist()]
    return columns
