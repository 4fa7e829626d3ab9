"""The numbers behind the claims on cascading collapse. Each takes the rows of one seed of one network, read in one way."""

import numpy as np
import pandas as pd

from ncbook.claims.curves import onset

NAN = float("nan")
DECADE = 1.0  # what the last layer must have fallen by before anything is said about the others
STEEPEST = 10.0  # the ratio of two slopes of which one does not fall


def at_end(rows: pd.DataFrame, *, split: str = "train", epoch: float | None = None) -> pd.DataFrame:
    """One row a layer, input first where it is among the rows: at the last epoch unless told."""
    epoch = rows["epoch"].max() if epoch is None else epoch
    return rows[(rows["split"] == split) & (rows["epoch"] == epoch)].sort_values("depth").set_index("depth")


# --- the terminal phase ---------------------------------------------------------------------------------------------------------------


def terminal_decades(rows: pd.DataFrame, *, split: str = "train") -> pd.Series:
    """Decades that V of each layer falls from where the terminal phase begins to the last epoch, by depth from 1; empty when it never
    began."""
    if np.isnan(begins := onset(rows)):
        return pd.Series(dtype=float)
    before, after = (at_end(rows, split=split, epoch=epoch)["variance_ratio"] for epoch in (begins, rows["epoch"].max()))
    return np.log10(before / after).loc[1:]


def shares(rows: pd.DataFrame, *, least: float = DECADE) -> pd.Series:
    """Each layer's decades over those of the last layer, on train; empty where the last falls by less than `least` decades.

    Under the law of separation with a rate that falls from one epoch to another, log D_l changes by l times the same number: the share
    of layer l of L is l / L.
    """
    decades = terminal_decades(rows)
    return decades / decades.iloc[-1] if len(decades) and decades.iloc[-1] >= least else pd.Series(dtype=float)


def next_to_last_share(rows: pd.DataFrame) -> float:
    """The share of the layer before the last in the last layer's decades."""
    found = shares(rows)
    return float(found.iloc[-2]) if len(found) > 1 else NAN


def typical_earlier_share(rows: pd.DataFrame) -> float:
    """The median share over the layers before the last."""
    return float(shares(rows).iloc[:-1].median())


def typical_earlier_share_from_half(rows: pd.DataFrame) -> float:
    """The same where the last layer falls by half a decade at least: for labels that take long to learn."""
    return float(shares(rows, least=DECADE / 2).iloc[:-1].median())


def last_decades(rows: pd.DataFrame) -> float:
    """Decades that V of the last layer falls over the terminal phase, on train."""
    decades = terminal_decades(rows)
    return float(decades.iloc[-1]) if len(decades) else NAN


def most_earlier_decades(rows: pd.DataFrame) -> float:
    """Decades that V falls over the terminal phase in that layer before the last where it falls most, on train."""
    return float(terminal_decades(rows).iloc[:-1].max())


# --- order over depth -----------------------------------------------------------------------------------------------------------------


def depth_order(rows: pd.DataFrame, *, epoch: float | None = None) -> float:
    """Kendall's tau between depth and V over the layers (from 1) at the last epoch, on train: -1 when V falls at every step."""
    v = at_end(rows, epoch=epoch)["variance_ratio"].loc[1:].to_numpy()
    i, j = np.triu_indices(len(v), 1)
    return float(np.sign(v[j] - v[i]).mean())


def depth_order_untrained(rows: pd.DataFrame) -> float:
    """The same before training."""
    return depth_order(rows, epoch=0)


def slope_made_by_training(rows: pd.DataFrame) -> float:
    """Decades of V a layer: the slope over depth at the last epoch minus that of the untrained network, on train."""
    trained, untrained = (at_end(rows, epoch=epoch)["variance_ratio"].loc[1:] for epoch in (rows["epoch"].max(), 0))
    return float(line(trained)["slope"] - line(untrained)["slope"])


# --- the law of separation ------------------------------------------------------------------------------------------------------------


def slope_ratio(rows: pd.DataFrame, *, epoch: float | None = None) -> float:
    """The second slope over the first of the two joined pieces that fit log D against depth best, on train at the last epoch; nan where D
    falls by less than a decade from the first place to the last.

    NC1 is He & Su's D over the number of classes, so that the two have the same slopes.
    """
    separation = at_end(rows, epoch=epoch)["nc1"]
    return bend(separation)["ratio"] if np.log10(separation.iloc[0] / separation.iloc[-1]) >= DECADE else NAN


def slope_ratio_at_onset(rows: pd.DataFrame) -> float:
    """The same where the terminal phase begins; nan when it never did."""
    return NAN if np.isnan(begins := onset(rows)) else slope_ratio(rows, epoch=begins)


def bend_untrained(rows: pd.DataFrame) -> float:
    """The steeper slope over the flatter one before training; D need not fall there, and then it is the largest ratio."""
    ratio = bend(at_end(rows, epoch=0)["nc1"])["ratio"]
    return max(ratio, 1 / ratio)


def bend(values: pd.Series) -> pd.Series:
    """Where log10 of `values` over their index, the depth, bends: the two joined pieces of at least two steps each that fit best.

    ``joint`` (the depth), ``first`` and ``second`` (decades a layer), ``start`` (the first piece at depth 0, in decades) and ``ratio``,
    second over first. It is cut at `STEEPEST` and its inverse, and is there where one piece falls and the other does not; where neither
    does, it is `STEEPEST`.

    >>> bend(pd.Series(10.0 ** -np.array([0, 1, 2, 3, 4, 6, 8, 10, 12]))).round(6)[["joint", "ratio"]].tolist()
    [4.0, 2.0]
    """
    x, y = values.index.to_numpy(float), np.log10(values.to_numpy())
    found = []
    for joint in x[2:-2]:
        columns = np.stack([np.ones(len(x)), x, np.maximum(x - joint, 0)], 1)
        start, first, more = solution = np.linalg.lstsq(columns, y, rcond=None)[0]
        second = first + more
        ratio = min(max(second / first, 1 / STEEPEST), STEEPEST) if first < 0 else STEEPEST
        missed = ((y - columns @ solution) ** 2).sum()
        found.append({"missed": missed, "joint": joint, "start": start, "first": first, "second": second, "ratio": ratio})
    return pd.Series(min(found, key=lambda pieces: pieces["missed"]))


def line(values: pd.Series) -> pd.Series:
    """Least-squares line through log10 of `values` over their index, the depth: ``start`` (decades at depth 0), ``slope`` (decades a layer)
    and ``rate`` (the factor a layer).

    >>> line(pd.Series([10, 1, 0.1, 0.01])).round(6).tolist()
    [1.0, -1.0, 0.1]
    """
    slope, start = np.polyfit(values.index.to_numpy(float), np.log10(values.to_numpy()), 1)
    return pd.Series({"start": start, "slope": slope, "rate": 10**slope})


# --- the test set ---------------------------------------------------------------------------------------------------------------------


def share_on_test(rows: pd.DataFrame) -> float:
    """Decades that V on test falls from the middle layer to the last at the last epoch, over those on train; nan where these are less than
    one."""
    return _followed(rows, "variance_ratio")


def share_on_test_without_labels(rows: pd.DataFrame) -> float:
    """The same for the squared distance to the nearest train mean over Tr Sigma_B, which uses no test label."""
    return _followed(rows, "weak_nearest_mean")


def _followed(rows: pd.DataFrame, column: str) -> float:
    falls = {}
    for split in ("train", "test"):
        v = np.log10(at_end(rows, split=split)[column].loc[1:])
        falls[split] = v.loc[(v.index.max() + 1) // 2] - v.iloc[-1]  # 8 layers: from layer 4 to 8
    return float(falls["test"] / falls["train"]) if falls["train"] >= DECADE else NAN
