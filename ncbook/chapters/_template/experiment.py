"""New chapter: the features of one network, measured on both splits as training goes on."""

import pandas as pd

from ncbook.metrics.table import collapse_table
from ncbook.runs.grid import expand
from ncbook.training.evaluate import extract
from ncbook.training.recipe import Recipe, takes_recipe


@takes_recipe
def experiment(recipe: Recipe, *, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Collapse of the last-layer features: one row an epoch and split."""
    data, network, states = recipe.start(seed, device)
    rows = []
    for state in states:
        table = collapse_table(
            (extract(network, data.train), data.train.labels),
            (extract(network, data.test), data.test.labels),
            weight=network.classifier.weight,
            bias=network.classifier.bias,
            kmeans=False,
        )
        columns = table[["split", "error", "variance_ratio", "nc1"]]
        rows.append(columns.assign(epoch=state.epoch, terminal_epoch=state.terminal_epoch))
    return pd.concat(rows, ignore_index=True)


def grid(**parameters) -> list[dict]:
    """Data set × network × seed."""
    return expand(experiment, parameters, over=["dataset", "model"])


def controls(**parameters) -> list[dict]:
    """The same networks, which do not learn."""
    return grid(**{**parameters, "learning_rate": 0.0})


TABLES = {"collapse": (experiment, grid), "controls": (experiment, controls)}  # the tables that the chapter is made of
