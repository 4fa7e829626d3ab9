"""Conversions to other tools' numbers, each against the published formula run on the same features, and the effective rank."""

import numpy as np
import pytest

from ncbook.errors import InputError
from ncbook.metrics import CONVENTIONS, collapse_table, convert, effective_rank

C, D, N = 5, 12, 20
random = np.random.default_rng(0)
Y = np.repeat(np.arange(C), N)
H = random.normal(size=(C, D))[Y] + 0.7 * random.normal(size=(C * N, D))
W, B = random.normal(size=(C, D)), random.normal(size=C)

MU = np.stack([H[c == Y].mean(0) for c in range(C)])
M = MU - MU.mean(0)
SIGMA_W = sum((h - MU[c])[:, None] * (h - MU[c]) for h, c in zip(H, Y, strict=True)) / len(H)
SIGMA_B = M.T @ M / C
VAR = np.array([((H[c == Y] - MU[c]) ** 2).sum(1).mean() for c in range(C)])
DISTANCE = ((MU[:, None] - MU) ** 2).sum(2)
NEAREST = ((H[:, None] - MU) ** 2).sum(2).argmin(1)
DECIDED = (H @ W.T + B).argmax(1)
PAIRS = [(i, j) for i in range(C) for j in range(C) if i != j]


def trace():
    return np.trace(SIGMA_W @ np.linalg.pinv(SIGMA_B, rcond=1e-10))


def top_singular_triplets():
    """The notebook: the C - 1 leading singular triplets of Sigma_B in place of its pseudo-inverse."""
    u, s, v = np.linalg.svd(SIGMA_B)
    return np.trace(SIGMA_W @ v.T[:, : C - 1] @ np.diag(1 / s[: C - 1]) @ u.T[: C - 1])


def scatters():
    """He and Su: sums of squares over the samples, not means."""
    between = sum(np.outer(MU[c] - H.mean(0), MU[c] - H.mean(0)) for c in Y)
    within = sum(np.outer(h - MU[c], h - MU[c]) for h, c in zip(H, Y, strict=True))
    return np.trace(within @ np.linalg.pinv(between, rcond=1e-10))


def cosines():
    unit = M / np.linalg.norm(M, axis=1, keepdims=True)
    return np.array([unit[i] @ unit[j] for i, j in PAIRS])


def duality():
    return np.linalg.norm(W / np.linalg.norm(W) - M / np.linalg.norm(M))


CDNV = np.mean([(VAR[i] + VAR[j]) / (2 * DISTANCE[i, j]) for i, j in PAIRS])
PUBLISHED = {
    "papyan notebook": {
        "nc1": top_singular_triplets(),
        "nc2_norm_means": np.linalg.norm(M, axis=1).std(ddof=1) / np.linalg.norm(M, axis=1).mean(),
        "nc2_cos_means": np.abs(cosines() + 1 / (C - 1)).mean(),
        "nc3": duality() ** 2,
        "nc4": (NEAREST != DECIDED).mean(),
    },
    "papyan paper": {"nc1": trace() / C, "nc3": duality()},
    "zhu": {"nc1": trace() / C},
    "he su": {"separation": scatters()},
    "rhubarbwu": {
        "covariance_ratio pinv": trace() / C,
        "covariance_ratio quotient": np.trace(SIGMA_W) / np.trace(SIGMA_B),
        "variability_cdnv": CDNV,
        "clf_ncc_agreement": (NEAREST == DECIDED).mean(),
    },
    "nc-toolbox": {
        "nc1_strong": trace() / C,
        "nc1_weak": np.trace(SIGMA_W) / (np.trace(SIGMA_W) + np.trace(SIGMA_B)),
        "nc1_cdnv": CDNV,
        "nc4_classifier_agreement": (NEAREST == DECIDED).mean(),
    },
}


@pytest.mark.parametrize("tool", CONVENTIONS)
def test_every_conversion(tool):
    row = collapse_table((H, Y), weight=W, bias=B, kmeans=False).iloc[0]
    found = convert(row, tool, num_classes=C)
    assert set(found) == set(PUBLISHED[tool])
    assert found == pytest.approx(PUBLISHED[tool], rel=1e-9)


def test_an_unknown_tool_is_named():
    with pytest.raises(InputError, match="did you mean 'rhubarbwu'"):
        convert({}, "rhubarb", num_classes=3)


def test_effective_rank_against_the_singular_values():
    for centre in (True, False):
        s = np.linalg.svd(H - centre * H.mean(0), compute_uv=False)
        p = s / s.sum()
        assert effective_rank(H, centre=centre).item() == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)
    simplex = np.eye(C) - 1 / C
    assert effective_rank(simplex[Y]).item() == pytest.approx(C - 1, rel=1e-9)
    with pytest.raises(InputError, match="all the same"):
        effective_rank(np.ones((4, 3)))
    with pytest.raises(InputError, match="NaN"):
        effective_rank(H * np.nan)
