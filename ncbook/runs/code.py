"""The code behind a module: its syntax tree and those of all modules that it reaches by import, without docstrings and comments.

So editing a docstring retrains nothing and editing a metric retrains what uses it. Nothing here imports torch.
"""

import ast
import re
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ncbook.renamed import current
from ncbook.runs.digest import digest

PACKAGE = Path(__file__).resolve().parents[1]
# They say where things are, what went wrong and which runs there are; they cannot change the number that a run gives.
NOT_RESULTS = {PACKAGE / name for name in ("errors.py", "paths.py", "settings.py", "version.py", "__init__.py", "runs/grid.py")}
OLD_NAMES = "renamed.py"  # it names half of the package, and brings none of it


def module_code(path: Path) -> str:
    """Digest of a module and of all modules that it reaches by import: those of the package, and a user's module's own neighbours."""
    reached, waiting = {}, [path.resolve()]
    while waiting:
        if (here := waiting.pop()) not in reached and here.name != OLD_NAMES:
            stat = here.stat()
            reached[here], names = _parsed(here, (stat.st_mtime_ns, stat.st_size))
            waiting += files_of(names, ours=here.is_relative_to(PACKAGE))
    named = {p: str(p.relative_to(PACKAGE)) if p.is_relative_to(PACKAGE) else p.name for p in reached if p not in NOT_RESULTS}
    return digest(sorted([name, reached[p]] for p, name in named.items()))


@cache
def _parsed(path: Path, changed: tuple) -> tuple[str, list[str]]:
    """Digest of a file's code, and the names that it imports; read again when it has changed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package, folder = [], path.parent
    while (folder / "__init__.py").is_file():
        package, folder = [folder.name, *package], folder.parent
    names = imports_of(tree, package)
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


def imports_of(tree: ast.AST, package: list[str] | None = None) -> list[str]:
    """Names of the modules that a syntax tree imports, wherever it does; relative ones start from `package`.

    ``from a.b import c`` gives a.b.c where that is a module, else a.b. A text that names a module of ncbook counts as well: so do the
    lazy menus and `import_module` ask for it.
    """
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if package and node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            names += [name if file_of(name := f"{base}.{alias.name}") else base for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"ncbook(\.\w+)+", node.value):
            names.append(node.value)
    return names


def files_of(names: list[str], *, ours: bool) -> list[Path]:
    """Files of the names whose code counts; a module of the package (`ours`) counts modules of the package only."""
    return [file for name in names if (not ours or name.split(".")[0] == "ncbook") and (file := file_of(name))]


def file_of(name: str) -> Path | None:
    """The file of a module of ncbook or of the user's own; ``None`` for an installed one, and for what is not a module."""
    top, *rest = current(name).split(".")
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
    if top == "__main__" or spec is None or not spec.has_location or not (spec.origin or "").endswith(".py"):
        return None
    place = Path(str(spec.origin)).resolve()
    place = place.parent if place.name == "__init__.py" else place.with_suffix("")
    installed = {"site-packages", "dist-packages"} & set(place.parts) or place.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    return None if installed or any(place.parent.glob("*.dist-info")) else place
