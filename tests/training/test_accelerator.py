"""All that runs on a GPU, on a pretended one: no operation mixes devices, nothing waits in a training step, results are the CPU's.

All of it happens in processes of its own (see `pretended_accelerator`), one for all chapters.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ncbook.publish import notebooks

HERE = Path(__file__).parent

RUN = """
import sys

import torch

from pretended_accelerator import DEVICE, Accelerator, copies, waits

torch.set_num_threads(1)
torch.autograd.set_multithreading_enabled(False)  # another thread would not be within the mode
"""

CHAPTERS = """
import json
import traceback

from ncbook import chapters
from ncbook.publish.parameters import parameters


def apart(chapter, experiment, grid):
    run = grid(**parameters(chapter, "short"))[0]
    lone = experiment.__wrapped__ if hasattr(experiment, "stack") else experiment  # a GPU trains no stacks
    here = lone(**run, device="cpu").select_dtypes("number")
    with Accelerator():
        there = experiment(**run, device=str(DEVICE))[list(here)]
    assert (here.isna() == there.isna()).all(None)
    return ((here - there).abs() / here.abs().clip(lower=1e-9)).max(axis=None)


found = {}
for chapter in sys.argv[1:]:
    try:
        found[chapter] = max(apart(chapter, *table) for table in chapters.experiment(chapter).TABLES.values())
    except Exception:
        found[chapter] = traceback.format_exc()
print(json.dumps(found))
"""

STEPS = """
import json

from ncbook.data.datasets import load
from ncbook.models.networks import build_model
from ncbook.seeds import child_generator
from ncbook.training.loop import train

with Accelerator():
    data = load("mnist5k", train_size=200, test_size=100, device=str(DEVICE))
    network = build_model("cnn", data.image_shape, data.num_classes, generator=child_generator(0, "weights")).to(DEVICE)
    found = {}
    for size in (100, 20):  # two steps an epoch, and ten
        waits.clear(), copies.clear()
        settings = {"loss": "cross_entropy", "epochs": 3, "learning_rate": 0.01, "batch_size": size, "augment": "crop", "measure_at": []}
        list(train(network, data, **settings, generator=child_generator(0, "batches")))
        found[size] = [dict(waits), dict(copies)]
print(json.dumps(found))
"""

MIXED = """
with Accelerator():
    on_device = torch.zeros(3, device=DEVICE)
    assert (on_device + 1).tolist() == [1, 1, 1] and waits  # a number is no tensor of another device; to read one is to wait
    try:
        on_device + torch.ones(3)
    except RuntimeError as error:
        print(error)
"""


def run(script: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", RUN + script, *arguments], env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pretended_device_refuses_what_cuda_refuses():
    assert "Expected all tensors to be on the same device" in run(MIXED)


def test_no_training_step_waits_for_the_device():
    few, many = json.loads(run(STEPS)).values()
    assert few[0] == many[0] and few[1] == many[1]  # five times as many steps
    assert any(line.startswith("training/loop.py") for line in few[0])  # once an epoch, for its loss


@pytest.fixture(scope="module")
def found(request) -> dict[str, float | str]:
    """By chapter that is asked for: how far apart the largest two numbers are, relatively, or the traceback."""
    asked = [item.callspec.params["chapter"] for item in request.session.items if "found" in getattr(item, "fixturenames", ())]
    return json.loads(run(CHAPTERS, *asked))


@pytest.mark.slow
@pytest.mark.parametrize("chapter", notebooks.names())
def test_experiments_keep_to_their_device(found, chapter):
    assert isinstance(found[chapter], float), found[chapter]
    assert found[chapter] < 1e-5  # single precision: a step that is rounded otherwise, where it is done in another order
