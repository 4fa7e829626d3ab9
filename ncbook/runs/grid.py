"""`expand`: the runs of an experiment from the parameters of a chapter."""

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from itertools import product
from math import prod

from ncbook.errors import InputError, unknown

MOST = 10_000  # runs of a grid: more are a slip of the keyboard, and to plan them alone takes minutes


def expand(experiment: Callable, parameters: Mapping, over: Iterable[str | list[dict]] = (), **given) -> list[dict]:
    """The grid of an experiment: one dictionary of parameters a run, for all combinations of what `over` lists, and for all seeds.

    The signature of the experiment says what a run needs. Each value is taken from `given`, else from the `parameters` of the chapter, of
    which the experiment need not take all; what neither has keeps its default. An element of `over` is the name of a parameter with a list
    of values, or a list of arms, each a dictionary of parameters that change together. The first varies slowest, the seed fastest:
    ``seeds`` in the parameters makes ``seed`` run over that many from ``first_seed`` (0 unless they say otherwise), unless it is given or
    among the arms. An `InputError` names what is missing or unknown.

    >>> def experiment(*, dataset, width, rate, seed, device="cpu"): ...
    >>> chapter = {"dataset": ["digits", "mnist"], "width": 8, "seeds": 1, "rate": 0.1}
    >>> expand(experiment, chapter, over=["dataset"], rate=0.5)
    [{'dataset': 'digits', 'width': 8, 'rate': 0.5, 'seed': 0}, {'dataset': 'mnist', 'width': 8, 'rate': 0.5, 'seed': 0}]
    >>> arms = [{"width": 4, "rate": 1}, {"width": 8, "rate": 2}]
    >>> [(run["width"], run["rate"]) for run in expand(experiment, chapter, over=[arms], dataset="digits")]
    [(4, 1), (8, 2)]
    """
    takes = {name: p for name, p in signature(experiment).parameters.items() if name != "device"}
    values = {**{name: parameters[name] for name in takes if name in parameters}, **given}
    axes = [_arms(axis, values) for axis in over]
    over_seeds = "seed" in takes and "seed" not in values and "seeds" in parameters
    over_seeds = over_seeds and not any("seed" in arm for axis in axes for arm in axis)
    if (count := prod(map(len, axes)) * (parameters["seeds"] if over_seeds else 1)) > MOST:
        raise InputError(f"the grid has {count:,} runs, and {MOST:,} are the most; give fewer seeds or fewer values.")
    if over_seeds:
        first = parameters.get("first_seed", 0)
        axes.append([{"seed": first + i} for i in range(parameters["seeds"])])
    runs = []
    for arms in product(*axes):
        run = values | {name: value for arm in arms for name, value in arm.items()}
        for name in run.keys() - takes.keys():
            raise unknown(f"parameter of {experiment.__qualname__}", name, takes)
        for name in takes:
            if name not in run and takes[name].default is Parameter.empty:
                raise InputError(f"{experiment.__qualname__} takes {name!r}, which neither the parameters nor the grid give.")
        runs.append({name: run[name] for name in takes if name in run})
    return runs


def _arms(axis: str | list[dict], values: dict) -> list[dict]:
    """The values of one axis of the grid, each as the parameters that it sets."""
    if not isinstance(axis, str):
        return list(axis)
    if axis not in values:
        raise InputError(f"the grid is to run over {axis!r}, which neither the parameters nor the grid give.")
    value = values[axis]
    return [{axis: v} for v in (value if isinstance(value, (list, tuple, range)) else [value])]
