"""What balanced linear layers imply: the exact corollaries of Jacot et al. (2024) and two bounds on collapse, as formulas of a few numbers.

Notation: the head's matrices W_1 … W_L of a network, Z_l what layer l puts out, Y the one-hot labels. Consecutive layers are *balanced*
when W_{l+1}^T W_{l+1} = W_l W_l^T; their *imbalance* is the operator norm of the difference.
"""

import numpy as np

from ncbook.errors import InputError


def root_of_product(kappa_product, layers: int):
    """The condition number of each of `layers` balanced layers whose product has `kappa_product`: its root, which tends to 1 with depth.

    Balanced layers share their singular values (Jacot et al. 2024; exact when the imbalance is 0).

    >>> float(root_of_product(16.0, 4))
    2.0
    """
    if np.min(layers) < 1:
        raise InputError(f"a product has at least one layer, not {layers}.")
    return np.asarray(kappa_product) ** (1 / np.asarray(layers))


def least_alignment(kappa):
    """2 / (kappa + 1 / kappa): the least cosine between a row of W and the same column of its pseudo-inverse (Kantorovich's inequality).

    With Z_{L-1} = W_L^+ Y (balanced, interpolating) these columns are the features, so it is the least alignment of NC3.

    >>> float(least_alignment(1.0)), float(least_alignment(2.0))
    (1.0, 0.8)
    """
    kappa = np.asarray(kappa, dtype=float)
    if (kappa < 1).any():
        raise InputError(f"a condition number is at least 1, not {kappa.min():g}.")
    return 2 / (kappa + 1 / kappa)


def collapse_bound(*, kappa, largest, imbalance, output_within, output_between, earlier_within):
    """An upper bound on V of Z_{L-1}, from the outputs' V and the imbalance of the last two layers: holds for any network (ours).

    W_L Z_{L-1} = Z_L, so the part of Z_{L-1} in the row space of W_L varies within classes by at most Tr Sigma_W(Z_L) / sigma_K(W_L)^2. The
    rest is P W_{L-1} Z_{L-2} with P W_L^T = 0; hence norm(P W_{L-1})^2 = norm(P (W_{L-1} W_{L-1}^T - W_L^T W_L) P) <= imbalance. And
    Tr Sigma_B(Z_{L-1}) >= Tr Sigma_B(Z_L) / sigma_1(W_L)^2. Together, with kappa = sigma_1 / sigma_K of W_L,

        V(Z_{L-1}) <= kappa^2 V(Z_L) + sigma_1^2 · imbalance · Tr Sigma_W(Z_{L-2}) / Tr Sigma_B(Z_L).

    `largest` is sigma_1(W_L), `earlier_within` Tr Sigma_W(Z_{L-2}), and the outputs' variances are those of Z_L.

    >>> float(collapse_bound(kappa=2.0, largest=1.0, imbalance=0.0, output_within=0.01, output_between=1.0, earlier_within=5.0))
    0.04
    """
    return kappa**2 * output_within / output_between + largest**2 * imbalance * earlier_within / output_between


def recalled_bound(*, residual, imbalance, norm, width, samples, classes):
    """Theorem 3.1's bound on V of Z_{L-1} (Jacot et al. 2024, theorem B.2) **as recalled**: the form is right, the constants are not
    verified.

    (r^2 / N) Psi^2 / (sqrt((K - 1) / K) - 2 residual / sqrt(N))^2 with Psi = r (residual / (sqrt(N / K) - residual) + sqrt(width ·
    imbalance)): `residual` = norm(Z_L - Y)_F, `norm` = r bounds representations and weights, `width` is that of Z_{L-1}. Infinite where the
    residual is too large for it to say anything: from sqrt(N / K), the least singular value of Y, or where the denominator is no longer
    positive.

    >>> float(recalled_bound(residual=0.0, imbalance=0.0, norm=3.0, width=64, samples=100, classes=10))
    0.0
    >>> float(recalled_bound(residual=4.0, imbalance=0.0, norm=3.0, width=64, samples=100, classes=10))
    inf
    """
    residual, imbalance, norm = (np.asarray(v, dtype=float) for v in (residual, imbalance, norm))
    least, below = np.sqrt(samples / classes) - residual, np.sqrt((classes - 1) / classes) - 2 * residual / np.sqrt(samples)
    says = (least > 0) & (below > 0)
    psi = norm * (residual / np.where(says, least, 1) + np.sqrt(width * imbalance))
    return np.where(says, norm**2 / samples * psi**2 / np.where(says, below, 1) ** 2, np.inf)
