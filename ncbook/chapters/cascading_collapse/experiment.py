"""Cascading collapse: every layer of one network, on both splits, as training goes on (Hui et al. 2022; He & Su 2023)."""

import pandas as pd
from torch import Tensor

from ncbook.metrics.layers import layer_table
from ncbook.models.networks import Network, vectors
from ncbook.runs.grid import expand
from ncbook.training.recipe import Recipe, takes_recipe


@takes_recipe
def experiment(recipe: Recipe, *, measure_batch: int, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Collapse of all layers: one row an epoch, split, layer and way to read it."""
    data, network, states = recipe.start(seed, device)
    rows = []
    for state in states:  # epoch 0 is the untrained network
        table = layer_table(
            lambda x: readings(network, x),
            lambda: data.train.batches(measure_batch),
            lambda: data.test.batches(measure_batch),
            num_classes=data.num_classes,
        )
        places = pd.DataFrame(table.pop("layer").tolist(), columns=PLACE)
        reached = {"epoch": state.epoch, "terminal_epoch": state.terminal_epoch}
        rows.append(pd.concat([places, table], axis=1).assign(**reached))
    return pd.concat(rows, ignore_index=True)


PLACE = ["depth", "layer", "activation", "pooling"]


def readings(network: Network, x: Tensor) -> dict[tuple[int, str, str, str], Tensor]:
    """The features (B, d) of a batch at every layer, in every way to read it.

    Keys are (depth, layer, "pre" or "post", "flattened" or "pooled"). Depth counts from 1; the input is
    depth 0 of both flattened readings. Layers that give vectors have nothing to pool.
    """
    pixels = x.flatten(1)
    features = {(0, "input", activation, "flattened"): pixels for activation in ("pre", "post")}
    depth = {layer: i for i, layer in enumerate(network.layers, start=1)}
    for (layer, activation), maps in network.activations(x).items():
        features[depth[layer], layer, activation, "flattened"] = vectors(maps, pooled=False)
        if maps.ndim == 4:
            features[depth[layer], layer, activation, "pooled"] = vectors(maps, pooled=True)
    return features


def grid(**parameters) -> list[dict]:
    """Data set × network × seed."""
    return expand(experiment, parameters, over=["dataset", "model"])


TABLES = {"layers": (experiment, grid)}  # the tables that the chapter is made of
