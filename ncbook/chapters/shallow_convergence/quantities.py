"""The numbers behind the claims on shallow convergence. Each takes the rows of one seed; shares and means are over its starts.

A start *fits* when its loss has gone below `until`. Widths are told by the first layer's parameters a sample, width × dimension / samples:
`FEW` of them is what is judged, `FEWEST` is where no fit is expected, and the largest on record is where the lazy regime is.
"""

import numpy as np
import pandas as pd

NAN = float("nan")
FEWEST, FEW = 1, 5
FITTED = 1e-3  # for least squares, which stop at no loss
PLAIN = {"labels": "random", "second_rate": 0.0, "linearised": False}


def share_fitted(rows: pd.DataFrame) -> float:
    """Share of the starts with `FEW` parameters a sample that fit random labels, the first layer trained."""
    return _share(_of(rows, FEW, **PLAIN))


def share_fitted_fewest(rows: pd.DataFrame) -> float:
    """The same with one parameter a sample."""
    return _share(_of(rows, FEWEST, **PLAIN))


def share_fitted_worst(rows: pd.DataFrame) -> float:
    """Share with `FEW` that fit the worst labels."""
    return _share(_of(rows, FEW, **PLAIN | {"labels": "worst"}))


def share_fitted_worst_fewest(rows: pd.DataFrame) -> float:
    """The same with one parameter a sample."""
    return _share(_of(rows, FEWEST, **PLAIN | {"labels": "worst"}))


def share_fitted_both(rows: pd.DataFrame) -> float:
    """Share with `FEW` that fit random labels when both layers are trained; the smallest over the second layer's rates."""
    trained = _of(rows, FEW, labels="random", linearised=False)
    trained = trained[(trained["first_rate"] > 0) & (trained["second_rate"] > 0)]
    return min((_share(part) for _, part in trained.groupby("second_rate")), default=NAN)


def share_fitted_second(rows: pd.DataFrame) -> float:
    """The same when the second layer alone is trained."""
    return _share(_of(rows, FEW, labels="random", linearised=False, first_rate=0.0))


def share_fitted_linearised(rows: pd.DataFrame) -> float:
    """Share of the linearised networks with `FEW` that fit random labels."""
    return _share(_of(rows, FEW, **PLAIN | {"linearised": True}))


def share_fitted_linearised_fewest(rows: pd.DataFrame) -> float:
    """The same with one parameter a sample."""
    return _share(_of(rows, FEWEST, **PLAIN | {"linearised": True}))


def kernel_change(rows: pd.DataFrame) -> float:
    """Change of the tangent kernel over its first norm, both layers trained, mean over the starts with `FEW` that fit random labels; the
    smallest over the second layer's rates."""
    return _change(rows, FEW)


def kernel_change_wide(rows: pd.DataFrame) -> float:
    """The same with the most parameters on record."""
    return _change(rows, _per_sample(rows).max())


def structure_saves(rows: pd.DataFrame) -> float:
    """Movement with a teacher's labels over that with random ones; nan unless most starts fit both."""
    return _ratio(rows, "teacher")


def shuffling_saves(rows: pd.DataFrame) -> float:
    """The same with the teacher's labels shuffled."""
    return _ratio(rows, "shuffled")


def exponent(rows: pd.DataFrame) -> float:
    """Slope of log parameters needed against log samples, from the fewest samples to the most.

    Needed are those at the width of `half_width`; the dimension grows with the samples.
    """
    ends = [rows[rows["samples"] == n] for n in (rows["samples"].min(), rows["samples"].max())]
    if ends[0]["samples"].iloc[0] == ends[1]["samples"].iloc[0]:
        return NAN
    needed = [half_width(part) * part["dimension"].iloc[0] for part in ends]
    return float(np.log(needed[1] / needed[0]) / np.log(ends[1]["samples"].iloc[0] / ends[0]["samples"].iloc[0]))


def half_width(rows: pd.DataFrame) -> float:
    """The width at which half of the starts fit, by Spearman and Kärber: exp of the mean of log width under the distribution whose
    cumulative shares are those that fit, which is to end one step of width beyond those on record. nan unless at most a quarter fit at
    the least width and at least three quarters at the largest."""
    shares = _fits(rows).groupby(rows["width"]).mean().sort_index().cummax()
    if len(shares) < 2 or shares.iloc[0] > 0.25 or shares.iloc[-1] < 0.75:
        return NAN
    at = np.log(shares.index.to_numpy(dtype=float))
    at = np.concatenate([[2 * at[0] - at[1]], at, [2 * at[-1] - at[-2]]])
    return float(np.exp((np.diff([0, *shares, 1]) * (at[1:] + at[:-1]) / 2).sum()))


def _per_sample(rows: pd.DataFrame) -> pd.Series:
    return rows["width"] * rows["dimension"] / rows["samples"]


def _of(rows: pd.DataFrame, per_sample: float, **given) -> pd.DataFrame:
    """The rows with so many parameters a sample and of one arm; with the first layer trained unless `given` says otherwise."""
    kept = np.isclose(_per_sample(rows), per_sample)
    for name, value in given.items():
        kept &= rows[name] == value
    if "first_rate" not in given:
        kept &= rows["first_rate"] > 0
    return rows[kept]


def _fits(rows: pd.DataFrame) -> pd.Series:
    return rows["loss_end"] < rows.get("until", FITTED)


def _share(rows: pd.DataFrame) -> float:
    return float(_fits(rows).mean()) if len(rows) else NAN


def _change(rows: pd.DataFrame, per_sample: float) -> float:
    both = _of(rows, per_sample, labels="random", linearised=False)
    both = both[both["second_rate"] > 0]
    return min((_moved(part, "kernel_moved") for _, part in both.groupby("second_rate")), default=NAN)


def _moved(rows: pd.DataFrame, column: str = "moved") -> float:
    fitted = rows.loc[_fits(rows), column]
    return float(fitted.mean()) if len(rows) and len(fitted) > len(rows) / 2 else NAN


def _ratio(rows: pd.DataFrame, labels: str) -> float:
    return _moved(_of(rows, FEW, **PLAIN | {"labels": labels})) / _moved(_of(rows, FEW, **PLAIN))
