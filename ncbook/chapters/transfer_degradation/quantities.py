"""The numbers behind the claims on transfer. Each takes the rows of one seed in one setting.

The *main arm* is coarse labels at the largest weight decay on record: the one with the deepest collapse, fixed before any run. Features are as they are (blur 0). A *change* is
the accuracy at the last epoch minus that where the terminal phase began. The probe is logistic regression on raw features, unless the
claim's settings name one.
"""

import numpy as np
import pandas as pd
from scipy import special

from ncbook.claims.curves import onset, terminal_ends

NAN = float("nan")


def change(rows: pd.DataFrame) -> float:
    """Change of the last layer's probe accuracy over the terminal phase, main arm."""
    return _change(_last_layer(_main(rows)))


def change_of_probe(rows: pd.DataFrame) -> float:
    """Change of the accuracy of the rows' one probe, whichever it is, on the last layer over the terminal phase, main arm."""
    return _change(_last_layer(_main(rows, probe=None)))


def source_change(rows: pd.DataFrame) -> float:
    """Change of the test accuracy on the labels that the network was trained on, main arm."""
    return -_change(_last_layer(_main(rows)), "source_error_test")


def slope_over_training(rows: pd.DataFrame) -> float:
    """Probe accuracy gained for each decade of V on train, over the measured epochs of the terminal phase, main arm."""
    curve = _last_layer(_main(rows))
    begins = curve["terminal_epoch"].max()
    return _slope(curve[curve["epoch"] >= begins], least=3)  # all False where it never began


def slope_over_weight_decay(rows: pd.DataFrame) -> float:
    """Probe accuracy gained for each decade of V on train, over the weight decays, at the last epoch."""
    ends = _last_layer(_read(rows, "coarse"))
    return _slope(ends[ends["epoch"] == ends["epoch"].max()], least=2)


def last_layer_beyond(rows: pd.DataFrame) -> float:
    """The last layer's change minus that of the earlier layer that loses most."""
    main = _main(rows)
    earlier = [_change(layer) for _, layer in main[~main["last_layer"]].groupby("layer")]
    return _change(_last_layer(main)) - np.min(earlier) if earlier else NAN  # nan when any is


def beyond_fine_labels(rows: pd.DataFrame) -> float:
    """The change with coarse labels minus the change with fine ones, all else equal."""
    fine = _read(rows, "fine")
    return _change(_last_layer(_main(rows))) - _change(_last_layer(fine)) if len(fine) else NAN


def above_ceiling(rows: pd.DataFrame) -> float:
    """Last accuracy minus what features that took one value a source class would allow: source classes / fine classes, main arm."""
    end = _last_layer(_main(rows)).sort_values("epoch").iloc[-1]
    return end["accuracy"] - end["source_classes"] / end["fine_classes"]


def _read(rows: pd.DataFrame, labels: str, probe: str | None = "logistic") -> pd.DataFrame:
    """Rows of one kind of pre-training labels and one probe (None: all), features as they are."""
    return rows[(rows["labels"] == labels) & (rows["blur"] == 0) & ((rows["probe"] == probe) | (probe is None))]


def _main(rows: pd.DataFrame, probe: str | None = "logistic") -> pd.DataFrame:
    coarse = _read(rows, "coarse", probe)
    return coarse[coarse["weight_decay"] == coarse["weight_decay"].max()]


def _last_layer(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["last_layer"]]


def _change(rows: pd.DataFrame, column: str = "accuracy") -> float:
    """Last value minus the value where the terminal phase began; nan when it never began or only ended there."""
    begin, end = terminal_ends(rows, column)
    return end - begin


def _slope(rows: pd.DataFrame, *, least: int) -> float:
    """Least-squares slope of accuracy on log10 of V on train; nan for fewer points than `least`."""
    x = np.log10(rows["variance_ratio_train"].to_numpy())
    if len(x) < least or np.ptp(x) == 0:
        return NAN
    x = x - x.mean()
    return float(x @ rows["accuracy"].to_numpy() / (x @ x))


# --- what noise alone would give ---------------------------------------------------------------------------------------------------------


def shuffles(rows: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Means over seeds of shuffled quantities beside the observed one, `draws` rows a quantity; none for a quantity that a seed lacks.

    `rows` are those of one data set, network and probe, features as they are. The accuracies are shuffled over the epochs of the terminal phase, or
    over the weight decays, and the changes over the layers: every number stays, and every relation is broken. ``supported`` says whether the rule of
    the claims would call the shuffled numbers so, ``as_far`` whether their mean is as far as the observed one.
    """
    coarse = rows[rows["labels"] == "coarse"]
    arm = coarse[coarse["weight_decay"] == coarse["weight_decay"].max()]
    last = coarse[coarse["last_layer"]]
    begins = arm.groupby("seed")[["epoch", "terminal_epoch"]].apply(onset)
    terminal = arm[arm["last_layer"] & (arm["epoch"] >= arm["seed"].map(begins))]
    tests = [
        ("change", change, _shuffled_change, terminal, "epoch", -1),
        ("slope over training", slope_over_training, _shuffled_slope, terminal, "epoch", 1),
        (
            "slope over weight decays",
            slope_over_weight_decay,
            _shuffled_slope,
            last[last["epoch"] == last["epoch"].max()],
            "weight_decay",
            1,
        ),
        ("last layer against the others", last_layer_beyond, _shuffled_beyond, _changes_by_layer(arm, begins), "depth", -1),
    ]
    tables = []
    for name, quantity, statistic, part, order, sign in tests:
        observed = [quantity(one) for _, one in rows.groupby("seed")]
        if np.isnan(observed).any() or len(observed) < 2:
            continue
        random = np.random.default_rng(0)
        drawn = np.stack([statistic(one.sort_values(order), random, draws) for _, one in part.groupby("seed")], axis=1)  # (draws, seeds)
        mean, error = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / np.sqrt(drawn.shape[1])
        supported = sign * mean > special.stdtrit(drawn.shape[1] - 1, 0.975) * error
        table = pd.DataFrame({"quantity": name, "shuffled_mean": mean, "observed_mean": np.mean(observed), "supported": supported})
        tables.append(table.assign(as_far=sign * mean >= sign * np.mean(observed)))
    columns = ["quantity", "shuffled_mean", "observed_mean", "supported", "as_far"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _shuffled_accuracies(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    """The accuracies of one seed, shuffled over its rows: (draws, rows)."""
    return random.permuted(np.tile(one["accuracy"], (draws, 1)), axis=1)


def _shuffled_change(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    accuracies = _shuffled_accuracies(one, random, draws)
    return accuracies[:, -1] - accuracies[:, 0]


def _shuffled_slope(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    x = np.log10(one["variance_ratio_train"].to_numpy())
    x = x - x.mean()
    return _shuffled_accuracies(one, random, draws) @ x / (x @ x)


def _shuffled_beyond(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    changes = _shuffled_accuracies(one, random, draws)
    return changes[:, -1] - changes[:, :-1].min(axis=1)


def _changes_by_layer(arm: pd.DataFrame, begins: pd.Series) -> pd.DataFrame:
    """The change of each layer's accuracy over the terminal phase, one row a seed and layer, ``depth`` in the order of the layers."""
    by_layer = arm.set_index(["seed", "layer"])
    start = by_layer[by_layer["epoch"] == by_layer.index.get_level_values("seed").map(begins)]["accuracy"]
    changes = (by_layer[by_layer["epoch"] == arm["epoch"].max()]["accuracy"] - start).dropna().reset_index()
    return changes.assign(depth=changes["layer"].map({name: i for i, name in enumerate(arm["layer"].unique())}))
