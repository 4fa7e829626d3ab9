"""The numbers behind the claims on wide networks. Each takes the rows of one seed in one setting.

V is that of the features before the last layer. *Balanced* runs are those at the largest weight decay on record, fixed before any run;
*free* ones have no weight decay. Where several have a head of two or more layers, a claim about all of them takes the one that speaks most
against it.
"""

from collections.abc import Callable
from functools import wraps

import numpy as np
import pandas as pd

from ncbook.theory.balancedness import collapse_bound, least_alignment, recalled_bound, root_of_product

NAN = float("nan")
FITTED = 0.01  # training error at the last epoch: the theory asks for labels that are approximately fitted
RUN = ["linear_layers", "nonlinear_layers", "width", "weight_decay"]  # what tells one run of a table from another


def where_fitted(quantity: Callable[[pd.DataFrame], float]) -> Callable[[pd.DataFrame], float]:
    """The quantity, undefined (nan) unless all networks of the table end with at most one in a hundred training images wrong."""

    @wraps(quantity)
    def guarded(rows: pd.DataFrame) -> float:
        last = rows["epoch"] == rows.groupby(RUN, dropna=False)["epoch"].transform("max")
        return quantity(rows) if rows.loc[last, "train_error"].max() <= FITTED else NAN

    return guarded


@where_fitted
def collapse(rows: pd.DataFrame) -> float:
    """V at the last epoch; the largest of the balanced runs with a head."""
    return _most([_v(_features(run)) for run in _heads(_balanced(rows))], max)


@where_fitted
def collapse_free(rows: pd.DataFrame) -> float:
    """V at the last epoch without weight decay, with the shortest head of two or more layers."""
    return _v(_features(runs[0])) if (runs := _heads(_free(rows))) else NAN


@where_fitted
def room(rows: pd.DataFrame) -> float:
    """V of the features over V of the outputs, last epoch; the largest of the balanced runs with a head."""
    return _most([_room(run) for run in _heads(_balanced(rows))], max)


@where_fitted
def room_free(rows: pd.DataFrame) -> float:
    """The same without weight decay; the smallest."""
    return _most([_room(run) for run in _heads(_free(rows))], min)


@where_fitted
def conditioning_gain(rows: pd.DataFrame) -> float:
    """Condition number of the class means before the last layer, last epoch: with linear layers added over without."""
    return _added(rows, "linear_layers", lambda more, base: more["kappa_means"] / base["kappa_means"])


@where_fitted
def conditioning_gain_nonlinear(rows: pd.DataFrame) -> float:
    """The same with as many nonlinear layers added."""
    return _added(rows, "nonlinear_layers", lambda more, base: more["kappa_means"] / base["kappa_means"])


@where_fitted
def alignment_gain(rows: pd.DataFrame) -> float:
    """Mean cosine of features and classifier rows, last epoch: with linear layers added minus without."""
    return _added(rows, "linear_layers", lambda more, base: more["alignment"] - base["alignment"])


@where_fitted
def alignment_gain_nonlinear(rows: pd.DataFrame) -> float:
    """The same with as many nonlinear layers added."""
    return _added(rows, "nonlinear_layers", lambda more, base: more["alignment"] - base["alignment"])


@where_fitted
def conditioning_within(rows: pd.DataFrame) -> float:
    """Inside the longest head: the condition number of the class means after a linear layer over that before it, the largest such ratio."""
    return _within(_end(_longest(rows)))


def conditioning_within_at_start(rows: pd.DataFrame) -> float:
    """The same with the first weights."""
    return _within(_first(_longest(rows)))


@where_fitted
def root_ratio(rows: pd.DataFrame) -> float:
    """kappa of the last layer over the root of the head's, as balance would have it: of the main runs with a head, the farthest from 1."""
    ends = [_end(run) for run in _heads(_balanced(rows))]
    ratios = [_kappa(end) / root_of_product(end["kappa_product"].iloc[-1], end["linear_layers"].iloc[-1]) for end in ends]
    return _most(ratios, lambda r: max(r, key=lambda v: abs(np.log(v))))


@where_fitted
def alignment_excess(rows: pd.DataFrame) -> float:
    """Mean cosine of features and classifier rows minus 2 / (kappa + 1/kappa); the smallest of the main runs with a head."""
    runs = _heads(_balanced(rows))
    return _most([_features(run)["alignment"] - float(least_alignment(_kappa(_end(run)))) for run in runs], min)


@where_fitted
def balancing_rate(rows: pd.DataFrame) -> float:
    """Measured over predicted rate at which the imbalance of linear pairs falls: mean over the pairs of the balanced runs.

    From the first measurement after a fifth of the balancing time to the last; 1 is the law d log(imbalance) = -2 eta lambda dt.
    """
    return _rate(rows, _balanced(rows))


@where_fitted
def balancing_rate_free(rows: pd.DataFrame) -> float:
    """The same without weight decay, in the time that balances the balanced runs."""
    return _rate(rows, _free(rows))


@where_fitted
def balance_contrast(rows: pd.DataFrame) -> float:
    """Relative imbalance of the pairs of linear layers over that of the others, geometric means, balanced runs, last epoch."""
    pairs = _end(_balanced(rows)).dropna(subset=["balancedness"])
    means = np.log(pairs["balancedness"]).groupby(pairs["linear"]).mean()
    return float(np.exp(means.get(True, NAN) - means.get(False, NAN)))


@where_fitted
def bound_ratio(rows: pd.DataFrame) -> float:
    """The bound on V that the imbalance gives over V itself, last epoch; the largest of the main runs with a head."""
    return _most([_bound(_end(run)) / _v(_features(run)) for run in _heads(_balanced(rows))], max)


@where_fitted
def floor_ratio(rows: pd.DataFrame) -> float:
    """V at the last epoch at the largest weight decay over that at the next."""
    return _next_decay(rows, 0)


@where_fitted
def floor_ratio_free(rows: pd.DataFrame) -> float:
    """V at the last epoch at the smaller weight decay over that at none."""
    return _next_decay(rows, 1)


@where_fitted
def depth_balancedness(rows: pd.DataFrame) -> float:
    """Mean relative imbalance of the pairs with a nonlinearity between them, last epoch: most nonlinear layers over fewest."""
    return _depth(rows, "balancedness", _end)


def depth_balancedness_at_start(rows: pd.DataFrame) -> float:
    """The same with the first weights."""
    return _depth(rows, "balancedness", _first)


@where_fitted
def depth_negativity(rows: pd.DataFrame) -> float:
    """Mean negativity of the pre-activations of the nonlinear layers, last epoch: most nonlinear layers over fewest."""
    return _depth(rows, "negativity", _end)


def depth_negativity_at_start(rows: pd.DataFrame) -> float:
    """The same with the first weights."""
    return _depth(rows, "negativity", _first)


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


def _depth(rows: pd.DataFrame, column: str, at: Callable) -> float:
    depths = sorted(rows["nonlinear_layers"].unique())
    if len(depths) < 2:
        return NAN
    shallow, *_, deep = (at(rows[rows["nonlinear_layers"] == n]) for n in depths)
    shallow, deep = (end.loc[~end["linear"] & (end.index > 0), column].mean() for end in (shallow, deep))
    return deep / shallow


def _balanced(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["weight_decay"] == rows["weight_decay"].max()]


def _free(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["weight_decay"] == 0]


def _heads(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The runs whose head has two or more layers, one table each, the shortest first."""
    return [run for n, run in rows.groupby("linear_layers") if n > 1]


def _longest(rows: pd.DataFrame) -> pd.DataFrame:
    rows = _balanced(rows)
    return rows[rows["linear_layers"] == rows["linear_layers"].max()]


def _added(rows: pd.DataFrame, column: str, compare: Callable) -> float:
    """The features of the run with more layers of a kind, compared with those of the one that has the fewest of both kinds."""
    fewest = rows[["nonlinear_layers", "linear_layers"]].min()
    of_base = (rows[list(fewest.index)] == fewest).all(axis=1)
    more = rows[rows[column] > fewest[column]]
    return float(compare(_features(more), _features(rows[of_base]))) if len(more) else NAN


def _within(end: pd.DataFrame) -> float:
    head = end[(end.index >= end.index.max() - end["linear_layers"].iloc[0]) & (end.index < end.index.max())]
    values = head["kappa_means"].to_numpy()
    return float(np.max(values[1:] / values[:-1])) if len(values) > 1 else NAN


def _rate(rows: pd.DataFrame, runs: pd.DataFrame) -> float:
    clock = _balanced(rows).groupby("epoch")["balancing_time"].first()
    rates = []
    for run in _heads(runs):
        for _, pair in run[run["linear"] & run["imbalance"].notna()].groupby("layer"):
            curve = pair.set_index("epoch")["imbalance"].sort_index()
            time = np.interp(curve.index, clock.index, clock)
            late = time >= clock.max() / 5
            curve, time = curve[late].to_numpy(), time[late]
            rates.append(np.log(curve[0] / curve[-1]) / (time[-1] - time[0]) if len(time) > 1 else NAN)
    return _most(rates, np.mean)


def _next_decay(rows: pd.DataFrame, which: int) -> float:
    decays = sorted(rows["weight_decay"].unique(), reverse=True)
    if len(decays) < which + 2:
        return NAN
    high, low = (_v(_features(rows[rows["weight_decay"] == w])) for w in decays[which : which + 2])
    return high / low


def _first(run: pd.DataFrame) -> pd.DataFrame:
    return run[run["epoch"] == 0].set_index("layer").sort_index()


def _end(run: pd.DataFrame) -> pd.DataFrame:
    """The last epoch's rows of one run, by layer."""
    return run[run["epoch"] == run["epoch"].max()].set_index("layer").sort_index()


def _features(run: pd.DataFrame) -> pd.Series:
    """The row of the features before the last layer, at the last epoch."""
    return _end(run).iloc[-2]


def _v(row: pd.Series) -> float:
    return row["within"] / row["between"]


def _room(run: pd.DataFrame) -> float:
    end = _end(run)
    return _v(end.iloc[-2]) / _v(end.iloc[-1])


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


def _most(values: list[float], choose) -> float:
    """`choose` of the values; nan when there are none, or one is nan."""
    return float(choose(values)) if values and np.isfinite(values).all() else NAN
