"""Cascading collapse: every layer of one network, on both splits, as training goes on (Hui et al. 2022; He & Su 2023)."""

from functools import partial

import pandas as pd
from torch import Tensor

from ncbook.data.presets import spec
from ncbook.metrics.layers import layer_table
from ncbook.models.networks import Network, vectors
from ncbook.runs.grid import expand
from ncbook.training.recipe import Recipe, takes_recipe


@takes_recipe
def experiment(
    recipe: Recipe,
    *,
    measure_batch: int,
    label_noise: float = 0.0,
    hold: bool = False,
    read_otherwise: bool = True,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Collapse of all layers: one row an epoch, split, layer and way to read it.

    The declared reading is measured at every measurement; with `read_otherwise` the others before training, where the terminal phase
    begins, and at the end.
    `hold`: from the epoch on at which the terminal phase begins, only the last layer and the classifier are trained.
    """
    data = recipe.data(seed, device, label_noise=label_noise)
    network = recipe.network(data, seed)
    rows = []
    for state in recipe.train(network, data, seed):  # epoch 0 is the untrained network
        if hold and state.epoch == state.terminal_epoch:
            for block in list(network.blocks.values())[:-1]:
                block.requires_grad_(False)
        every = read_otherwise and state.epoch in (0, state.terminal_epoch, recipe.epochs)
        table = layer_table(
            partial(readings, network, every=every),
            lambda: data.train.batches(measure_batch),
            lambda: data.test.batches(measure_batch),
            num_classes=data.num_classes,
        )
        places = pd.DataFrame(table.pop("layer").tolist(), columns=PLACE)
        reached = {"epoch": state.epoch, "terminal_epoch": state.terminal_epoch}
        rows.append(pd.concat([places, table], axis=1).assign(**reached))
    return pd.concat(rows, ignore_index=True)


PLACE = ["depth", "layer", "activation", "pooling"]
DECLARED = ("post", "flattened")  # what the next layer takes in, as in the code of Parker et al.; the input can be read so as well


def readings(network: Network, x: Tensor, *, every: bool = True) -> dict[tuple[int, str, str, str], Tensor]:
    """The features (B, d) of a batch at every layer, in every way to read it or in the declared one only.

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
    return {place: h for place, h in features.items() if every or place[2:] == DECLARED}


BRIEFLY = {"measurements": 1, "read_otherwise": False}  # the controls are looked at where they are judged


def grid(**parameters) -> list[dict]:
    """Data set × network × seed."""
    return expand(experiment, parameters, over=["dataset", "model"])


def held_grid(**parameters) -> list[dict]:
    """The same networks, with the layers before the last held as they are from where the terminal phase begins."""
    return expand(experiment, parameters, over=["dataset", "model"], hold=True, **BRIEFLY)


def shuffled_grid(**parameters) -> list[dict]:
    """The MLP on labels that say nothing of the images: so many are changed that each class is as likely as any other."""
    names = parameters["dataset"] if isinstance(parameters["dataset"], list) else [parameters["dataset"]]
    arms = [{"dataset": name, "label_noise": 1 - 1 / spec(name).num_classes} for name in names]
    return expand(experiment, parameters, over=[arms], model="mlp_deep", epochs=parameters["shuffled_epochs"], **BRIEFLY)


def gaussian_grid(**parameters) -> list[dict]:
    """The MLP on Gaussian classes so far apart that test images cannot but follow; twice the weight decay takes it as far as the others."""
    given = {"dataset": "gaussian:separation=20", "model": "mlp_deep", "weight_decay": 2 * parameters["weight_decay"], "augment": None}
    return expand(experiment, parameters, **given, **BRIEFLY)


TABLES = {  # the tables that the chapter is made of: the networks, and their controls
    "layers": (experiment, grid),
    "held": (experiment, held_grid),
    "shuffled": (experiment, shuffled_grid),
    "gaussian": (experiment, gaussian_grid),
}
