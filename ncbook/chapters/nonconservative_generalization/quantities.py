"""The numbers behind the claims on margins and label alignment: from one seed's training, or from one layout of frames × seeds."""

import numpy as np
import pandas as pd
from scipy import stats

from ncbook.chapters.symmetric_generalization.quantities import frame_variance, table
from ncbook.claims.curves import lasting_onset

NAN = float("nan")
SHUFFLES = 10


def accuracy_rise(rows: pd.DataFrame) -> float:
    """Test accuracy at the last epoch less that at the first of the terminal phase, in points."""
    first, _, last = _ends(rows)
    return 100 * (first["test_error"] - last["test_error"])


def margin_rise(rows: pd.DataFrame) -> float:
    """Growth of p_min from twice the epoch at which the terminal phase begins to the last, without weight decay."""
    return _difference(rows, "p_min")


def norm_share(rows: pd.DataFrame) -> float:
    """Share of log p_min's growth that the norms' growth makes: 1 less the growth of the logarithm of the least normalised margin, over it.

    nan when p_min did not grow.
    """
    _, middle, last = _ends(_free(rows))
    grown = np.log(last["p_min"]) - np.log(middle["p_min"])
    return 1 - (np.log(last["normalised_min"]) - np.log(middle["normalised_min"])) / grown if grown > 0 else NAN


def svm_approach(rows: pd.DataFrame) -> float:
    """1 - cosine of the last classifier with the support vector machine on the last features, over that of the classifier as it was when
    the least margin was first positive, with the same machine: what the classifier's own turning does."""
    last = _ends(_free(rows))[2]
    return (1 - last["svm_cosine"]) / (1 - last["svm_cosine_first"])


def svm_approach_of_others(rows: pd.DataFrame) -> float:
    """The same ratio for a machine whose classes have been renamed, each as the next one."""
    last = _ends(_free(rows))[2]
    return (1 - last["svm_cosine_other"]) / (1 - last["svm_cosine_other_first"])


def norm_share_under_decay(rows: pd.DataFrame) -> float:
    """Share of log p_min's growth over the terminal phase that norms make, sums over a layout's networks, whose classifiers are fixed and
    whose other weights decay; nan when the sum did not grow."""
    raw, free = (np.log(rows[name] / rows[f"terminal_{name}"]).to_numpy() for name in ("p_min", "normalised_min"))
    return 1 - free.sum() / raw.sum() if raw.sum() > 0 else NAN


def growth_and_gain(rows: pd.DataFrame) -> float:
    """Rank correlation, over the networks of a training set, of the growth of the normalised margin's 5% quantile with the accuracy gained,
    both over the terminal phase; mean over training sets."""
    return _association(_growth(rows), _gain(rows))


def growth_and_gain_shuffled(rows: pd.DataFrame) -> float:
    """The same, each growth with the gain of another network that chance picks: mean of ten shuffles within training sets."""
    random = np.random.default_rng(0)
    gain = _gain(rows)
    return float(np.mean([_association(_growth(rows), random.permuted(gain, axis=0)) for _ in range(SHUFFLES)]))


def margin_and_error(rows: pd.DataFrame) -> float:
    """Rank correlation, over the networks of a training set, of the last normalised margin's 5% quantile with the last test accuracy; mean
    over training sets."""
    return _association(table(rows, "normalised_q05"), -table(rows, "test_error"))


def shuffled_variance(rows: pd.DataFrame) -> float:
    """The variance component of frames whose names have been shuffled within seeds: mean of ten shuffles."""
    random = np.random.default_rng(0)
    columns = [column for column in ("test_error", "train_error", "train_variance_ratio") if column in rows]
    found = []
    for _ in range(SHUFFLES):
        other = rows.sort_values(["seed", "frame"]).copy()
        for _, index in other.groupby("seed").groups.items():
            other.loc[index, columns] = other.loc[index, columns].to_numpy()[random.permutation(len(index))]
        found.append(frame_variance(other))
    return float(np.mean(found))


def order_by_score(rows: pd.DataFrame) -> float:
    """Rank correlation over frames of the score fixed beforehand with the mean last test error; nan when either is the same for all
    frames."""
    return _order(rows, "score")


def order_by_lipschitz(rows: pd.DataFrame) -> float:
    """Rank correlation over frames of the logarithm of the least Lipschitz constant, averaged over training sets, with the mean last test
    error."""
    return _order(rows.assign(steepness=np.log(rows["least_lipschitz"])), "steepness")


def order_by_covering(rows: pd.DataFrame) -> float:
    """Rank correlation over frames of the covering bound, with the margins that were reached, with the mean last test error."""
    return _order(rows, "covering")


def order_by_shuffled_score(rows: pd.DataFrame) -> float:
    """The first of these, each frame with the score of another that chance picks: mean of ten shuffles."""
    random = np.random.default_rng(0)
    scores = rows.groupby("frame")["score"].first()
    shuffled = [rows.assign(score=rows["frame"].map(pd.Series(random.permutation(scores), scores.index))) for _ in range(SHUFFLES)]
    return float(np.mean([_order(one, "score") for one in shuffled]))


def _ends(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """One network's rows at the first epoch of the terminal phase, at twice that, and at the last epoch; all nan where there is no such
    epoch."""
    curve = rows.set_index("epoch")
    columns = [c for c in curve if pd.api.types.is_numeric_dtype(curve[c])]
    epochs = (*(lasting_onset(rows) if len(rows) else (NAN, NAN)), curve.index.max() if len(rows) else NAN)
    if np.isnan(epochs[0]):
        epochs = NAN, NAN, NAN
    return tuple(pd.Series(NAN, columns) if np.isnan(e) else curve.loc[e, columns].astype(float) for e in epochs)


def _free(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of networks without weight decay: with it the loss does not tend to 0."""
    return rows[rows["weight_decay"] == 0]


def _difference(rows: pd.DataFrame, column: str) -> float:
    _, middle, last = _ends(_free(rows))
    return last[column] - middle[column]


def _gain(rows: pd.DataFrame) -> np.ndarray:
    """Test accuracy gained, in points, from the first epoch of each network's terminal phase to its last (F, S)."""
    return 100 * (table(rows, "terminal_test_error") - table(rows, "test_error"))


def _growth(rows: pd.DataFrame) -> np.ndarray:
    """Growth of the normalised margin's 5% quantile over the same epochs (F, S)."""
    return table(rows, "normalised_q05") - table(rows, "terminal_normalised_q05")


def _association(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation of x and y (F, S) over the first axis, mean over the second; nan where a number is missing or all are equal."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or (np.ptp(x, axis=0) == 0).any() or (np.ptp(y, axis=0) == 0).any():
        return NAN
    return float(np.mean([stats.spearmanr(a, b).statistic for a, b in zip(x.T, y.T, strict=True)]))


def _order(rows: pd.DataFrame, column: str) -> float:
    means = rows.groupby("frame")[[column, "test_error"]].mean().round(9)  # equal up to rounding is equal
    if means[column].isna().any() or (means.nunique() < 2).any():
        return NAN
    return float(stats.spearmanr(means[column], means["test_error"]).statistic)
