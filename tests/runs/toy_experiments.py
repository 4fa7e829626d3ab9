"""Experiments that take no time, and that fail in all the ways that experiments do. Workers import them from here."""

import linecache
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ncbook.errors import InputError
from ncbook.training.stacked import in_stacks


class Unpicklable(Exception):
    def __init__(self, one, two):  # unpickling calls it with one argument, and fails
        super().__init__(f"{one} and {two}")


def wave(*, name: str, seed: int, rows: int = 40, note=None, device: str = "cpu") -> pd.DataFrame:
    """Numbers with all their digits, missing values, texts and whole numbers; each call leaves a line in the file TOY_LOG."""
    if log := os.environ.get("TOY_LOG"):
        with open(log, "a") as file:
            file.write(f"{name} {seed}\n")
    draw = np.random.default_rng(seed)
    values = draw.normal(size=rows) * 10.0 ** draw.integers(-12, 12, size=rows)
    values[3] = np.nan
    return pd.DataFrame(
        {"step": np.arange(rows), "value": values, "third": np.float32(1) / (1 + np.arange(rows, dtype=np.float32)), "text": "nan"}
    )


def without_parameters(*, device: str = "cpu") -> pd.DataFrame:
    """There is one run of it."""
    return pd.DataFrame({"step": [0, 1]})


def faulty(*, how: str, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Fails as `how` says, unless the file named by TOY_CURED is there."""
    if not Path(os.environ["TOY_CURED"]).exists():
        if how == "raise":
            raise ZeroDivisionError(f"seed {seed} is unlucky")
        if how == "input":
            raise InputError("the picture is damaged; fetch it again.")
        if how == "unpicklable":
            raise Unpicklable("this", "that")
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            time.sleep(600)
        if how == "exit":
            raise SystemExit(3)
        if how == "end":
            os._exit(0)
        if how == "interrupt":
            raise KeyboardInterrupt
        if how == "generator":
            raise GeneratorExit("of its own")
        if how == "fork":
            if not (child := os.fork()):
                os._exit(0)
            raise ChildProcessError(f"its child ended by {os.waitpid(child, 0)[1]}")
        if how == "timeout":
            raise TimeoutError("the network is slow")
        if how == "empty":
            return pd.DataFrame({"value": []})
        if how == "index":
            return pd.DataFrame({"value": [1.0]}, index=pd.Index([3], name="epoch"))
        if how == "doubled":
            return pd.DataFrame({"seed": [1.0]})
        if how == "number":
            return 3.0
    return wave(name=how, seed=seed)


def fragile(*, seed: int, device: str = "cpu") -> pd.DataFrame:
    """Beside a worker of another program: seed 2 kills that worker, the first time that it is computed."""
    once = Path(os.environ["TOY_CURED"])
    if seed == 2 and not once.exists():
        once.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    return wave(name="fragile", seed=seed)


def pinned(*, seed: int, device: str = "cpu") -> pd.DataFrame:
    """The GPU that this process sees, and which process it is."""
    return pd.DataFrame({"gpu": [os.environ["CUDA_VISIBLE_DEVICES"]], "process": [os.getpid()]})


def slow(*, seed: int, device: str = "cpu") -> pd.DataFrame:
    """The first seeds end at once, the last one after a minute."""
    if seed > 1:
        time.sleep(60)
    return wave(name="slow", seed=seed)


@in_stacks(4)
def trained(*, seed: int, weight_decay: float, how: str = "", device: str = "cpu") -> pd.DataFrame:
    """A small network, one row an epoch; seed 2 raises or kills its process after the first, if `how` says so."""
    from ncbook.data.datasets import load
    from ncbook.models.networks import build_model
    from ncbook.seeds import child_generator
    from ncbook.training.loop import train

    data = load("digits", train_size=50, seed=seed)
    network = build_model("mlp", data.image_shape, 10, generator=child_generator(seed, "weights"), width=16)
    settings = {"epochs": 3, "learning_rate": 0.05, "batch_size": 25, "weight_decay": weight_decay}
    rows = []
    for state in train(network, data, generator=child_generator(seed, "batches"), **settings):
        if how and seed == 2 and state.epoch == 1:
            if how == "raise":
                raise ZeroDivisionError(f"seed {seed} is unlucky")
            os.kill(os.getpid(), signal.SIGKILL)
        rows.append({"epoch": state.epoch, "train_error": state.train_error, "bias": float(network.classifier.bias.abs().sum())})
    return pd.DataFrame(rows)


def notebook(*cells: str) -> dict:
    """The namespace of a notebook after its cells have run; `inspect` finds their source as in IPython."""
    space = {"__name__": "__main__"}
    for cell in cells:
        name = f"<cell-{abs(hash(cell))}-{len(linecache.cache)}>"
        linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
        exec(compile(cell, name, "exec"), space)  # noqa: S102
    return space
