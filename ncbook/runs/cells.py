"""The code of functions that no file holds, such as those of a notebook's cells."""

import ast
import builtins
import dis
import inspect
import textwrap
import types

from ncbook.errors import InputError
from ncbook.runs.code import file_of, files_of, imports_of, module_code, without_docstrings


def cell_function(function, visited: set) -> list:
    """Code of a function that no file holds, of its helper functions, and of the modules of ncbook or of the user's own that it uses.

    A global that is neither an import nor a function would change results without changing any key, so it is refused.
    `inspect.getclosurevars` misses globals inside comprehensions, hence the walk through the nested code objects.
    """
    function = inspect.unwrap(function)
    if function in visited:
        return []
    visited.add(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        raise InputError(f"cannot read the source of {function.__qualname__}; define it in a notebook cell or a file.") from error
    if function.__closure__:
        raise InputError(
            f"{function.__qualname__} keeps {', '.join(function.__code__.co_freevars)} from around it; pass it as a parameter."
        )
    parts = [module_code(file) for file in files_of(imports_of(tree), ours=False)]
    around = {
        node.id for decorator in getattr(tree.body[0], "decorator_list", []) for node in ast.walk(decorator) if isinstance(node, ast.Name)
    }
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
        if not (isinstance(value, types.ModuleType) or (callable(value) and hasattr(value, "__qualname__"))):
            raise InputError(
                f"{function.__qualname__} reads the notebook's variable {name!r}, which no run key sees; pass it as a parameter."
            )
        if home != function.__module__:
            file = file_of(home) if home else None
            parts.append(module_code(file) if file else f"{name} = {home}")
        elif isinstance(value, types.FunctionType):
            parts += cell_function(value, visited)
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
