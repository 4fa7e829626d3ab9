"""The run key: a run is the same when its parameters, its data, the code that computes it and the kind of machine are.

Code counts by its syntax tree without docstrings and comments, for the experiment's module and every ncbook module that it reaches
by import. So editing a docstring retrains nothing and editing a metric retrains what uses it. Nothing here imports torch.
"""

import ast
import builtins
import dis
import hashlib
import inspect
import json
import textwrap
import types
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ncbook.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
# They say where things are and what went wrong; they cannot change a number.
NOT_RESULTS = {PACKAGE / "errors.py", PACKAGE / "paths.py", PACKAGE / "__init__.py"}


def digest(value) -> str:
    """20 hex digits of a JSON-able value, or of a text."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def canonical(parameters: dict) -> dict:
    """Parameters as JSON keeps them, so that 1 from YAML and 1 from NumPy give one key; anything else is an `InputError`."""
    try:
        return json.loads(json.dumps(parameters, sort_keys=True, allow_nan=False, default=lambda x: x.item()))
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"parameters must be numbers, texts, true/false, null or lists of them: {parameters} ({error}).") from error


def run_key(function, parameters: dict, *, device: str) -> str:
    """The key of one run of `function(**parameters)`."""
    return digest(
        {
            "experiment": name_of(function),
            "parameters": canonical(parameters),
            "data": _data(parameters),
            "code": code_of(function),
            "device": device,
            "torch": torch_version(),
        }
    )


def name_of(function) -> str:
    """Folder name of a function's runs: its chapter's module and its own name."""
    module = function.__module__.removeprefix("ncbook.experiments.")
    return f"{module}.{function.__qualname__}".replace("<", "").replace(">", "")


def torch_version() -> str:
    """``major.minor`` of the installed torch, without importing it."""
    try:
        return ".".join(version("torch").split(".")[:2])
    except PackageNotFoundError:
        return "none"


def _data(parameters: dict) -> str | None:
    if "dataset" not in parameters:
        return None
    from ncbook.data.files import fingerprint

    return fingerprint(parameters["dataset"])


@lru_cache(maxsize=None)  # the code that this process has loaded is the code that counts
def code_of(function) -> str:
    """Digest of the code behind `function`: see the module's first lines. A function typed in a notebook cell counts with its helpers."""
    if function.__module__.startswith("ncbook."):
        return module_code(Path(inspect.getsourcefile(function)))
    return digest(_cell_function(function, set()))


def module_code(path: Path) -> str:
    """Digest of a module of the package and of all the modules of the package that it reaches by import."""
    reached, waiting = set(), [path.resolve()]
    while waiting:
        if (here := waiting.pop()) not in reached:
            reached.add(here)
            waiting += _imports(here)
    return digest({str(p.relative_to(PACKAGE)): _syntax(p) for p in sorted(reached) if p not in NOT_RESULTS})


def _syntax(path: Path) -> str:
    return digest(without_docstrings(ast.parse(path.read_text(encoding="utf-8"))))


def without_docstrings(tree: ast.AST) -> str:
    """The code of a syntax tree without docstrings and comments, in one layout.

    >>> without_docstrings(ast.parse("def f(x):\\n    'doc'\\n    return  x # why"))
    'def f(x):\\n    return x'
    """
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _imports(path: Path) -> list[Path]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [_module(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # `from ncbook.data import files` names a module, `from ncbook.data.files import check` a name in one
            found += [_module(f"{node.module}.{alias.name}") or _module(node.module) for alias in node.names]
    return [p for p in found if p is not None]


def _module(name: str) -> Path | None:
    if name.split(".")[0] != "ncbook":
        return None
    base = PACKAGE.joinpath(*name.split(".")[1:])
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _cell_function(function, seen: set) -> list:
    """Source of a function that no module holds, of its helper functions, and of what it reaches in the package.

    A global that is neither an import nor a function would change results without changing any key, so it is refused.
    `inspect.getclosurevars` misses globals inside comprehensions, hence the walk through the nested code objects.
    """
    if function in seen:
        return []
    seen.add(function)
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise InputError(f"cannot read the source of {function.__qualname__}; define it in a notebook cell or a file.") from error
    if function.__closure__:
        raise InputError(f"{function.__qualname__} keeps {', '.join(function.__code__.co_freevars)} from around it; pass it as a parameter.")
    parts = [without_docstrings(ast.parse(source))]
    for name in sorted(_globals_read(function.__code__)):
        if name not in function.__globals__:
            if hasattr(builtins, name):
                continue
            raise InputError(f"{function.__qualname__} uses {name!r}, which is not defined.")
        value = function.__globals__[name]
        home = getattr(value, "__name__" if isinstance(value, types.ModuleType) else "__module__", None)
        if isinstance(home, str) and home.split(".")[0] == "ncbook":
            path = _module(home)
            parts.append(module_code(path) if path else home)
        elif isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
            parts += _cell_function(value, seen)
        elif isinstance(value, types.ModuleType) or (callable(value) and home != function.__module__ and hasattr(value, "__qualname__")):
            parts.append(f"{name} = {home}")
        else:
            raise InputError(f"{function.__qualname__} reads the notebook's variable {name!r}, which no run key sees; pass it as a parameter.")
    return parts


def _globals_read(code: types.CodeType) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals_read(c) for c in code.co_consts if isinstance(c, types.CodeType)))
