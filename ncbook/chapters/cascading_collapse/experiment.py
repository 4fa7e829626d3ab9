"""Cascading collapse: every layer of one network, on both splits, as training goes on (Hui et al. 2022; He & Su 2023)."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from ncbook.data.datasets import Split
from ncbook.data.presets import spec
from ncbook.metrics.layers import layer_table
from ncbook.models.networks import Network, build_model, vectors
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


# --- the law of separation as its authors' code trains and measures --------------------------------------------------------------------

# of its networks of 6 layers after a first one, trained with momentum; the code tries seven learning rates, and names this one
PUBLISHED = {"model": "mlp_deep", "layers": 7, "train_size": 1000, "test_size": 100, "learning_rate": 0.01, "weight_decay": 0.0005}
PUBLISHED |= {"loss": "cross_entropy", "batch_size": 128, "schedule": "step", "augment": None, "precision": "float32"}
RUNNING = "running averages"


@takes_recipe
def law(recipe: Recipe, *, layers: int, side: int, images: list[int], seed: int, device: str = "cpu") -> pd.DataFrame:
    """Separation of the training images at every layer, by the statistics that batch norm takes: one row an epoch, these and layer.

    `side`: larger images are shrunk to it. ``statistics`` are the running averages, as a network is used, or those of the batch that is
    measured, of so many `images`, as in training mode.
    """
    data = recipe.data(seed, device)
    data = replace(data, train=_shrunk(data.train, side), test=_shrunk(data.test, side))
    network = recipe.network(data, seed, build=partial(build_model, depth=layers))
    rows = []
    for state in recipe.train(network, data, seed):
        for size in (0, *images):
            # a copy, as in their code: a pass in training mode would move the running averages
            measured = deepcopy(network).train() if size else network
            batches = partial(data.train.batches, size or len(data.train))
            table = layer_table(partial(_by_depth, measured), batches, num_classes=data.num_classes)
            reached = {"epoch": state.epoch, "terminal_epoch": state.terminal_epoch, "statistics": f"{size} images" if size else RUNNING}
            rows.append(table.rename(columns={"layer": "depth"})[["split", "depth", "variance_ratio", "nc1"]].assign(**reached))
    return pd.concat(rows, ignore_index=True)


def _by_depth(network: Network, x: Tensor) -> dict[int, Tensor]:
    return dict(enumerate([x.flatten(1), *network.all_features(x).values()]))


def _shrunk(split: Split, side: int) -> Split:
    """The split with images of at most `side` × `side` pixels, averaged as photographs are; mean and deviation stay those before."""
    if min(split.images.shape[2:]) <= side:
        return split
    small = nn.functional.interpolate(split.images.float(), (side, side), mode="bilinear", antialias=True)
    return replace(split, images=small.round().to(torch.uint8))


# --- grids ------------------------------------------------------------------------------------------------------------------------------

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
    return expand(experiment, parameters, **given, epochs=parameters["gaussian_epochs"], **BRIEFLY)


def law_grid(**parameters) -> list[dict]:
    """Data set × seed, in the authors' setting; their epochs where the profile has the time."""
    arms = [{"dataset": name} for name in parameters["law_dataset"]]
    given = {"epochs": parameters["law_epochs"], "side": parameters["law_side"], "images": parameters["law_images"], "measurements": 1}
    return expand(law, {"seeds": parameters["law_seeds"], "first_seed": parameters["first_seed"]}, over=[arms], **PUBLISHED, **given)


TABLES = {  # the tables that the chapter is made of: the networks, and their controls
    "layers": (experiment, grid),
    "held": (experiment, held_grid),
    "shuffled": (experiment, shuffled_grid),
    "gaussian": (experiment, gaussian_grid),
    "law": (law, law_grid),
}
