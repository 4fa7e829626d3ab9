"""The numbers behind the claims on cascading collapse. Each takes the rows of one seed of one network, read in one way."""

from functools import cache

import numpy as np
import pandas as pd

from ncbook.claims.curves import onset

NAN = float("nan")


def at_end(rows: pd.DataFrame, *, split: str = "train", epoch: float | None = None) -> pd.DataFrame:
    """One row a layer, input first where it is among the rows: at the last epoch unless told."""
    epoch = rows["epoch"].max() if epoch is None else epoch
    return rows[(rows["split"] == split) & (rows["epoch"] == epoch)].sort_values("depth").set_index("depth")


def terminal_fall(rows: pd.DataFrame, *, split: str = "train") -> pd.Series:
    """V of each layer at the last epoch, over that where the terminal phase began, by depth from 1; empty when it never began."""
    if np.isnan(begins := onset(rows)):
        return pd.Series(dtype=float)
    before, after = (at_end(rows, split=split, epoch=epoch)["variance_ratio"] for epoch in (begins, rows["epoch"].max()))
    return (after / before).loc[1:]


def next_to_last_fall(rows: pd.DataFrame) -> float:
    """V of the layer before the last at the last epoch, over that where the terminal phase began, on train."""
    fall = terminal_fall(rows)
    return float(fall.iloc[-2]) if len(fall) > 1 else NAN


def typical_earlier_fall(rows: pd.DataFrame) -> float:
    """The median over the layers before the last of V at the last epoch over that where the terminal phase began: below 0.5 when most have
    halved."""
    fall = terminal_fall(rows).iloc[:-1]
    return float(fall.median()) if len(fall) else NAN


def depth_order(rows: pd.DataFrame) -> float:
    """Kendall's tau between depth and V over the layers (from 1) at the last epoch, on train: -1 when V falls at every step."""
    v = at_end(rows)["variance_ratio"].loc[1:].to_numpy()
    i, j = np.triu_indices(len(v), 1)
    return float(np.sign(v[j] - v[i]).mean())


def slope_made_by_training(rows: pd.DataFrame) -> float:
    """Decades of V a layer: the slope over depth at the last epoch minus that of the untrained network, on train."""
    trained, untrained = (at_end(rows, epoch=epoch)["variance_ratio"].loc[1:] for epoch in (rows["epoch"].max(), 0))
    return float(line(trained)["slope"] - line(untrained)["slope"])


def chance_of_straighter(rows: pd.DataFrame) -> float:
    """Share of random falling curves on which a straight line fits better than on log NC1 against depth, on train at the last epoch.

    NC1 is He & Su's D over the number of classes, so that the two have the same slope and fit. 1 where the line rises.
    """
    return _chance(at_end(rows)["nc1"])


def chance_of_straighter_at_onset(rows: pd.DataFrame) -> float:
    """Share of random falling curves on which a line fits better than on log NC1 against depth, where the terminal phase begins; nan when
    it never did."""
    begins = rows["terminal_epoch"].max()
    return NAN if np.isnan(begins) else _chance(at_end(rows, epoch=begins)["nc1"])


def _chance(values: pd.Series) -> float:
    fit = line(values)
    return float((random_fits(int(fit["layers"])) >= fit["r_squared"]).mean()) if fit["slope"] < 0 else 1.0


def stall(rows: pd.DataFrame) -> float:
    """Decades that V on test falls short of half of what it falls on train, from the middle layer to the last, at the last epoch."""
    return _lag(rows, "variance_ratio")


def stall_without_labels(rows: pd.DataFrame) -> float:
    """Decades that the squared distance to the nearest train mean over Tr Sigma_B, which uses no test label, falls short on test of half of
    its fall on train.

    From the middle layer to the last, at the last epoch.
    """
    return _lag(rows, "weak_nearest_mean")


def _lag(rows: pd.DataFrame, column: str) -> float:
    falls = {}
    for split in ("train", "test"):
        v = np.log10(at_end(rows, split=split)[column].loc[1:])
        falls[split] = v.iloc[-1] - v.loc[(v.index.max() + 1) // 2]  # 8 layers: from layer 4 to 8
    return float(falls["test"] - 0.5 * falls["train"])


def line(values: pd.Series) -> pd.Series:
    """Least-squares line through log10 of `values` over their index, the depth: what the law of separation says, and how far it holds.

    ``slope`` (decades a layer), ``rate`` (the factor a layer), ``r_squared``, ``worst`` (largest residual over the fall of the line) and
    ``r_squared_kink``: that of the best two joined pieces, with the kink at a layer, which is never below the line's.

    >>> line(pd.Series([1, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6])).round(6)[["slope", "rate", "r_squared", "worst"]].tolist()
    [-1.0, 0.1, 1.0, 0.0]
    """
    x, y = values.index.to_numpy(float), np.log10(values.to_numpy())
    n = len(x)
    straight, rss = _least_squares(np.stack([np.ones(n), x], 1), y)
    slope = straight[1]
    fitted = straight[0] + slope * x
    total = float(((y - y.mean()) ** 2).sum())
    kinks = [_least_squares(np.stack([np.ones(n), x, np.maximum(x - k, 0)], 1), y)[1] for k in x[1:-1]]
    return pd.Series(
        {
            "layers": n,
            "intercept": straight[0],
            "slope": slope,
            "rate": 10**slope,
            "r_squared": 1 - rss / total if total > 0 else NAN,
            "worst": float(np.abs(y - fitted).max() / abs(slope * (x[-1] - x[0]))) if slope else NAN,
            "r_squared_kink": 1 - min(kinks) / total if total > 0 else NAN,
        }
    )


@cache
def random_fits(layers: int, *, draws: int = 20_000) -> np.ndarray:
    """R² of a line on random falling curves of so many layers: the ends are fixed, the steps between them are uniform spacings (draws,).

    What a curve that falls, and has no law, would give; its median is above 0.9 for any depth.

    >>> bool(np.median(random_fits(9)) > 0.93), bool(np.quantile(random_fits(9), 0.95) > 0.97)
    (True, True)
    """
    steps = np.random.default_rng(0).exponential(size=(draws, layers - 1))
    curves = np.concatenate([np.zeros((draws, 1)), -steps.cumsum(1)], axis=1)
    x = np.arange(layers) - (layers - 1) / 2
    centred = curves - curves.mean(1, keepdims=True)
    return (centred @ x) ** 2 / (x @ x) / (centred**2).sum(1)


def _least_squares(columns: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    solution = np.linalg.lstsq(columns, y, rcond=None)[0]
    return solution, float(((y - columns @ solution) ** 2).sum())
