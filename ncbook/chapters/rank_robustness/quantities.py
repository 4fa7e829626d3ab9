"""The numbers behind the claims on rank. Each takes the rows of one seed in one setting.

A rank is only read where the network fits: a training loss of 0.05 or more makes the number undefined. What is said of filters that keep to
the clean data is said of filters that moved: with half or more of their first stable rank left at the end they have not, and the number
is undefined too. The *band* is the noise up to r = 2, fixed before any run. Generated data are read at the largest number of samples, but
where their number is what the claim is about.
"""

import numpy as np
import pandas as pd

from ncbook.data.patches import data_stable_rank

NAN = float("nan")
FITTED, BAND, RIGHT = 0.05, 2.0, 0.9  # training loss below, noise up to, test accuracy from which a network counts as working
MOVED, FAILED, CHANCE = 0.5, 0.75, 0.1  # share of the first stable rank left at most; accuracy below; accuracy by chance of ten classes
COUNT = "rank_above_0.1"


def data_growth(rows: pd.DataFrame) -> float:
    """Stable rank of the data's patches at the end of the band over that without noise."""
    s = _most_samples(rows[rows["matrix"] == "patches"]).set_index("noise")["stable_rank"]
    return s.get(BAND, NAN) / s.get(0.0, NAN)


def formula_gap(rows: pd.DataFrame) -> float:
    """Largest distance, over all noise levels and in decades, between the stable rank of the data's patches and its closed form."""
    data = _most_samples(rows[rows["matrix"] == "patches"])
    known = [
        data_stable_rank(r["noise"], patterns=r["patterns"], dimension=r["dimension"], samples=r["samples"], background=r["background"])
        for _, r in data.iterrows()
    ]
    return float(np.abs(np.log10(data["stable_rank"].to_numpy() / np.array(known))).max())


def filter_growth(rows: pd.DataFrame) -> float:
    """Stable rank of the trained filters at the end of the band over that without noise."""
    return _at_band(rows)["stable_rank"] / _trained_at(rows, 0.0)["stable_rank"]


def failed_growth(rows: pd.DataFrame) -> float:
    """Stable rank of the trained filters at the largest noise over that without noise; nan unless fewer than 3 in 4 test images are
    classified correctly there."""
    end = _trained_at(rows, rows["noise"].max())
    return end["stable_rank"] / _trained_at(rows, 0.0)["stable_rank"] if end["test_accuracy"] < FAILED else NAN


def share_of_intrinsic(rows: pd.DataFrame) -> float:
    """Stable rank of the trained filters at the end of the band over the number of patterns."""
    at = _at_band(rows)
    return at["stable_rank"] / at["patterns"]


def large_share_of_intrinsic(rows: pd.DataFrame) -> float:
    """The same with large first filters, whether or not they moved."""
    at = _trained_at(_large(rows), BAND)
    return at["stable_rank"] / at["patterns"]


def count_share(rows: pd.DataFrame) -> float:
    """Share of the networks of the band whose filters have as many singular values above 0.1 of the largest as there are patterns."""
    return _count_share(rows) if np.isfinite(_at_band(rows)["stable_rank"]) else NAN


def large_count_share(rows: pd.DataFrame) -> float:
    """The same with large first filters, whether or not they moved."""
    return _count_share(_large(rows))


def band_accuracy(rows: pd.DataFrame) -> float:
    """Test accuracy at the end of the band."""
    return _at_band(rows)["test_accuracy"]


def shuffled_accuracy(rows: pd.DataFrame) -> float:
    """Test accuracy at the largest noise after training on shuffled labels."""
    return _trained_at(rows[rows["shuffled"]], rows["noise"].max())["test_accuracy"]


def one_direction(rows: pd.DataFrame) -> float:
    """Share of the filters' energy along patterns that lies along each filter's strongest one, at the end of the band, of networks with
    several patterns a class."""
    return _at_band(_several(rows))["one_direction"]


def first_one_direction(rows: pd.DataFrame) -> float:
    """The same of the filters before training."""
    rows = _several(_most_samples(rows))
    first = rows[(rows["matrix"] == "filters") & (rows["step"] == 0) & (rows["noise"] == BAND)]
    return first["one_direction"].iloc[0] if len(first) else NAN


def chosen_at_start(rows: pd.DataFrame) -> float:
    """Share of the filters, by energy, that lie along the pattern of their class with which they started best aligned, at the end of the
    band, of networks with several patterns a class."""
    return _at_band(_several(rows))["chosen_at_start"]


def chosen_by_another(rows: pd.DataFrame) -> float:
    """The same with the start of any filter of the class in its place."""
    return _at_band(_several(rows))["chosen_by_another"]


def break_over_prediction(rows: pd.DataFrame) -> float:
    """Noise at which test accuracy falls below 0.9, at the most samples, over (samples / patterns)^(1/q)."""
    curve = _most_samples(_trained(rows))
    first = curve.iloc[0]
    return break_noise(curve) / (first["samples"] / first["patterns"]) ** (1 / first["power"])


def other_over_prediction(rows: pd.DataFrame) -> float:
    """Noise at which test accuracy falls below 0.9 with the other activation, at the most samples, over the cube root of samples /
    patterns."""
    curve = _most_samples(_trained(_other(rows)))
    first = curve.iloc[0]
    return break_noise(curve) / (first["samples"] / first["patterns"]) ** (1 / 3)


def break_exponent(rows: pd.DataFrame) -> float:
    """Least-squares slope of log noise at which accuracy falls below 0.9 on log samples, for the number of patterns that has most of
    them."""
    filters = _trained(rows)
    sizes = filters.groupby("patterns")["samples"].nunique()
    return _exponent(filters[filters["patterns"] == sizes.idxmax()])


def other_exponent(rows: pd.DataFrame) -> float:
    """The same slope with the other activation."""
    return _exponent(_trained(_other(rows)))


def exponent_each(rows: pd.DataFrame) -> float:
    """The same slope where every number of samples has its number of patterns, so that a pattern always has as many images."""
    return _exponent(_trained(rows[rows["power"] == rows["power"].max()]))


def break_noise(curve: pd.DataFrame) -> float:
    """Noise at which test accuracy first falls below 0.9, linear between the levels of one curve; nan when it does not, or starts there."""
    curve = _fitted(curve).sort_values("noise")
    noise, accuracy = curve["noise"].to_numpy(), curve["test_accuracy"].to_numpy()
    below = np.flatnonzero(accuracy < RIGHT)
    if not len(below) or below[0] == 0:
        return NAN
    i = below[0]
    return float(noise[i - 1] + (noise[i] - noise[i - 1]) * (accuracy[i - 1] - RIGHT) / (accuracy[i - 1] - accuracy[i]))


def failed_over_data(rows: pd.DataFrame) -> float:
    """Stable rank of the filters over that of the patches at the largest noise; nan unless fewer than 3 in 4 test images are classified
    correctly there."""
    return _over_data(rows) if _trained_at(rows, rows["noise"].max())["test_accuracy"] < FAILED else NAN


def large_over_data(rows: pd.DataFrame) -> float:
    """Stable rank of the filters that started large over that of the patches at the largest noise."""
    return _over_data(_large(rows))


def image_share(rows: pd.DataFrame) -> float:
    """Growth of the filter stable rank from no noise to the most, in decades, over that of the patches."""
    return _image_share(_main(rows), "stable_rank")


def image_share_by_heart(rows: pd.DataFrame) -> float:
    """Growth of the filter stable rank from no noise to the most and shuffled labels, in decades, over that of the patches."""
    most = rows["noise"].max()
    end, start, seen = _filters(_by_heart(rows), most), _filters(_main(rows), 0.0), [_patches(rows, r) for r in (0.0, most)]
    return float(np.log(end["stable_rank"] / start["stable_rank"]) / np.log(seen[1]["stable_rank"] / seen[0]["stable_rank"]))


def image_count_share(rows: pd.DataFrame) -> float:
    """Growth of the filters' number of singular values above 0.1 of the largest, in decades, over that of the patches."""
    return _image_share(_main(rows), COUNT)


def large_image_count_share(rows: pd.DataFrame) -> float:
    """The same with large first filters, whether or not they moved."""
    return _image_share(_large_image(rows), COUNT, moved=False)


def image_fall(rows: pd.DataFrame) -> float:
    """Stable rank of the filters after training over that before, at the most noise."""
    return _fall(_main(rows))


def large_image_fall(rows: pd.DataFrame) -> float:
    """The same with large first filters."""
    return _fall(_large_image(rows))


def by_heart_image_fall(rows: pd.DataFrame) -> float:
    """The same with shuffled labels."""
    return _fall(_by_heart(rows))


def image_over_intrinsic(rows: pd.DataFrame) -> float:
    """Stable rank of the filters at the most noise over the intrinsic dimension of the patches without noise."""
    return _over_intrinsic(rows, _main(rows)) if _fall(_main(rows)) < MOVED else NAN


def large_image_over_intrinsic(rows: pd.DataFrame) -> float:
    """The same with large first filters, whether or not they moved."""
    return _over_intrinsic(rows, _large_image(rows))


def by_heart_image_over_intrinsic(rows: pd.DataFrame) -> float:
    """The same with shuffled labels."""
    return _over_intrinsic(rows, _by_heart(rows))


def image_accuracy_kept(rows: pd.DataFrame) -> float:
    """Test accuracy above chance at the most noise over that without noise."""
    return _accuracy_kept(rows, _main(rows))


def by_heart_image_accuracy_kept(rows: pd.DataFrame) -> float:
    """The same with shuffled labels at the most noise."""
    return _accuracy_kept(rows, _by_heart(rows))


def _trained(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["matrix"] == "filters") & (rows["step"] == rows["step"].max())]


def _most_samples(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["samples"] == rows["samples"].max()]


def _several(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the numbers of patterns the fewest that make two or more a class."""
    return rows[rows["patterns"] == rows.loc[rows["patterns"] > 2, "patterns"].min()]


def _large(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["start"] == rows["start"].max()]


def _other(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["power"] == rows["power"].min()]


def _fitted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["train_loss"] < FITTED]


def _trained_at(rows: pd.DataFrame, noise: float) -> pd.Series:
    """The trained filters at one noise and the most samples; a row of nan where there are none that fit."""
    return _first(_fitted(_most_samples(_trained(rows))), noise)


def _first(rows: pd.DataFrame, noise: float) -> pd.Series:
    at = rows[rows["noise"] == noise]
    return at.iloc[0] if len(at) else pd.Series(NAN, index=rows.columns)


def _at_band(rows: pd.DataFrame) -> pd.Series:
    """The trained filters at the end of the band, if they have lost half of their first stable rank; else a row of nan."""
    at = _trained_at(rows, BAND)
    before = rows[(rows["matrix"] == "filters") & (rows["step"] == 0)]["stable_rank"]
    return at if len(before) and at["stable_rank"] < MOVED * before.iloc[0] else pd.Series(NAN, index=at.index)


def _count_share(rows: pd.DataFrame) -> float:
    band = _most_samples(_trained(rows))
    band = band[band["noise"] <= BAND]
    return float((band[COUNT] == band["patterns"]).mean()) if len(band) and len(_fitted(band)) == len(band) else NAN


def _over_data(rows: pd.DataFrame) -> float:
    data = _first(_most_samples(rows[rows["matrix"] == "patches"]), rows["noise"].max())
    return _trained_at(rows, rows["noise"].max())["stable_rank"] / data["stable_rank"]


def _exponent(filters: pd.DataFrame) -> float:
    curves = filters.groupby("samples")
    x, y = np.log10([n for n, _ in curves]), np.log10([break_noise(curve) for _, curve in curves])
    return float(np.polyfit(x, y, 1)[0]) if len(x) >= 3 and np.isfinite(y).all() else NAN


def _main(rows: pd.DataFrame) -> pd.DataFrame:
    """The runs on images with the smallest first filters and the true labels."""
    return rows[(rows["filter_start"] == rows["filter_start"].min()) & ~rows["shuffled"]]


def _large_image(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["filter_start"] == rows["filter_start"].max()]


def _by_heart(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["shuffled"]]


def _filters(run: pd.DataFrame, noise: float) -> pd.Series:
    return _first(_fitted(run[(run["matrix"] == "filters") & (run["epoch"] == run["epoch"].max())]), noise)


def _patches(rows: pd.DataFrame, noise: float) -> pd.Series:
    return _first(rows[(rows["matrix"] == "patches") & (rows["epoch"] == 0) & ~rows["shuffled"]], noise)


def _fall(run: pd.DataFrame) -> float:
    most = run["noise"].max()
    before = _first(run[(run["matrix"] == "filters") & (run["epoch"] == 0)], most)
    return _filters(run, most)["stable_rank"] / before["stable_rank"]


def _image_share(run: pd.DataFrame, kind: str, *, moved: bool = True) -> float:
    if moved and not _fall(run) < MOVED:
        return NAN
    ends = 0.0, run["noise"].max()
    filters, patches = ([part(run, r)[kind] for r in ends] for part in (_filters, _patches))
    return float(np.log(filters[1] / filters[0]) / np.log(patches[1] / patches[0]))


def _over_intrinsic(rows: pd.DataFrame, run: pd.DataFrame) -> float:
    return _filters(run, rows["noise"].max())["stable_rank"] / _patches(rows, 0.0)["intrinsic"]


def _accuracy_kept(rows: pd.DataFrame, run: pd.DataFrame) -> float:
    end, start = _filters(run, rows["noise"].max())["test_accuracy"], _filters(_main(rows), 0.0)["test_accuracy"]
    return (end - CHANCE) / (start - CHANCE)
