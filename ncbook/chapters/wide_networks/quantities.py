"""The numbers behind the claims on wide networks. Each takes the rows of one seed in one setting.

V is that of the features before the last layer. The *main* runs are those at the largest weight decay on record, which balances longest:
fixed before any run. Where several have a head of two or more layers, a claim about all of them takes the one that speaks most against it.
"""

import numpy as np
import pandas as pd

from ncbook.claims.curves import onset
from ncbook.theory.balancedness import collapse_bound, least_alignment, recalled_bound, root_of_product

NAN = float("nan")


def collapse_fall(rows: pd.DataFrame) -> float:
    """V at the last epoch over V where the terminal phase begins; the largest of the main runs with a head."""
    return _most([_fall(run) for run in _heads(_main(rows))], max)


def collapse_from_start(rows: pd.DataFrame) -> float:
    """V at the last epoch over V with the first weights; the largest of the main runs with a head."""
    return _most([_v(_features(run)) / _v(_features(run[run["epoch"] == 0])) for run in _heads(_main(rows))], max)


def conditioning_gain(rows: pd.DataFrame) -> float:
    """Condition number of the class means before the last layer: longest head over shortest, main runs, last epoch."""
    longest, shortest = _extremes(rows, "linear_layers")
    return _features(longest)["kappa_means"] / _features(shortest)["kappa_means"]


def conditioning_within(rows: pd.DataFrame) -> float:
    """Inside the longest head: the condition number of the class means after a linear layer over that before it, the largest such ratio."""
    end = _end(_extremes(rows, "linear_layers")[0])
    head = end[(end.index >= end.index.max() - end["linear_layers"].iloc[0]) & (end.index < end.index.max())]
    values = head["kappa_means"].to_numpy()
    return float(np.max(values[1:] / values[:-1])) if len(values) > 1 else NAN


def root_ratio(rows: pd.DataFrame) -> float:
    """kappa of the last layer over the root of the head's, as balance would have it: of the main runs with a head, the farthest from 1."""
    ends = [_end(run) for run in _heads(_main(rows))]
    ratios = [_kappa(end) / root_of_product(end["kappa_product"].iloc[-1], end["linear_layers"].iloc[-1]) for end in ends]
    return _most(ratios, lambda r: max(r, key=lambda v: abs(np.log(v))))


def alignment_excess(rows: pd.DataFrame) -> float:
    """Mean cosine of features and classifier rows minus 2 / (kappa + 1/kappa); the smallest of the main runs with a head."""
    runs = _heads(_main(rows))
    return _most([_features(run)["alignment"] - float(least_alignment(_kappa(_end(run)))) for run in runs], min)


def alignment_gain(rows: pd.DataFrame) -> float:
    """Mean cosine of features and classifier rows: longest head minus shortest, main runs, last epoch."""
    longest, shortest = _extremes(rows, "linear_layers")
    return _features(longest)["alignment"] - _features(shortest)["alignment"]


def balancing_rate(rows: pd.DataFrame) -> float:
    """Measured over predicted rate at which the imbalance of linear pairs falls: mean over the pairs of the main runs.

    From the first measurement after a fifth of the balancing time to the last; 1 is the law d log(imbalance) = -2 eta lambda dt.
    """
    rates = []
    for run in _heads(_main(rows)):
        for _, pair in run[run["linear"] & run["imbalance"].notna()].groupby("layer"):
            curve = pair.set_index("balancing_time")["imbalance"].sort_index()
            late = curve[curve.index >= curve.index.max() / 5]
            rates.append(np.log(late.iloc[0] / late.iloc[-1]) / (late.index[-1] - late.index[0]) if len(late) > 1 else NAN)
    return _most(rates, np.mean)


def balance_contrast(rows: pd.DataFrame) -> float:
    """Relative imbalance of the pairs of linear layers over that of the others, geometric means, main runs, last epoch."""
    end = _main(rows)
    end = end[(end["epoch"] == end["epoch"].max()) & (end["linear_layers"] > 1)]
    pairs = end.dropna(subset=["balancedness"])
    means = np.log(pairs["balancedness"]).groupby(pairs["linear"]).mean()
    return float(np.exp(means.get(True, NAN) - means.get(False, NAN)))


def bound_ratio(rows: pd.DataFrame) -> float:
    """The bound on V that the imbalance gives over V itself, last epoch; the largest of the main runs with a head."""
    return _most([_bound(_end(run)) / _v(_features(run)) for run in _heads(_main(rows))], max)


def floor_ratio(rows: pd.DataFrame) -> float:
    """V at the last epoch at the largest weight decay over that at the smallest, for as many linear layers."""
    decays = [rows[rows["weight_decay"] == w] for w in (rows["weight_decay"].max(), rows["weight_decay"].min())]
    both = set(decays[0]["linear_layers"]) & set(decays[1]["linear_layers"])
    if decays[0]["weight_decay"].iloc[0] == decays[1]["weight_decay"].iloc[0] or len(both) != 1:
        return NAN
    high, low = (_v(_features(part[part["linear_layers"].isin(both)])) for part in decays)
    return high / low


def depth_balancedness(rows: pd.DataFrame) -> float:
    """Mean relative imbalance of the pairs with a nonlinearity between them, last epoch: most nonlinear layers over fewest."""
    return _depth(rows, lambda end: end.loc[~end["linear"] & (end.index > 0), "balancedness"].mean())


def depth_negativity(rows: pd.DataFrame) -> float:
    """Mean negativity of the pre-activations of the nonlinear layers, last epoch: most nonlinear layers over fewest."""
    return _depth(rows, lambda end: end.loc[~end["linear"] & (end.index > 0), "negativity"].mean())


def bounds(rows: pd.DataFrame) -> pd.DataFrame:
    """V before the last layer of the longest head, our bound on it and the theorem's as recalled, one row an epoch and seed: for a figure.

    The rows have the columns ``from_end`` (0: the outputs), ``pair`` (both of the head), ``variance_ratio`` and ``kappa_weight`` as well.
    """
    keys = ["dataset", "model", "seed", "epoch", "terminal_epoch"]
    rows = rows[rows["linear_layers"] == rows["linear_layers"].max()]
    outputs, features, earlier = (rows[rows["from_end"] == k].set_index(keys) for k in (0, 1, 2))
    network = rows[rows["layer"] > 0].groupby(keys, dropna=False)
    largest = np.maximum(network["feature_norm"].max(), network["weight_largest"].max()).reindex(features.index)
    ours = collapse_bound(
        kappa=outputs["kappa_weight"],
        largest=outputs["weight_largest"],
        imbalance=features["imbalance"],
        output_within=outputs["within"],
        output_between=outputs["between"],
        earlier_within=earlier["within"],
    )
    imbalance = rows[rows["pair"]].groupby(keys, dropna=False)["imbalance"].max().reindex(features.index)
    shape = {"width": features["dimension"], "samples": features["samples"], "classes": 10}
    recalled = recalled_bound(residual=outputs["residual"], imbalance=imbalance, norm=largest, **shape)
    return features[["variance_ratio"]].assign(ours=ours, recalled=recalled).reset_index()


def _depth(rows: pd.DataFrame, value) -> float:
    deepest, shallowest = (
        _end(rows[rows["nonlinear_layers"] == n]) for n in (rows["nonlinear_layers"].max(), rows["nonlinear_layers"].min())
    )
    return value(deepest) / value(shallowest) if len(deepest) != len(shallowest) else NAN


def _main(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["weight_decay"] == rows["weight_decay"].max()]


def _heads(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The runs whose head has two or more layers, one table each."""
    return [run for n, run in rows.groupby("linear_layers") if n > 1]


def _extremes(rows: pd.DataFrame, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    main = _main(rows)
    return main[main[column] == main[column].max()], main[main[column] == main[column].min()]


def _end(run: pd.DataFrame) -> pd.DataFrame:
    """The last epoch's rows of one run, by layer."""
    return run[run["epoch"] == run["epoch"].max()].set_index("layer").sort_index()


def _features(run: pd.DataFrame) -> pd.Series:
    """The row of the features before the last layer, at the last epoch."""
    return _end(run).iloc[-2]


def _v(row: pd.Series) -> float:
    return row["within"] / row["between"]


def _kappa(end: pd.DataFrame) -> float:
    """Condition number of the last weight matrix."""
    return end["weight_largest"].iloc[-1] / end["weight_smallest"].iloc[-1]


def _bound(end: pd.DataFrame) -> float:
    earlier, features, output = (end.iloc[i] for i in (-3, -2, -1))
    return float(
        collapse_bound(
            kappa=_kappa(end),
            largest=output["weight_largest"],
            imbalance=features["imbalance"],
            output_within=output["within"],
            output_between=output["between"],
            earlier_within=earlier["within"],
        )
    )


def _fall(run: pd.DataFrame) -> float:
    if np.isnan(begins := onset(run)):
        return NAN
    return _v(_features(run)) / _v(_features(run[run["epoch"] <= begins]))


def _most(values: list[float], choose) -> float:
    """`choose` of the values; nan when there are none, or one is nan."""
    return float(choose(values)) if values and np.isfinite(values).all() else NAN
