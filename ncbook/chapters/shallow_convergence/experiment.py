"""Shallow convergence: from how few parameters does gradient descent fit any labels, and is that the lazy regime? (Razborov 2022)."""

import pandas as pd
import torch

from ncbook.runs.grid import expand
from ncbook.seeds import child_generator
from ncbook.training.shallow_descent import Networks, descend, first_networks, gaussian_inputs, kernels, labels_for


def descent(
    *,
    samples: int,
    dimension: int,
    width: int,
    labels: str,
    first_rate: float,
    second_rate: float,
    linearised: bool,
    starts: int,
    steps: int,
    until: float,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Descent from many starts, each with inputs and labels of its own: one row a start, where it ends."""
    first, inputs = _drawn(samples, dimension, width, starts, seed, device)
    y = labels_for(labels, first, inputs, child_generator(seed, "labels")).to(device)
    rates = {"first_rate": first_rate, "second_rate": second_rate}
    end = descend(first, inputs, y, **rates, steps=steps, until=until, linearised=linearised)
    before, after = kernels(first, inputs)[0], kernels(end.networks, inputs)[0]
    columns = {
        "taken": end.steps,
        "loss_end": end.loss,
        "moved": (end.networks.weight - first.weight).norm(dim=(1, 2)) / first.weight.norm(dim=(1, 2)),
        "head_moved": (end.networks.head - first.head).norm(dim=1) / first.head.norm(dim=1),
        "flips": (end.networks.gates(inputs) != first.gates(inputs)).double().mean((1, 2)),
        "kernel_moved": (after - before).norm(dim=(1, 2)) / before.norm(dim=(1, 2)),
    }
    return pd.DataFrame({"start": range(starts), **{name: values.tolist() for name, values in columns.items()}})


def least_squares(*, samples: int, dimension: int, width: int, starts: int, seed: int, device: str = "cpu") -> pd.DataFrame:
    """The best second layer on a random first one that stays as it is, for random labels: one row a start."""
    first, inputs = _drawn(samples, dimension, width, starts, seed, device)
    hidden = first.hidden(inputs)
    y = labels_for("random", first, inputs, child_generator(seed, "labels")).to(device)[:, :, None]
    away = hidden @ (torch.linalg.pinv(hidden) @ y) - y
    return pd.DataFrame({"start": range(starts), "loss_end": (0.5 * away.square().mean((1, 2))).tolist()})


def _drawn(samples: int, dimension: int, width: int, starts: int, seed: int, device: str) -> tuple[Networks, torch.Tensor]:
    """First networks and their inputs; inputs are the same at any width."""
    inputs = gaussian_inputs(starts, samples, dimension, child_generator(seed, "inputs")).to(device)
    first = first_networks(starts, width, dimension, child_generator(seed, "weights"))
    return Networks(first.weight.to(device), first.head.to(device)), inputs


def descents_grid(**parameters) -> list[dict]:
    """Random labels and the first layer alone × all widths; both layers, the second alone, the linearised network, other labels × some.

    A width is given as parameters of the first layer a sample.
    """
    few, first = parameters["few"], {"first_rate": parameters["first_rate"], "second_rate": 0.0}
    beside = [min(parameters["per_sample"]), parameters["borderline"], few, max(parameters["per_sample"])]
    plain = {**first, "labels": "random", "linearised": False}
    both = [plain | {"second_rate": rate} for rate in parameters["second_rates"]]
    alone = plain | {"first_rate": 0.0, "second_rate": parameters["first_rate"]}
    arms = _at(plain, parameters["per_sample"], parameters)
    for arm in (*both, plain | {"labels": "worst"}, plain | {"linearised": True}):
        arms += _at(arm, beside, parameters)
    for arm in (plain | {"labels": "teacher"}, plain | {"labels": "shuffled"}):
        arms += _at(arm, [few, max(parameters["per_sample"])], parameters)
    arms += _at(alone, [few], parameters)
    return expand(descent, parameters, over=[arms])


def sizes_grid(**parameters) -> list[dict]:
    """Numbers of samples, with a dimension in proportion × widths × seed."""
    arms = []
    for samples in parameters["sizes"]:
        size = {"samples": samples, "dimension": round(samples * parameters["dimension"] / parameters["samples"])}
        arms += [{**size, "width": width} for width in parameters["size_widths"]]
    fixed = {"labels": "random", "first_rate": parameters["first_rate"], "second_rate": 0.0, "linearised": False}
    return expand(descent, parameters, over=[arms], **fixed)


def fixed_grid(**parameters) -> list[dict]:
    """The same numbers of samples × widths about them × seed: the first layer as it is."""
    arms = []
    for samples in parameters["sizes"]:
        size = {"samples": samples, "dimension": round(samples * parameters["dimension"] / parameters["samples"])}
        arms += [{**size, "width": round(samples * share)} for share in parameters["fixed_shares"]]
    return expand(least_squares, parameters, over=[arms])


def _at(arm: dict, per_sample: list[float], parameters: dict) -> list[dict]:
    return [arm | {"width": round(each * parameters["samples"] / parameters["dimension"])} for each in sorted(set(per_sample))]


TABLES = {
    "descents": (descent, descents_grid),
    "sizes": (descent, sizes_grid),
    "fixed": (least_squares, fixed_grid),
}
