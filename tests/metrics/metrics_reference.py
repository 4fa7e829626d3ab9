"""The metrics once more, slowly and written differently: NumPy, loops over samples and classes, full d x d matrices, `pinv`."""

import numpy as np


def _parts(H, y, C, weighting):
    means = [np.mean([h for h, c in zip(H, y, strict=True) if c == k], axis=0) for k in range(C)]
    counts = np.array([sum(1 for c in y if c == k) for k in range(C)])
    weights = np.full(C, 1 / C) if weighting == "class" else counts / len(y)
    mu_G = sum(w * m for w, m in zip(weights, means, strict=True))
    d = H.shape[1]
    W, B = np.zeros((d, d)), np.zeros((d, d))
    for k in range(C):
        covariance = np.zeros((d, d))
        for h, c in zip(H, y, strict=True):
            if c == k:
                covariance += np.outer(h - means[k], h - means[k])
        W += weights[k] * covariance / counts[k]
        B += weights[k] * np.outer(means[k] - mu_G, means[k] - mu_G)
    return np.array(means), mu_G, W, B, weights


def _cosines(M):
    return [M[i] @ M[j] / np.linalg.norm(M[i]) / np.linalg.norm(M[j]) for i in range(len(M)) for j in range(len(M)) if i != j]


def _nc2(M, suffix=""):
    C, norms, cosines = len(M), [np.linalg.norm(m) for m in M], _cosines(M)
    return {
        f"nc2_equinorm{suffix}": np.std(norms, ddof=1) / np.mean(norms),
        f"nc2_equiangularity{suffix}": np.std(cosines) if C > 2 else np.nan,
        f"nc2_max_angle{suffix}": np.mean([abs(c + 1 / (C - 1)) for c in cosines]),
    }


def _ratio(H, y, C, weighting):
    _, _, W, B, _ = _parts(H, y, C, weighting)
    return np.trace(W) / np.trace(B)


def _nearest(H, means):
    return np.array([min(range(len(means)), key=lambda k: np.sum((h - means[k]) ** 2)) for h in H])


def _kmeans(H, centres):
    centres, cluster = centres.copy(), _nearest(H, centres)
    for _ in range(50):
        used = [k for k in range(len(centres)) if (cluster == k).any()]
        for k in used:
            centres[k] = H[cluster == k].mean(0)
        moved = _nearest(H, centres)
        if (moved != cluster).sum() <= len(H) // 1000:
            break
        cluster = moved
    within = sum(np.sum((H[cluster == k] - centres[k]) ** 2) for k in used)
    between = sum((cluster == k).sum() * np.sum((centres[k] - H.mean(0)) ** 2) for k in used)
    return within / between


def reference(train, test, *, weight, bias, weighting="class"):
    """One dict a split: float64 arrays (N, d) and labels (N,) in, every metric out."""
    C = len(weight)
    train_means, _, _, train_B, _ = _parts(*train, C, weighting)
    rows = []
    for split, (H, y) in (("train", train), ("test", test)):
        means, mu_G, W, B, weights = _parts(H, y, C, weighting)
        predicted = np.array([np.argmax(weight @ h + bias) for h in H])
        nearest = _nearest(H, train_means)
        rank = int((np.linalg.svd(means - mu_G)[1] > 1e-10).sum())
        pairs = [(i, j) for i in range(C) for j in range(i)]
        variance = [np.mean([np.sum((h - means[k]) ** 2) for h, c in zip(H, y, strict=True) if c == k]) for k in range(C)]
        to_train = [np.mean([np.sum((h - train_means[k]) ** 2) for h, c in zip(H, y, strict=True) if c == k]) for k in range(C)]
        e, M = np.mean(predicted != y), means - mu_G
        used = sorted(set(predicted))
        nc1 = np.trace(W @ np.linalg.pinv(B, rcond=1e-12)) / C
        rows.append(
            {
                "split": split,
                "n": len(y),
                "error": e,
                "variance_ratio": np.trace(W) / np.trace(B),
                "nc1": nc1,
                "rank": rank,
                "cdnv": np.mean([(variance[i] + variance[j]) / 2 / np.sum((means[i] - means[j]) ** 2) for i, j in pairs]),
                "he_su_separation": np.trace(W @ np.linalg.pinv(B, rcond=1e-12)),
                "vci": 1 - np.trace(np.linalg.pinv(W + B) @ B) / rank,
                **(_nc2(M) if C > 2 else dict.fromkeys(_nc2(M), np.nan)),
                **_nc2(weight, "_classifier"),
                "nc3_self_duality": np.sum((weight / np.linalg.norm(weight) - M / np.linalg.norm(M)) ** 2),
                "nc4_ncc_mismatch": np.mean(predicted != nearest),
                "ncc_error": np.mean(nearest != y),
                "variance_ratio_train_means": np.sum(weights * to_train) / np.trace(train_B),
                "variance_ratio_predicted": _ratio(H, np.searchsorted(used, predicted), len(used), weighting),
                "weak_nearest_mean": np.mean([min(np.sum((h - m) ** 2) for m in train_means) for h in H]) / np.trace(train_B),
                "weak_kmeans": _kmeans(H, train_means),
                "v_even_weak": 1 / (1 - e * C / (C - 1)) ** 2 - 1,
                "v_confused": _ratio(train_means[predicted], y, C, weighting),
            }
        )
    return rows
