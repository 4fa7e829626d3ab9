"""The run key: a run is the same when its parameters, its data, the code that computes it and the kind of machine are.

Code counts as `ncbook.runs.code` reads it, and a function of a notebook's cell as `ncbook.runs.cells` does. Nothing here imports torch.
"""

import re
import types
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from ncbook.errors import InputError
from ncbook.runs.cells import cell_function
from ncbook.runs.code import file_of, module_code
from ncbook.runs.digest import canonical, digest

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


def run_key(function, parameters: dict, *, device: str, code: str | None = None, instruction_set: str | None = None) -> str:
    """The key of one run of `function(**parameters)`; `code` is its `code_of`, where that is known already.

    `instruction_set` is what the CPU rounds with, where the digits depend on it.
    """
    return digest(
        {
            "experiment": name_of(function),
            "parameters": canonical(parameters),
            "data": data_fingerprints(parameters),
            "code": code or code_of(function),
            "device": device,
            "instruction_set": instruction_set,
            "libraries": libraries(),
        }
    )


def name_of(function) -> str:
    """Folder name of a function's runs: its module and its own name; of a module called ``experiment`` the name of its folder says which it
    is."""
    module = re.sub(r"^(?:\w+\.)*(\w+)\.experiment$", r"\1", function.__module__)
    return f"{module}.{function.__qualname__}".replace("<", "").replace(">", "")


def libraries() -> dict[str, str]:
    """``major.minor`` of the installed libraries that compute numbers, without importing one.

    All of them for every run: between two minor versions a solver, a default or the order of a sum may change, in scikit-learn's support
    vector machines and SciPy's optimisers as much as in torch. A patch release mends faults, and computes nothing again.
    """
    return {name: ".".join(full.split(".")[:2]) for name, full in installed().items()}


def installed() -> dict[str, str]:
    """The full versions of these libraries, ``none`` for one that is not installed."""
    return {name: _version(name) for name in LIBRARIES}


@cache  # a process keeps the versions that it started with; to ask takes a millisecond, and there are hundreds of keys
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def data_fingerprints(parameters: dict) -> list[str]:
    """Fingerprints of the sets that parameters name: of ``dataset``, ``test_dataset`` and the like, each a name or a list of names."""
    values = [value for name, value in sorted(parameters.items()) if name.endswith("dataset")]
    if not values:
        return []
    from ncbook.data.files import fingerprint

    return [fingerprint(name) for value in values for name in (value if isinstance(value, list) else [value])]


def check_function(function) -> None:
    """An `InputError` for what has neither a name nor a source of its own."""
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise InputError(f"an experiment is a function made by `def`, not {function!r}.")


def code_of(function) -> str:
    """Digest of the code behind `function`: see the module's first lines. A function typed in a notebook cell counts with its helpers.

    Files are looked at each time, since workers import what they hold now, whatever this process loaded before.
    """
    check_function(function)
    file = file_of(function.__module__)
    return module_code(file) if file else digest(cell_function(function, set()))
