"""Margins of a classifier: how far each sample is from being given another class, raw and freed of norms, and what bounds make of it.

Logits are s_k = w_k . h + b_k, with h (d) the feature and w_k a row of the weight (C, d). The margin of a sample of class y is
p = min over k != y of s_y - s_k: positive when it is classified rightly. p_min, the least over the training set, grows whenever the norms
of w or h do, without any change of a decision; only normalised margins can be evidence about new samples. Statistics are float64.
"""

import math
import warnings

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.metrics.inputs import as_tensor
from ncbook.metrics.moments import check_labels


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Margins (N,) of logits (N, C) with labels (N,), in the logits' units: the label's logit less the largest other one.

    Raises `InputError` for wrong shapes, labels out of range, fewer than two classes and values that are not finite.

    >>> margins(torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]]), torch.tensor([0, 1])).tolist()
    [2.0, -3.0]
    """
    logits, labels = _logits(logits, labels)
    own = logits.gather(1, labels[:, None])  # (N, 1)
    return (own - logits.scatter(1, labels[:, None], -math.inf).max(1, keepdim=True).values).squeeze(1)


def pairwise_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Margins gamma (C, C) of class pairs: the least s_y - s_k over the samples of class y, in row y and column k; infinite for k = y.

    The least entry is p_min. Gao et al. (2023, arXiv 2310.08358) bound the error by them. Raises as `margins`, and for a class without
    samples.

    >>> pairwise_margins(torch.tensor([[3.0, 1.0], [2.0, 1.0], [0.0, 4.0]]), torch.tensor([0, 0, 1])).tolist()
    [[inf, 1.0], [4.0, inf]]
    """
    logits, labels = _logits(logits, labels)
    gaps = logits.gather(1, labels[:, None]) - logits  # (N, C)
    if (labels.bincount(minlength=logits.shape[1]) == 0).any():
        raise InputError("each class needs at least one sample; leave out the classes that have none.")
    least = torch.full((logits.shape[1],) * 2, math.inf, dtype=gaps.dtype, device=gaps.device)
    least.scatter_reduce_(0, labels[:, None].expand_as(gaps), gaps, "amin")
    return least.fill_diagonal_(math.inf)


def normalised_margins(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Margins (N,) over |w_y - w_k| |h|, with k the runner-up of each sample: cosines, in [-1, 1], that no change of norms can move.

    A bias is a last coordinate of w, and 1 that of h. A margin of 0 stays 0, also where the norms are 0. Raises as `margins`.

    >>> h, w = torch.tensor([[0.0, 5.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> normalised_margins(h, torch.tensor([0, 0]), w).tolist()
    [0.0, 0.6]
    """
    features, weight = _with_bias(features, weight, bias)
    logits = features @ weight.T
    p = margins(logits, labels)
    labels = as_tensor(labels, "labels").long().to(logits.device)
    runner_up = logits.scatter(1, labels[:, None], -math.inf).argmax(1)
    norms = (weight[labels] - weight[runner_up]).norm(dim=1) * features.norm(dim=1)  # (N,)
    return torch.where(norms > 0, p / norms, 0.0)


def margin_summary(features: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None = None) -> dict[str, float]:
    """What to log of features (N, d), labels (N,), weight (C, d) and bias (C,): p_min is one sample's, so low quantiles stand beside it.

    Names: ``loss`` (mean cross-entropy), ``p_min``, ``p_q01`` and ``p_q05`` (quantiles), ``negative_share``; ``normalised_min``,
    ``normalised_q01`` and ``normalised_q05`` (of `normalised_margins`); ``weight_norm`` (Frobenius, of the weight less its mean row, which
    no decision depends on) and ``feature_norm`` (root mean square).
    """
    h, w = _with_bias(features, weight, bias)
    raw = margins(h @ w.T, labels)
    free = normalised_margins(features, labels, weight, bias)
    low = torch.tensor([0.01, 0.05], dtype=raw.dtype, device=raw.device)
    values = {
        "loss": torch.nn.functional.cross_entropy(h @ w.T, as_tensor(labels, "labels").long().to(h.device)),
        "p_min": raw.min(),
        **dict(zip(("p_q01", "p_q05"), _quantiles(raw, low), strict=True)),
        "negative_share": (raw < 0).double().mean(),
        "normalised_min": free.min(),
        **dict(zip(("normalised_q01", "normalised_q05"), _quantiles(free, low), strict=True)),
        "weight_norm": (w - w.mean(0)).norm(),
        "feature_norm": h.square().sum(1).mean().sqrt(),
    }
    return {name: value.item() for name, value in values.items()}


def loss_bounds(p_min: float, samples: int, classes: int) -> tuple[float, float]:
    """The least and the largest mean cross-entropy that a least margin allows: log(1 + e^-p) / N and log(1 + (C - 1) e^-p).

    Exact for any logits; it is the finite form of Theorem 4.1 of Gao et al. (2023), that the loss tends to 0 only as p_min tends to
    infinity.

    >>> [round(x, 6) for x in loss_bounds(0.0, 10, 3)]  # log(2) / 10 and log(3)
    [0.069315, 1.098612]
    """
    _sizes(samples, classes)
    if math.isnan(p_min):
        raise InputError("p_min is not a number.")
    return _softplus(-p_min) / samples, _softplus(math.log(classes - 1) - p_min)


def margin_bounds(loss: float, samples: int, classes: int) -> tuple[float, float]:
    """The least and the largest p_min that a mean cross-entropy allows: the inverse of `loss_bounds`.

    A loss below log(2) / N forces a positive p_min, that is no training error.

    >>> [round(x, 6) + 0.0 for x in margin_bounds(math.log(2) / 10, 10, 2)]  # -log(e^(log 2) - 1) = 0, and -log(2^(1/10) - 1)
    [0.0, 2.63424]
    """
    _sizes(samples, classes)
    if not loss > 0:
        raise InputError(f"a mean cross-entropy is above 0, not {loss}.")
    return -_inverse_softplus(samples * loss), math.log(classes - 1) - _inverse_softplus(loss)


def margin_bound(features: Tensor, labels: Tensor, weight: Tensor, gamma: float | None = None) -> float:
    """The part of a margin bound on the error that data decide: share of margins below gamma, plus 4 C L R / (gamma sqrt N).

    Here features (N, d) have the root mean square norm R and the rows of weight (C, d) norms up to L, so that L R / sqrt N bounds the
    empirical Rademacher complexity of a logit. This is the standard multi-class form (Koltchinskii & Panchenko 2002; Mohri et al. 2018,
    theorem 9.2), without the terms for confidence; the constants of Theorem 4.4 of Gao et al. (2023) are not known to us. gamma is p_min
    unless given; then norms cancel: the number only depends on their ratio to the margin. It takes features as given, so of a trained
    network's features it is optimistic. Above 1 it says nothing. Raises `InputError` unless gamma is positive.

    >>> h = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(margin_bound(h, torch.tensor([0, 1]), h), 6)  # 4 * 2 * 1 * 1 / (1 * sqrt 2)
    5.656854
    """
    h, w = _with_bias(features, weight, None)
    p = margins(h @ w.T, labels)
    gamma = p.min().item() if gamma is None else gamma
    if not gamma > 0:
        raise InputError(f"the margin must be positive, not {gamma:g}: give gamma, or wait until no training sample is misclassified.")
    complexity = w.norm(dim=1).max() * h.square().sum(1).mean().sqrt() / math.sqrt(len(h))
    return ((p < gamma * (1 - 1e-9)).double().mean() + 4 * len(w) * complexity / gamma).item()


def svm_weight(features: Tensor, labels: Tensor) -> Tensor:
    """The multi-class support vector machine on features (N, d), labels (N,): weight (C, d) of least Frobenius norm with all margins 1 or
    more.

    Crammer & Singer's, without bias, by liblinear through scikit-learn with so large a penalty that no margin is violated; rows add up to
    0. The least margin over the norm, 1 / |W|, is then the largest that any weight has on these features, to about 1e-3. Raises
    `InputError` where a hyperplane through the origin cannot separate the classes.

    >>> w = svm_weight(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]), torch.tensor([0, 1]))
    >>> (w.round(decimals=3) + 0.0).tolist()  # the gap of 1 is shared by two rows
    [[0.25, 0.0], [-0.25, 0.0]]
    """
    from sklearn.svm import LinearSVC

    features = as_tensor(features, "features")
    h, _ = _with_bias(features, torch.zeros(1, features.shape[-1] if features.ndim else 0), None)
    labels, classes = check_labels(labels, samples=len(h))
    if classes < 2 or (labels.bincount() == 0).any():
        raise InputError("a support vector machine needs two or more classes with samples in each.")
    size = h.norm(dim=1).mean().clamp_min(1e-300)
    solver = LinearSVC(multi_class="crammer_singer", fit_intercept=False, C=1e6, tol=1e-5, max_iter=50_000, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a solver that stops early is found out by its least margin
        found = torch.from_numpy(solver.fit((h / size).cpu().numpy(), labels.numpy()).coef_)
    w = torch.cat([-found, found]) / 2 if classes == 2 else found  # of two classes scikit-learn gives one row
    least = margins((h / size).cpu() @ w.T, labels).min().item()
    if least <= 0:
        raise InputError(f"no hyperplanes through the origin separate these classes: the least margin of the best is {least:.3g}.")
    return w / (least * size.cpu())


def _logits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = as_tensor(logits, "logits")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise InputError(f"logits must have the shape (N, C) with two or more classes, not {tuple(logits.shape)}.")
    labels, _ = check_labels(labels, samples=len(logits), num_classes=logits.shape[1])
    logits = logits.double()
    if not logits.isfinite().all():
        raise InputError("logits hold NaN or infinite values.")
    return logits, labels.to(logits.device)


def _with_bias(features: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features (N, d) and weight (C, d) in float64, with a bias one dimension more of each."""
    features, weight = as_tensor(features, "features"), as_tensor(weight, "weight")
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise InputError(f"features (N, d) and weight (C, d) do not fit together: {tuple(features.shape)} and {tuple(weight.shape)}.")
    features, weight = features.double(), weight.double()
    if not (features.isfinite().all() and weight.isfinite().all()):
        raise InputError("features or weight hold NaN or infinite values.")
    if bias is None:
        return features, weight
    bias = as_tensor(bias, "bias").double()
    if bias.shape != weight.shape[:1]:
        raise InputError(f"the bias must have the shape ({len(weight)},), not {tuple(bias.shape)}.")
    return torch.cat([features, features.new_ones(len(features), 1)], 1), torch.cat([weight, bias[:, None]], 1)


def _sizes(samples: int, classes: int) -> None:
    if samples < 1 or classes < 2:
        raise InputError(f"there must be a sample and two classes at least, not {samples} and {classes}.")


def _softplus(x: float) -> float:
    """log(1 + e^x) without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _inverse_softplus(y: float) -> float:
    """log(e^y - 1) without overflow."""
    return y + math.log(-math.expm1(-y))


def _quantiles(values: Tensor, shares: Tensor) -> Tensor:
    """`torch.quantile`, also of more than the 16 million values that it takes."""
    ordered = values.sort().values
    place = shares * (len(values) - 1)
    below = place.floor().long()
    return torch.lerp(ordered[below], ordered[(below + 1).clamp_max(len(values) - 1)], (place - below).to(values.dtype))
