"""Two processes that train one network: its steps, what is measured of it, and what they refuse."""

import datetime
from dataclasses import replace

import pytest
import torch
from two_processes import by_two_processes

from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.training import parallel
from ncbook.training.checkpoint import kept_in
from ncbook.training.evaluate import Interpolation, accuracy, error, extract, extract_layers
from ncbook.training.free_descent import descend, first_factors
from ncbook.training.loop import train

SETTINGS = {"epochs": 4, "learning_rate": 0.05, "measure_at": [0, 2, 4]}


def trained(model: str, size: int, **changes) -> dict[str, torch.Tensor]:
    """The states of a training and its weights and features after it; images that no two processes can halve."""
    data = load("digits", train_size=size, test_size=90, seed=0)
    network = build_model(model, data.image_shape, 10, generator=child_generator(0, "weights"))
    settings = {**SETTINGS, "batch_size": 31, "generator": child_generator(0, "batches"), **changes}
    states = [vars(state) for state in train(network, data, **settings)]
    return {
        "loss": torch.tensor([state["loss"] for state in states]),
        "error": torch.tensor([state["train_error"] for state in states]),
        "test": torch.tensor([error(network, data.test), accuracy(network, data.test)]),
        "features": extract(network, data.test),
        **extract_layers(network, data.test),
        **{name: value.float() for name, value in network.state_dict().items()},
    }


CASES = {
    "batch norm": ("cnn", 100, {}),
    "none": ("mlp_plain", 110, {"loss": "squared"}),
    "augmented": ("mlp", 110, {"augment": "crop", "schedule": "cosine"}),
}


def _train(rank, path, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    for name, (model, size, changes) in CASES.items():
        results[rank, name] = {key: value.numpy() for key, value in trained(model, size, **changes).items()}
    torch.distributed.destroy_process_group()


@pytest.mark.slow  # two new processes import torch
def test_two_processes_take_the_steps_of_one(tmp_path):
    found = by_two_processes(_train, tmp_path)
    for name, (model, size, changes) in CASES.items():
        for key, wanted in trained(model, size, **changes).items():
            first, second = (torch.from_numpy(found[rank, name][key]) for rank in (0, 1))
            assert torch.equal(first.nan_to_num(), second.nan_to_num()), (name, key)
            scale = wanted.nan_to_num().abs().max().clamp(min=1e-3)
            assert ((first - wanted).nan_to_num().abs().max() / scale) < 1e-5, (name, key)


def _elsewhere(rank, path, results, folder):
    timeout = datetime.timedelta(seconds=60)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2, timeout=timeout)
    data = load("digits", train_size=40, test_size=20, seed=0)
    right = torch.nn.Linear(64, 10)
    flat = torch.nn.Sequential(torch.nn.Flatten(), right)
    asked = Interpolation(data.train)
    with torch.no_grad():  # process 1 alone has an image that is wrong
        right.weight.zero_()
        right.bias.copy_(torch.eye(10)[3])
    data.train.labels[:] = 3
    results[rank, "all right"] = asked(flat)
    data.train.labels[-1] = 4
    results[rank, "one wrong"], results[rank, "its error"] = asked(flat), error(flat, data.train)
    part = parallel.share(data.train)
    results[rank, "share"] = len(part)
    results[rank, "whole"] = torch.equal(parallel.whole(part.images, data.train), data.train.images)

    def refused(call):
        try:
            call()
        except InputError as found:
            return str(found)

    factors = first_factors(3, 1, 4, per_class=2, scales=torch.ones(1), generator=torch.Generator().manual_seed(0))
    descent = {"per_class": 2, "weight_decay": 0.1, "steps": 2, "learning_rate": 0.1, "momentum": 0.9, "measure_at": [2]}
    results[rank, "descent"] = refused(lambda: list(descend(factors, **descent)))
    results[rank, "batch"] = refused(lambda: trained("mlp_plain", 40, batch_size=39))
    results[rank, "images"] = refused(lambda: error(flat, replace(part, labels=part.labels[:1])))
    with kept_in(folder / "both"):
        trained("mlp_plain", 40)
    results[rank, "kept"] = sorted(file.name for file in folder.glob("both/0/*"))
    with kept_in(folder / ("both" if rank else "none")):
        results[rank, "differ"] = refused(lambda: trained("mlp_plain", 40))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_what_two_processes_share_and_refuse(tmp_path):
    found = by_two_processes(_elsewhere, tmp_path, tmp_path)
    for rank in (0, 1):
        assert found[rank, "all right"] and not found[rank, "one wrong"]
        assert found[rank, "its error"] == 1 / 40
        assert found[rank, "share"] == 20 and found[rank, "whole"]
        assert "descent on free features cannot be shared" in found[rank, "descent"]
        assert "a batch of 1 images cannot be shared by 2 processes" in found[rank, "batch"]
        assert "1 images cannot be shared" in found[rank, "images"]
        assert found[rank, "kept"] == ["epoch-0.pt", "epoch-2.pt", "epoch-4.pt", "latest.pt"]
        assert "different checkpoints" in found[rank, "differ"]
