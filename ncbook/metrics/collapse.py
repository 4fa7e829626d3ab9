"""The collapse metrics of one set of features: V, NC1, CDNV, He & Su's separation, VCI, NC2 and NC3.

All return 0-d float64 tensors and are 0 at perfect collapse. ``weighting="class"`` gives each class the same weight in Sigma_W, Sigma_B and
mu_G, ``"sample"`` weights all three by n_c; on balanced data they coincide. Variances divide by n_c (ddof 0).

Every function takes ``(features, labels)``, of any kind that `inputs.as_tensor` takes, or, where they suffice, `ClassMoments` made before.
"""

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.devices import decompose
from ncbook.metrics.inputs import as_tensor, check_features, compute_dtype
from ncbook.metrics.moments import EPS64, ClassMoments, blocks, check_weighting, exact_matmul, squared_distances
from ncbook.metrics.projection import MeanSpan, project


def as_moments(features, labels=None) -> ClassMoments:
    """The moments of ``(features, labels)``, or those given in their place."""
    if isinstance(features, ClassMoments):
        if labels is not None:
            raise InputError("give moments alone, or features with labels")
        return features
    if labels is None:
        raise InputError(f"give (features, labels) or a ClassMoments, not {type(features).__name__} alone")
    return ClassMoments.from_features(features, labels)


def variance_ratio(features, labels=None, *, weighting: str = "class") -> Tensor:
    """V = Tr Sigma_W / Tr Sigma_B (Hui, Belkin & Nakkiran 2022, section 3.1), in [0, inf).

    Unchanged by translation, rotation and uniform scaling. Raises `InputError` for coinciding means and classes with fewer than 2 samples.

    >>> features = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    >>> variance_ratio(features, [0, 0, 1, 1]).item()
    0.04
    """
    check_weighting(weighting)
    moments = as_moments(features, labels)
    return moments.within(weighting) / moments.between(weighting)


def cdnv(features, labels=None) -> Tensor:
    """Class-distance normalised variance (Galanti, Gyorgy & Hutter 2022), in [0, inf).

    Mean over pairs of classes of (Var_i + Var_j) / (2 |mu_i - mu_j|^2), with Var = E|h - mu|^2. Infinite where two class means coincide (to
    rounding). Raises `InputError` as `variance_ratio` does.

    >>> features = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    >>> round(cdnv(features, [0, 0, 1, 1]).item(), 12)
    0.01
    """
    moments = as_moments(features, labels)
    moments.within(), moments.between()  # for their checks
    # The (C, r) coordinates have the distances of the (C, d) means at a fraction of the work.
    return _cdnv(moments, MeanSpan.from_moments(moments).coordinates)


def _cdnv(moments: ClassMoments, points: Tensor) -> Tensor:
    variance = moments.scatter / moments.count  # (C,)
    i, j = torch.triu_indices(len(points), len(points), 1, device=points.device)
    squares = squared_distances(points, points)[i, j]  # (C (C-1) / 2,)
    squares = torch.where(squares > moments.noise() ** 2, squares, 0)
    return ((variance[i] + variance[j]) / (2 * squares)).mean()


def nc1(features, labels=None, *, weighting: str = "class") -> Tensor:
    """NC1 = Tr(Sigma_W Sigma_B^+) / C (Papyan, Han & Donoho 2020), in [0, inf); the authors' notebook does not divide by C.

    Features (N, d), labels (N,). The pseudo-inverse has the rank of the class means (`MeanSpan`), which is below C - 1 when d is.
    Variance outside the span of the class means does not count, unlike in `variance_ratio`. Raises `InputError` as that does.

    >>> features = torch.tensor([[0.0, 7.0], [2.0, 9.0], [10.0, 7.0], [12.0, 9.0]])
    >>> round(nc1(features, torch.tensor([0, 0, 1, 1])).item(), 6)
    0.02
    >>> round(variance_ratio(features, [0, 0, 1, 1]).item(), 6)
    0.08
    """
    check_weighting(weighting)
    features, labels = _pair(features, labels)
    moments = ClassMoments.from_features(features, labels)
    moments.within()
    span = MeanSpan.from_moments(moments, weighting=weighting)
    return nc1_from(moments, project(features, labels, moments, span, span).whitened, weighting=weighting)


def nc1_from(moments: ClassMoments, whitened: Tensor, *, weighting: str = "class") -> Tensor:
    """`nc1` from the two passes' results: `Projected.whitened` (C,) is the second's."""
    return moments.weights(weighting) @ (whitened / moments.count) / moments.count.numel()


def he_su_separation(features, labels=None, *, weighting: str = "class") -> Tensor:
    """D = Tr(SS_W SS_B^+) = C x NC1 (He & Su 2023): the fuzziness that decays geometrically over layers, in [0, inf).

    >>> round(he_su_separation(torch.tensor([[0.0], [2.0], [10.0], [12.0]]), torch.tensor([0, 0, 1, 1])).item(), 6)
    0.04
    """
    features, labels = _pair(features, labels)
    return nc1(features, labels, weighting=weighting) * (int(labels.max()) + 1)


def _pair(features, labels) -> tuple[Tensor, Tensor]:
    if labels is None or isinstance(features, ClassMoments):
        raise InputError("this metric reads the features a second time, around the class means: give (features, labels), not moments")
    return check_features(features, labels)[:2]


def vci(features, labels=None, *, weighting: str = "class") -> Tensor:
    """Variability collapse index 1 - Tr(Sigma_T^+ Sigma_B) / rank(Sigma_B) (Xu & Liu 2023), in [0, 1]; Sigma_T = Sigma_W + Sigma_B.

    Unchanged by any invertible linear map. The only metric that needs a d x d matrix. Void unless d is well below N: pure noise gives about
    1 - d / (N - 1), so show the value for shuffled labels beside it. Raises `InputError` for d >= N - 1, where it is 0 for any features.
    Accurate to about 1e-12 absolute.

    >>> features = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    >>> round(vci(features, torch.tensor([0, 0, 1, 1])).item(), 12) == round(1 / 26, 12)
    True
    """
    check_weighting(weighting)
    features, labels = _pair(features, labels)
    moments = ClassMoments.from_features(features, labels)
    return vci_from(features, labels, moments, weighting=weighting)


def vci_from(features: Tensor, labels: Tensor, moments: ClassMoments, *, weighting: str = "class") -> Tensor:
    """`vci` of checked features with their moments."""
    total = within_scatter(None, features, labels, moments, weighting=weighting)
    return vci_of(total, moments, weighting=weighting)


def within_scatter(total: Tensor | None, features: Tensor, labels: Tensor, moments: ClassMoments, *, weighting: str = "class") -> Tensor:
    """Sigma_W (d, d) of checked features, added to the ``total`` of the batches before."""
    samples, width = int(moments.count.sum()), features.shape[1]
    if width >= samples - 1:
        raise InputError(f"VCI is 0 for any features unless their dimension is below the number of samples - 1; here {width} and {samples}")
    moments.within()
    scale = (moments.weights(weighting) / moments.count).sqrt()  # (C,)
    dtype = compute_dtype(features)
    labels = labels.to(features.device)
    total = torch.zeros(width, width, dtype=torch.float64, device=features.device) if total is None else total
    with torch.no_grad(), exact_matmul(features.device):
        for rows in blocks(features, beside=width):
            at = labels[rows]
            values = (features[rows].to(dtype).double() - moments.mean.index_select(0, at)) * scale[at][:, None]
            total.addmm_(values.T, values)
    return total


def vci_of(within: Tensor, moments: ClassMoments, *, weighting: str = "class") -> Tensor:
    """`vci` from Sigma_W (d, d)."""
    rank = MeanSpan.from_moments(moments, weighting=weighting).rank
    between = moments.weights(weighting).sqrt()[:, None] * moments.centred(weighting)  # (C, d)
    eigenvalues, vectors = decompose(torch.linalg.eigh, within + between.T @ between)
    keep = eigenvalues > len(within) * EPS64 * eigenvalues[-1]
    explained = ((between @ vectors[:, keep]).square() / eigenvalues[keep]).sum()
    return 1 - explained / rank


def nc2_equinorm(vectors, labels=None) -> Tensor:
    """Std / mean of the norms of ``vectors`` (C, d) (Papyan, Han & Donoho 2020), in [0, inf); ddof 1 as in the authors' notebook.

    Vectors are the *centred* class means (`ClassMoments.centred`) or the classifier's rows; ``(features, labels)`` and moments stand for
    their centred class means. Centred means of two classes always give 0.

    >>> nc2_equinorm(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).item() == 2 ** 0.5 / 2
    True
    """
    return _geometry(_vectors(vectors, labels))["nc2_equinorm"]


def nc2_equiangularity(vectors, labels=None) -> Tensor:
    """Standard deviation (ddof 0) over pairs of the cosines between ``vectors`` (C, d) (Papyan, Han & Donoho 2020), in [0, 1].

    NaN for fewer than three vectors (one pair has no spread) and if one is zero.

    >>> nc2_equiangularity(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])).item() == (2 / 9) ** 0.5
    True
    """
    return _geometry(_vectors(vectors, labels))["nc2_equiangularity"]


def nc2_max_angle(vectors, labels=None) -> Tensor:
    """Mean over pairs of |cos + 1/(C-1)|, the distance to the maximal angle (Papyan, Han & Donoho 2020), in [0, 2].

    0 exactly for the simplex ETF, which needs d >= C - 1: in fewer dimensions it stays positive. NaN if a vector is zero.

    >>> round(nc2_max_angle(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])).item(), 12)  # the square, 4/9
    0.444444444444
    """
    return _geometry(_vectors(vectors, labels))["nc2_max_angle"]


def _vectors(vectors, labels=None) -> Tensor:
    if labels is not None or isinstance(vectors, ClassMoments):
        return as_moments(vectors, labels).centred()
    vectors = as_tensor(vectors, "vectors")
    if vectors.ndim != 2 or len(vectors) < 2:
        raise InputError(f"the vectors must have the shape (C, d) with at least 2 of them, not {tuple(vectors.shape)}")
    return vectors.double()


def _cosines(vectors: Tensor) -> Tensor:
    """Cosines of the C (C-1) / 2 pairs."""
    unit = vectors / vectors.norm(dim=1, keepdim=True)  # a zero vector has no angle: NaN
    i, j = torch.triu_indices(len(unit), len(unit), 1, device=unit.device)
    return (unit @ unit.T)[i, j]


def nc3_self_duality(weight, centred_means, labels=None) -> Tensor:
    """NC3: squared Frobenius distance ``|W / |W| - M / |M| |^2`` of the classifier (C, d) and the centred class means (C, d), in [0, 4].

    ``(weight, features, labels)`` and ``(weight, moments)`` stand for ``(weight, centred class means)``.

    Papyan, Han & Donoho 2020; *squared* as in the authors' notebook and figure. NaN if one of the two is zero.

    >>> nc3_self_duality(torch.ones(4, 1), -3 * torch.ones(4, 1)).item()
    4.0
    """
    means = _vectors(centred_means, labels)
    weight = as_tensor(weight, "weight").to(means.device, torch.float64)
    if weight.shape != means.shape:
        raise InputError(f"classifier weight {tuple(weight.shape)} and class means {tuple(means.shape)} must have the same shape (C, d)")
    return (weight / weight.norm() - means / means.norm()).square().sum()


def mean_geometry(moments: ClassMoments, *, weighting: str = "class") -> dict[str, Tensor]:
    """The three NC2 numbers of the centred class means; NaN for two classes, where any means have equal norms and cosine -1.

    >>> mean_geometry(ClassMoments.from_features(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])))["nc2_equinorm"].item()
    nan
    """
    centred = moments.centred(weighting)
    if len(centred) < 3:
        return dict.fromkeys(("nc2_equinorm", "nc2_equiangularity", "nc2_max_angle"), _nan(centred))
    return _geometry(centred)


def _geometry(vectors: Tensor) -> dict[str, Tensor]:
    """The three NC2 numbers from one computation of the cosines."""
    norms, cosines = vectors.norm(dim=1), _cosines(vectors)
    return {
        "nc2_equinorm": norms.std() / norms.mean(),
        "nc2_equiangularity": cosines.std(correction=0) if len(vectors) > 2 else _nan(vectors),
        "nc2_max_angle": (cosines + 1 / (len(vectors) - 1)).abs().mean(),
    }


def classifier_geometry(weight: Tensor) -> dict[str, Tensor]:
    """The three NC2 numbers of the classifier's rows (C, d), not centred, under the names ``..._classifier``.

    >>> classifier_geometry(torch.eye(3))["nc2_max_angle_classifier"].item()
    0.5
    """
    return {f"{name}_classifier": value for name, value in _geometry(_vectors(weight)).items()}


def _nan(like: Tensor) -> Tensor:
    return torch.full((), torch.nan, dtype=torch.float64, device=like.device)
