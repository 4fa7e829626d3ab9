"""A recipe: it starts what it says, and an experiment that takes one is called with flat parameters."""

from dataclasses import fields
from inspect import getsource, signature

import pandas as pd
import pytest
import torch

from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.models.networks import build_model
from ncbook.runs.digest import canonical
from ncbook.seeds import child_generator
from ncbook.training.loop import train
from ncbook.training.recipe import Recipe, takes_recipe

FLAT = {"dataset": "digits", "model": "mlp", "train_size": 50, "epochs": 3, "measurements": 2, "learning_rate": 0.1, "weight_decay": 0.0}
FLAT |= {"batch_size": 20, "schedule": "cosine"}


@takes_recipe
def losses(recipe: Recipe, *, note: str, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Its own words."""
    _, _, states = recipe.start(seed, device)
    return pd.DataFrame({"loss": [state.loss for state in states], "text": note})


def test_it_trains_as_the_loop_does_with_the_same_settings():
    data = load("digits", train_size=50, seed=4)
    network = build_model("mlp", data.image_shape, data.num_classes, generator=child_generator(4, "weights"))
    settings = {"epochs": 3, "learning_rate": 0.1, "weight_decay": 0.0, "batch_size": 20, "schedule": "cosine", "measure_at": [0, 1, 3]}
    by_hand = [state.loss for state in train(network, data, **settings, generator=child_generator(4, "batches"))]
    _, trained, states = Recipe(**FLAT).start(4, "cpu")
    assert [state.loss for state in states] == pytest.approx(by_hand, abs=0, nan_ok=True)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), trained.parameters(), strict=True))


def test_an_experiment_is_called_with_flat_parameters():
    table = losses(**FLAT, note="here", seed=0, device="cpu")
    assert table.text.tolist() == ["here"] * len(table)
    assert list(signature(losses).parameters) == [*(field.name for field in fields(Recipe)), "note", "seed", "device"]
    assert canonical(FLAT) == FLAT and losses.__doc__ == "Its own words." and "recipe.start" in getsource(losses)


def test_what_a_recipe_lacks_or_does_not_know_is_an_error():
    with pytest.raises(TypeError, match="learning_rate"):
        losses(**{name: value for name, value in FLAT.items() if name != "learning_rate"}, note="", seed=0)
    with pytest.raises(TypeError, match="colour"):
        losses(**FLAT, colour="red", note="", seed=0)
    with pytest.raises(InputError, match="unknown loss"):
        losses(**FLAT, loss="hinge", note="", seed=0)
