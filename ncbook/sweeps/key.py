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
import re
import sysconfig
import textwrap
import types
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ncbook.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")
# They say where things are and what went wrong; they cannot change a number.
NOT_RESULTS = {PACKAGE / "errors.py", PACKAGE / "paths.py", PACKAGE / "version.py", PACKAGE / "__init__.py"}


def digest(value) -> str:
    """20 hex digits of a JSON-able value, or of a text."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def canonical(parameters: dict) -> dict:
    """Parameters as JSON keeps them, so that 1 from YAML and 1 from NumPy give one key; anything else is an `InputError`."""
    try:
        return json.loads(json.dumps(parameters, allow_nan=False, default=lambda x: x.item()))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # RuntimeError: a tensor of several values
        raise InputError(f"parameters must be numbers, texts, true/false, null or lists of them: {parameters} ({error}).") from error


def run_key(function, parameters: dict, *, device: str, code: str | None = None) -> str:
    """The key of one run of `function(**parameters)`; `code` is its `code_of`, where that is known already."""
    return digest(
        {
            "experiment": name_of(function),
            "parameters": canonical(parameters),
            "data": data_fingerprints(parameters),
            "code": code or code_of(function),
            "device": device,
            "libraries": libraries(),
        }
    )


def name_of(function) -> str:
    """Folder name of a function's runs: its chapter's module and its own name."""
    module = function.__module__.removeprefix("ncbook.experiments.")
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
    file = _file(function.__module__)
    return module_code(file) if file else digest(_cell_function(function, set()))


def module_code(path: Path) -> str:
    """Digest of a module and of all modules that it reaches by import: those of the package, and a user's module's own neighbours."""
    reached, waiting = {}, [path.resolve()]
    while waiting:
        if (here := waiting.pop()) not in reached:
            stat = here.stat()
            reached[here], names = _parsed(here, (stat.st_mtime_ns, stat.st_size))
            waiting += _files(names, ours=here.is_relative_to(PACKAGE))
    named = {p: str(p.relative_to(PACKAGE)) if p.is_relative_to(PACKAGE) else p.name for p in reached if p not in NOT_RESULTS}
    return digest(sorted([name, reached[p]] for p, name in named.items()))


@cache
def _parsed(path: Path, changed: tuple) -> tuple[str, list[str]]:
    """Digest of a file's code, and the names that it imports; read again when it has changed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package, folder = [], path.parent
    while (folder / "__init__.py").is_file():
        package, folder = [folder.name, *package], folder.parent
    names = _imports(tree, package)
    return digest(without_docstrings(tree)), names


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


def _imports(tree: ast.AST, package: list[str] | None = None) -> list[str]:
    """Names of the modules that a syntax tree imports, wherever it does; relative ones start from `package`.

    ``from a.b import c`` gives a.b.c where that is a module, else a.b. A text that names a module of ncbook counts as well: so do the
    lazy menus and `import_module` ask for it.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if package and node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            found += [name if _file(name := f"{base}.{alias.name}") else base for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"ncbook(\.\w+)+", node.value):
            found.append(node.value)
    return found


def _files(names: list[str], *, ours: bool) -> list[Path]:
    """Files of the names whose code counts; a module of the package (`ours`) counts modules of the package only."""
    return [file for name in names if (not ours or name.split(".")[0] == "ncbook") and (file := _file(name))]


def _file(name: str) -> Path | None:
    """The file of a module of ncbook or of the user's own; ``None`` for an installed one, and for what is not a module."""
    top, *rest = name.split(".")
    if (base := PACKAGE if top == "ncbook" else _own(top)) is None:
        return None
    base = base.joinpath(*rest)
    return next((p for p in (base.with_name(base.name + ".py"), base / "__init__.py") if p.is_file()), None)


@cache
def _own(top: str) -> Path | None:
    """Where a top-level module of the user's own lies, without its suffix; ``None`` for what was installed or comes with Python."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # __main__ has no spec
        return None
    if top == "__main__" or spec is None or not spec.has_location or not spec.origin.endswith(".py"):
        return None
    place = Path(spec.origin).resolve()
    place = place.parent if place.name == "__init__.py" else place.with_suffix("")
    installed = {"site-packages", "dist-packages"} & set(place.parts) or place.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    return None if installed or any(place.parent.glob("*.dist-info")) else place


def _cell_function(function, seen: set) -> list:
    """Code of a function that no file holds, of its helper functions, and of the modules of ncbook or of the user's own that it uses.

    A global that is neither an import nor a function would change results without changing any key, so it is refused.
    `inspect.getclosurevars` misses globals inside comprehensions, hence the walk through the nested code objects.
    """
    function = inspect.unwrap(function)
    if function in seen:
        return []
    seen.add(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        raise InputError(f"cannot read the source of {function.__qualname__}; define it in a notebook cell or a file.") from error
    if function.__closure__:
        raise InputError(
            f"{function.__qualname__} keeps {', '.join(function.__code__.co_freevars)} from around it; pass it as a parameter."
        )
    parts = [module_code(file) for file in _files(_imports(tree), ours=False)]
    around = {node.id for decorator in tree.body[0].decorator_list for node in ast.walk(decorator) if isinstance(node, ast.Name)}
    parts += [without_docstrings(tree), repr((function.__defaults__, function.__kwdefaults__))]
    for name in sorted(_globals_read(function.__code__) | around):
        if name not in function.__globals__:
            if hasattr(builtins, name):
                continue
            raise InputError(f"{function.__qualname__} uses {name!r}, which is not defined.")
        value = function.__globals__[name]
        if callable(value):
            value = inspect.unwrap(value)  # of its decorators, whose names are in its source
        home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if not (isinstance(value, types.ModuleType) or callable(value) and hasattr(value, "__qualname__")):
            raise InputError(
                f"{function.__qualname__} reads the notebook's variable {name!r}, which no run key sees; pass it as a parameter."
            )
        if home != function.__module__:
            file = _file(home) if home else None
            parts.append(module_code(file) if file else f"{name} = {home}")
        elif isinstance(value, types.FunctionType):
            parts += _cell_function(value, seen)
        else:
            raise InputError(
                f"{function.__qualname__} uses the notebook's {name!r}; define it inside the function, or import it from a file."
            )
    return parts


def _globals_read(code: types.CodeType) -> set[str]:
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    own = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_NAME"}  # of the body of a class
    names = {i.argval for i in dis.get_instructions(code) if i.opname in loads and i.argval not in own and not i.argval.startswith("__")}
    return names.union(*(_globals_read(c) for c in code.co_consts if isinstance(c, types.CodeType)))
