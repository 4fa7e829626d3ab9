"""The numbers behind the claims on margins and label alignment: from one seed's training, or from one layout of frames × seeds."""

import numpy as np
import pandas as pd
from scipy import special, stats

from ncbook.chapters.symmetric_generalization.quantities import table
from ncbook.claims import components
from ncbook.claims.curves import lasting_onset

NAN = float("nan")


def accuracy_rise(rows: pd.DataFrame) -> float:
    """Test accuracy at the last epoch less that at the first of the terminal phase, in points."""
    first, _, last = _ends(rows)
    return 100 * (first["test_error"] - last["test_error"])


def margin_rise(rows: pd.DataFrame) -> float:
    """Growth of p_min from twice the epoch at which the terminal phase begins to the last, without weight decay."""
    return _difference(rows, "p_min")


def normalised_rise(rows: pd.DataFrame) -> float:
    """Growth of the least normalised margin from twice the epoch at which the terminal phase begins to the last, without weight decay."""
    return _difference(rows, "normalised_min")


def norm_share(rows: pd.DataFrame) -> float:
    """Share of log p_min's growth that the norms' growth makes: 1 less the growth of the logarithm of the least normalised margin, over it.

    nan when p_min did not grow.
    """
    _, middle, last = _ends(_free(rows))
    grown = np.log(last["p_min"]) - np.log(middle["p_min"])
    return 1 - (np.log(last["normalised_min"]) - np.log(middle["normalised_min"])) / grown if grown > 0 else NAN


def bound_fall(rows: pd.DataFrame) -> float:
    """The margin bound's data-dependent part at the last epoch over the same at twice the epoch at which the terminal phase begins."""
    _, middle, last = _ends(_free(rows))
    return last["bound"] / middle["bound"]


def bound_end(rows: pd.DataFrame) -> float:
    """The margin bound's data-dependent part at the last epoch."""
    return _ends(_free(rows))[2]["bound"]


def svm_approach(rows: pd.DataFrame) -> float:
    """1 - cosine between classifier and support vector machine, at the last epoch over the same at twice the terminal phase's first
    epoch."""
    _, middle, last = _ends(_free(rows))
    return (1 - last["svm_cosine"]) / (1 - middle["svm_cosine"])


def gain_score(rows: pd.DataFrame) -> float:
    """The p-value, as a normal score, of the permutation test for frames in the gain of the terminal phase; standard normal when frames do
    not matter."""
    return _score(_gain(rows))


def gain_variance(rows: pd.DataFrame) -> float:
    """Variance that frames add to the gain, in squared points; unbiased, so that it may be negative."""
    y = _gain(rows)
    return components.variance(y) if np.isfinite(y).all() else NAN


def accuracy_score(rows: pd.DataFrame) -> float:
    """The p-value, as a normal score, of the permutation test for frames in the last test accuracy, as if all networks had collapsed
    equally.

    What log V and log loss of the training set explain of the accuracy within seeds is taken out.
    """
    y, *covariates = (table(rows, c) for c in ("test_error", "train_variance_ratio", "train_loss"))
    if not all((c > 0).all() for c in covariates):
        return NAN
    x = np.stack([_within(np.log(c)).ravel() for c in covariates], axis=1)
    y = _within(-100 * y)
    return _score(y - (x @ np.linalg.lstsq(x, y.ravel(), rcond=None)[0]).reshape(y.shape))


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


def spreads(rows: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation over alignments of the gain and of the last test accuracy, in points, pooled over one arm's layouts: for a figure.

    A row each (``of``), with its mean, the 95% interval, and the p-value of the permutation test; nan where a network of the arm has no
    gain.
    """
    layouts = [one for _, one in rows.groupby("layout")]
    gain = np.stack([_gain(one) for one in layouts])  # (layouts, F, S)
    accuracy = np.stack([100 * (1 - table(one, "test_error")) for one in layouts])
    found = []
    for name, y in (("gain", gain), ("last accuracy", accuracy)):
        pooled = components.component(y) if np.isfinite(y).all() else None
        deviations = {key: np.sqrt(max(getattr(pooled, key), 0.0)) if pooled else NAN for key in ("estimate", "low", "high")}
        found.append({"of": name, "mean": float(np.nanmean(y)), **deviations, "p": pooled.p if pooled else NAN})
    return pd.DataFrame(found)


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


def _score(y: np.ndarray) -> float:
    return float(-special.ndtri(components.component(y).p - 0.5 / 1000)) if np.isfinite(y).all() else NAN


def _order(rows: pd.DataFrame, column: str) -> float:
    means = rows.groupby("frame")[[column, "test_error"]].mean().round(9)  # equal up to rounding is equal
    if means[column].isna().any() or (means.nunique() < 2).any():
        return NAN
    return float(stats.spearmanr(means[column], means["test_error"]).statistic)


def _within(y: np.ndarray) -> np.ndarray:
    return y - y.mean(0)
