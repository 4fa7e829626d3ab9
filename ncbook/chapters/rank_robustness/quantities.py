"""The numbers behind the claims on rank. Each takes the rows of one seed in one setting.

A rank is only read where the network fits: a training loss of 0.05 or more makes the number undefined. The *band* is the noise up to r = 2,
fixed before any run. Generated data are read at the largest number of samples, but where their number is what the claim is about.
"""

import numpy as np
import pandas as pd

from ncbook.data.patches import data_stable_rank

NAN = float("nan")
FITTED, BAND, RIGHT = 0.05, 2.0, 0.9  # training loss below, noise up to, test accuracy from which a network counts as working
COUNTS = ("rank_above_0.3", "rank_above_0.1", "rank_above_0.03")
KINDS = ("stable_rank", "entropy_rank", "rank_above_0.1")


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
    s = _fitted(_most_samples(_trained(rows))).set_index("noise")["stable_rank"]
    return s.get(BAND, NAN) / s.get(0.0, NAN)


def share_of_intrinsic(rows: pd.DataFrame) -> float:
    """Stable rank of the trained filters at the end of the band over the number of patterns."""
    at = _at_band(rows)
    return at["stable_rank"] / at["patterns"]


def count_gap(rows: pd.DataFrame) -> float:
    """Largest distance, over the band, between the filters' singular values above 0.1 of the largest and the number of patterns."""
    return _count_gap(rows, ["rank_above_0.1"])


def count_gap_any_threshold(rows: pd.DataFrame) -> float:
    """Largest distance, over the band and the thresholds 0.3, 0.1 and 0.03, between the filters' singular values above them and the number
    of patterns."""
    return _count_gap(rows, list(COUNTS))


def band_accuracy(rows: pd.DataFrame) -> float:
    """Test accuracy at the end of the band."""
    return _at_band(rows)["test_accuracy"]


def one_direction(rows: pd.DataFrame) -> float:
    """Share of the filters' energy along patterns that lies along each filter's strongest one, at the end of the band."""
    return _at_band(rows)["one_direction"]


def chosen_at_start(rows: pd.DataFrame) -> float:
    """Share of the filters, by energy, that lie along the pattern of their class with which they started best aligned, at the end of the
    band."""
    return _at_band(rows)["chosen_at_start"]


def break_over_prediction(rows: pd.DataFrame) -> float:
    """Noise at which test accuracy falls below 0.9, at the most samples, over (samples / patterns)^(1/q)."""
    curve = _most_samples(_trained(rows))
    first = curve.iloc[0]
    return break_noise(curve) / (first["samples"] / first["patterns"]) ** (1 / first["power"])


def break_exponent(rows: pd.DataFrame) -> float:
    """Least-squares slope of log noise at which accuracy falls below 0.9 on log samples, for the number of patterns that has most of
    them."""
    filters = _trained(rows)
    sizes = filters.groupby("patterns")["samples"].nunique()
    curves = filters[filters["patterns"] == sizes.idxmax()].groupby("samples")
    x, y = np.log10([n for n, _ in curves]), np.log10([break_noise(curve) for _, curve in curves])
    if len(x) < 3 or not np.isfinite(y).all():
        return NAN
    return float(np.polyfit(x, y, 1)[0])


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
    end = _fitted(_most_samples(_trained(rows))).sort_values("noise").tail(1)
    data = _most_samples(rows[rows["matrix"] == "patches"]).sort_values("noise").tail(1)
    if not len(end) or end["test_accuracy"].item() >= 0.75 or end["noise"].item() != data["noise"].item():
        return NAN
    return end["stable_rank"].item() / data["stable_rank"].item()


def image_share(rows: pd.DataFrame) -> float:
    """Growth of the first layer's filter stable rank from no noise to the most, in decades, over that of the patches it sees."""
    return _image_share(rows, "stable_rank")


def image_share_any_rank(rows: pd.DataFrame) -> float:
    """Growth of the first layer's filter rank in decades over that of the patches it sees: the largest over stable, entropy and numerical
    rank."""
    return max(_image_share(rows, kind) for kind in KINDS)


def image_share_any_layer(rows: pd.DataFrame) -> float:
    """The largest growth of filter stable rank over layers, in decades, over that of the patches that the first layer sees."""
    trained = rows[rows["epoch"] == rows["epoch"].max()]
    layers = trained[trained["matrix"] == "filters"]["layer"].unique()
    grown = _growth(trained, "patches", layer=1, kind="stable_rank")
    return float(np.max([_growth(trained, "filters", layer=i, kind="stable_rank") for i in layers]) / grown)


def image_fall(rows: pd.DataFrame) -> float:
    """Stable rank of the first layer's filters after training over that before, at the most noise."""
    end = rows[(rows["noise"] == rows["noise"].max()) & (rows["matrix"] == "filters") & (rows["layer"] == 1)].sort_values("epoch")
    return end["stable_rank"].iloc[-1] / end["stable_rank"].iloc[0] if end["train_loss"].iloc[-1] < FITTED else NAN


def image_accuracy_drop(rows: pd.DataFrame) -> float:
    """Test accuracy without noise minus that at the most noise, where both networks fit."""
    trained = _fitted(rows[rows["epoch"] == rows["epoch"].max()]).groupby("noise")["test_accuracy"].first()
    return trained.get(0.0, NAN) - trained.get(rows["noise"].max(), NAN)


def _trained(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["matrix"] == "filters") & (rows["step"] == rows["step"].max())]


def _most_samples(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["samples"] == rows["samples"].max()]


def _fitted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["train_loss"] < FITTED]


def _at_band(rows: pd.DataFrame) -> pd.Series:
    """The trained filters at the end of the band; a row of nan where there is none that fits."""
    at = _fitted(_most_samples(_trained(rows)))
    at = at[at["noise"] == BAND]
    return at.iloc[0] if len(at) else pd.Series(NAN, index=at.columns)


def _count_gap(rows: pd.DataFrame, columns: list[str]) -> float:
    band = _most_samples(_trained(rows))
    band = band[band["noise"] <= BAND]
    if not len(band) or band["noise"].max() != BAND or len(_fitted(band)) < len(band):
        return NAN
    return float(band[columns].sub(band["patterns"], axis=0).abs().to_numpy().max())


def _growth(trained: pd.DataFrame, matrix: str, *, layer: int, kind: str) -> float:
    """Decades from no noise to the most; nan where a network does not fit."""
    of = trained[(trained["matrix"] == matrix) & (trained["layer"] == layer)]
    s = _fitted(of).set_index("noise")[kind]
    return float(np.log10(s.get(of["noise"].max(), NAN) / s.get(0.0, NAN)))


def _image_share(rows: pd.DataFrame, kind: str) -> float:
    trained = rows[rows["epoch"] == rows["epoch"].max()]
    return _growth(trained, "filters", layer=1, kind=kind) / _growth(trained, "patches", layer=1, kind=kind)
