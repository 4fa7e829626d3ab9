"""What noise alone would give: the numbers of four claims again, after shuffling within each seed what they depend on."""

import numpy as np
import pandas as pd
from scipy import special

from ncbook.chapters.transfer_degradation import quantities
from ncbook.claims.curves import onset


def shuffles(rows: pd.DataFrame, *, draws: int) -> pd.DataFrame:
    """Means over seeds of shuffled quantities beside the observed one, `draws` rows a quantity; none for a quantity that a seed lacks.

    `rows` are those of one data set, network and probe, features as they are. The accuracies are shuffled over the epochs of the terminal
    phase, or over the weight decays, and the changes over the layers: every number stays, and every relation is broken. ``supported`` says
    whether the rule of the claims would call the shuffled numbers so, ``as_far`` whether their mean is as far as the observed one.
    """
    coarse = rows[rows["labels"] == "coarse"]
    arm = coarse[coarse["weight_decay"] == coarse["weight_decay"].max()]
    last = coarse[coarse["last_layer"]]
    begins = arm.groupby("seed")[["epoch", "terminal_epoch"]].apply(onset)
    terminal = arm[arm["last_layer"] & (arm["epoch"] >= arm["seed"].map(begins))]
    tests = [
        ("change", quantities.change, _whole_change, terminal, "epoch", -1),
        ("slope over training", quantities.slope_over_training, _slope, terminal, "epoch", 1),
        (
            "slope over weight decays",
            quantities.slope_over_weight_decay,
            _slope,
            last[last["epoch"] == last["epoch"].max()],
            "weight_decay",
            1,
        ),
        ("last layer against the others", quantities.last_layer_beyond, _last_beyond, _changes(arm, begins), "depth", -1),
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


def _shuffled(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    """The accuracies of one seed, shuffled over its rows: (draws, rows)."""
    return random.permuted(np.tile(one["accuracy"], (draws, 1)), axis=1)


def _whole_change(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    accuracies = _shuffled(one, random, draws)
    return accuracies[:, -1] - accuracies[:, 0]


def _slope(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    x = np.log10(one["variance_ratio_train"].to_numpy())
    x = x - x.mean()
    return _shuffled(one, random, draws) @ x / (x @ x)


def _last_beyond(one: pd.DataFrame, random: np.random.Generator, draws: int) -> np.ndarray:
    changes = _shuffled(one, random, draws)
    return changes[:, -1] - changes[:, :-1].min(axis=1)


def _changes(arm: pd.DataFrame, begins: pd.Series) -> pd.DataFrame:
    """The change of each layer's accuracy over the terminal phase, one row a seed and layer, ``depth`` in the order of the layers."""
    by_layer = arm.set_index(["seed", "layer"])
    start = by_layer[by_layer["epoch"] == by_layer.index.get_level_values("seed").map(begins)]["accuracy"]
    changes = (by_layer[by_layer["epoch"] == arm["epoch"].max()]["accuracy"] - start).dropna().reset_index()
    return changes.assign(depth=changes["layer"].map({name: i for i, name in enumerate(arm["layer"].unique())}))
