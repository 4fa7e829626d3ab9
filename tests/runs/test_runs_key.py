"""What makes two runs the same: parameters, data, code and kind of machine; and nothing else."""

import ast
import inspect
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_experiments import notebook

from ncbook.chapters.train_test_collapse import experiment as chapter
from ncbook.errors import InputError
from ncbook.publish.parameters import parameters
from ncbook.runs import code as codes
from ncbook.runs import key, plan

EXPERIMENT = "chapters/train_test_collapse/experiment.py"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that a test may edit; `package.code(module)` is the digest of a module in it."""
    copy = tmp_path / "ncbook"
    shutil.copytree(codes.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(codes, "NOT_RESULTS", {copy / p.relative_to(codes.PACKAGE) for p in codes.NOT_RESULTS})
    monkeypatch.setattr(codes, "PACKAGE", copy)
    return copy


def code(package: Path, module: str = EXPERIMENT) -> str:
    return codes.module_code(package / module)


def change_a_formula(file: Path) -> None:
    tree = ast.parse(file.read_text())
    result = next(node for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None)
    result.value = ast.BinOp(ast.Constant(2), ast.Mult(), result.value)
    file.write_text(ast.unparse(tree))


def test_docstrings_comments_and_layout_do_not_count(package):
    before = code(package)
    for file in sorted(package.rglob("*.py")):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
                node.body[0].value.value = "Another text."
        file.write_text("# a comment\n" + ast.unparse(tree) + "\n\n# the end\n")  # also drops all comments and re-flows all lines
    assert code(package) == before


@pytest.mark.parametrize(
    "module",
    [
        "publish/figures.py",
        "cli/app.py",
        "publish/render.py",
        "publish/execute.py",
        "claims/rule.py",
        "runs/pool.py",
        "errors.py",
        "paths.py",
    ],
)
def test_figures_claims_command_line_and_sweeps_retrain_nothing(package, module):
    before = code(package)
    with open(package / module, "a") as file:
        file.write("\nsomething = 'else'\n")
    assert code(package) == before


@pytest.mark.parametrize(
    "module",
    ["metrics/moments.py", "metrics/weak.py", "models/networks.py", "training/loop.py", "seeds.py", "data/datasets.py", EXPERIMENT],
)
def test_what_computes_the_numbers_counts(package, module):
    before = code(package)
    with open(package / module, "a") as file:
        file.write("\nsomething = 'else'\n")
    assert code(package) != before


def test_a_changed_formula_in_metrics_retrains_what_uses_it_and_only_that(package):
    (package / "without.py").write_text("from ncbook.seeds import child_seed\n\ndef experiment(): ...\n")
    uses, does_not = code(package), code(package, "without.py")
    change_a_formula(package / "metrics" / "collapse.py")
    assert code(package) != uses
    assert code(package, "without.py") == does_not


def test_an_import_inside_a_function_counts(package):
    before = code(package)
    assert (
        "    from ncbook.torchvision_compat import" in (package / "models" / "networks.py").read_text()
    )  # lazily, for torchvision's networks
    with open(package / "torchvision_compat.py", "a") as file:
        file.write("\nsomething = 'else'\n")
    assert code(package) != before


@pytest.mark.parametrize(
    "source",
    [
        "from ncbook.toys.deep.well import f",
        "from ncbook.toys.deep import well",
        "from ncbook.toys.deep.well import *",
        "import ncbook.toys.deep.well as w",
        "def g():\n    from ncbook.toys.deep import well\n    return well.f()",
        "class A:\n    def g(self):\n        import ncbook.toys.deep.well",
        "from ..toys.deep import well",
        "from ..toys.deep.well import f",
        "from ncbook.toys import chain",
        "from ncbook.toys import f",  # through a menu
        "from ncbook import toys",
        "import ncbook.toys",
        "import importlib\nf = importlib.import_module('ncbook.toys.deep.well').f",
    ],
)
def test_every_way_to_import_counts(package, source):
    deep = package / "toys" / "deep"
    deep.mkdir(parents=True)
    (package / "toys" / "__init__.py").write_text("_menu = {'f': 'ncbook.toys.deep.well'}\n")
    (package / "toys" / "chain.py").write_text("from .deep import well\n")
    (deep / "__init__.py").write_text("")
    (deep / "well.py").write_text("def f(): return 1\n")
    (package / "chapters" / "toy.py").write_text(source + "\n")
    before = code(package, "chapters/toy.py")
    (deep / "well.py").write_text("def f(): return 22\n")
    assert code(package, "chapters/toy.py") != before


def test_the_package_menu_reaches_what_it_offers(package):
    (package / "chapters" / "toy.py").write_text("from ncbook import measure\n")
    before = code(package, "chapters/toy.py")
    change_a_formula(package / "metrics" / "moments.py")
    assert code(package, "chapters/toy.py") != before


def test_modules_that_import_each_other_end(package):
    (package / "one.py").write_text("from ncbook import two\n")
    (package / "two.py").write_text("def f():\n    from ncbook import one\n")
    assert code(package, "one.py") == code(package, "two.py")  # either reaches both


def test_the_package_imports_from_the_defining_module():
    for file in codes.PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ncbook":
                for alias in node.names:
                    target = codes.file_of(f"{node.module}.{alias.name}") or codes.file_of(node.module)
                    text = target.read_text()
                    assert target.name != "__init__.py" or f"def {alias.name}" in text or "_menu" not in text, (
                        f"{file.relative_to(codes.PACKAGE)} takes {alias.name} from the menu {node.module}"
                    )


def quick(**changes) -> list[str]:
    return [run.key for run in plan(chapter.experiment, chapter.grid(**parameters("train_test_collapse", "quick", changes)))]


def test_seeds_and_profile_and_back(monkeypatch):
    monkeypatch.setenv("DEVICE", "cpu")
    five, six = quick(seeds=5), quick(seeds=6)
    assert len(set(six)) == len(six)
    assert set(five) < set(six)
    assert len(six) - len(five) == len(six) / 6
    other = quick(epochs=7)
    assert not set(other) & set(five)
    assert quick(seeds=5) == five


def test_device_libraries_and_data_count(monkeypatch, tmp_path):
    def f(*, dataset, device):
        return None

    f.__module__ = "toy_experiments"
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path))
    for split in ("train", "test"):
        for label in "ab":
            (tmp_path / "mine" / split / label).mkdir(parents=True)
            (tmp_path / "mine" / split / label / "1.png").write_bytes(b"1")
    given = {"dataset": "folder:mine"}
    cpu = key.run_key(f, given, device="cpu")
    assert cpu == key.run_key(f, given, device="cpu") != key.run_key(f, given, device="cuda")
    here = key.installed()
    assert set(here) == {"torch", "numpy", "scipy", "scikit-learn"} and "none" not in here.values()
    for library in here:
        major, minor, *patch = here[library].split(".")
        patched, newer = here | {library: f"{major}.{minor}.99+cu130"}, here | {library: f"{major}.99.{'.'.join(patch)}"}
        monkeypatch.setattr(key, "installed", lambda changed=patched: changed)
        assert key.run_key(f, given, device="cpu") == cpu, library  # a patch release
        monkeypatch.setattr(key, "installed", lambda changed=newer: changed)
        assert key.run_key(f, given, device="cpu") != cpu, library
    monkeypatch.undo()
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path))
    assert key.run_key(f, given, device="cpu") == cpu
    (tmp_path / "mine" / "test" / "b" / "1.png").write_bytes(b"22")
    assert key.run_key(f, given, device="cpu") != cpu


def test_parameters_have_one_form():
    as_yaml = {"a": 1, "b": 0.1, "c": [1, 2], "d": True, "e": None, "f": "x"}
    as_numpy = {"f": np.str_("x"), "d": np.bool_(True), "e": None, "c": (np.int64(1), np.int32(2)), "b": np.float64(0.1), "a": np.uint8(1)}
    assert key.canonical(as_numpy) == as_yaml
    assert key.digest(key.canonical(as_numpy)) == key.digest(as_yaml)
    assert list(key.canonical(as_numpy)) == list(as_numpy)  # the order of the table's columns
    assert key.digest({"a": 1}) != key.digest({"a": True})


def test_a_digest_is_the_same_for_ever():
    """The folders of all finished runs are named by it."""
    assert key.digest("text") == "982d9e3eb996f559e633"
    assert key.digest({"b": [1, 0.1, None], "a": "x"}) == key.digest('{"a":"x","b":[1,0.1,null]}')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), {1, 2}, object(), np.arange(3), b"x", 1j])
def test_parameters_that_no_key_can_hold(value):
    with pytest.raises(InputError, match="parameters must be numbers, texts"):
        key.canonical({"a": value})


# --- functions typed in a notebook ----------------------------------------------------------------------------------------------------


def cell_code(*cells: str, function: str = "f") -> str:
    return key.code_of(notebook(*cells)[function])


def test_a_cell_function_counts_with_its_helpers():
    f = "def f(*, seed, device):\n    'doc'\n    return [helper(i) for i in range(seed)]\n"
    first = cell_code("def helper(x):\n    return inner(x)\n", "def inner(x):\n    return x + 1\n", f)
    assert first == cell_code(
        "def helper(x):\n    # why\n    return inner(x)\n", "def inner(x):\n    return x + 1\n", f.replace("doc", "other")
    )
    assert first != cell_code("def helper(x):\n    return inner(x)\n", "def inner(x):\n    return x + 2\n", f)
    assert first != cell_code("def helper(x):\n    return -inner(x)\n", "def inner(x):\n    return x + 1\n", f)


def test_a_helper_typed_again_counts_though_the_function_is_the_same():
    space = notebook("def helper(x):\n    return 1\n", "def f(*, device):\n    return helper(1)\n")
    before = key.code_of(space["f"])
    space["helper"] = notebook("def helper(x):\n    return 2\n")["helper"]
    assert key.code_of(space["f"]) != before


@pytest.mark.parametrize(
    "cells",
    [
        (
            "import numpy as np\nfrom math import sqrt\nfrom collections import Counter\n",
            "def f(*, n, device):\n    return np.exp(sqrt(n)), Counter()\n",
        ),
        ("import ncbook\nimport ncbook.models.networks\n", "def f(*, n, device):\n    return ncbook.load(n)\n"),
        ("from ncbook import measure\n", "def f(*, n, device):\n    return measure(n)\n"),
        ("def f(*, n, device):\n    class Net:\n        width = 3\n        double = width * 2\n    return [str(i) for i in range(n)]\n",),
        ("def f(*, n, device):\n    return f(n=n - 1, device=device) if n else print(__name__)\n",),
        ("import functools\n@functools.lru_cache\ndef helper(n):\n    return n\n", "def f(*, n, device):\n    return helper(n)\n"),
        ("import torch\n", "@torch.no_grad()\ndef f(*, n, device):\n    return n\n"),
        ("def f(*, n, device):\n    import numpy\n    return [x for x in numpy.arange(n) if x in {y for y in range(n)}]\n",),
    ],
)
def test_imports_functions_and_builtins_are_fine(cells):
    assert cell_code(*cells) == cell_code(*cells)


@pytest.mark.parametrize(
    "cells",
    [
        ("rate = 0.1\n", "def f(*, n, device):\n    return rate * n\n"),
        ("rate = 0.1\n", "def f(*, n, device):\n    return [rate * i for i in range(n)]\n"),
        ("rate = 0.1\n", "def f(*, n, device):\n    return (lambda: {i: rate for i in range(n)})()\n"),
        ("rate = 0.1\n", "def f(*, n, device):\n    class A:\n        x = rate\n    return A\n"),
        ("rate = (0.1 for _ in range(3))\n", "def f(*, n, device):\n    return list(rate)\n"),  # has a name, as a function does
        ("rate = 0.1\n", "def helper():\n    return rate\n", "def f(*, n, device):\n    return helper()\n"),
        ("rate = 0.1\n", "def decorate(g):\n    g.rate = rate\n    return g\n", "@decorate\ndef f(*, n, device):\n    return 1\n"),
        (
            "from ncbook.data.presets import spec\nrate = spec('digits')\n",
            "def f(*, n, device):\n    return rate.name\n",
        ),  # an object of ours
        ("import torch\nrate = torch.nn.Linear(2, 2)\n", "def f(*, n, device):\n    return rate(n)\n"),  # callable, and full of numbers
    ],
)
def test_a_variable_of_the_notebook_is_refused(cells):
    with pytest.raises(InputError, match="reads the notebook's variable 'rate', which no run key sees; pass it as a parameter"):
        cell_code(*cells)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("def f(*, n, device):\n    return nowhere\n",), "uses 'nowhere', which is not defined"),
        (
            ("def make(rate):\n    def g(*, device):\n        return rate\n    return g\nf = make(3)\n",),
            "keeps rate from around it; pass it as a parameter",
        ),
        (
            ("class Net:\n    width = 3\n", "def f(*, device):\n    return Net()\n"),
            "'Net'; define it inside the function, or import it from a file",
        ),
        (("f = lambda device: 1\n",), "made by `def`"),
        (("import functools\ndef g(*, n, device):\n    return n\nf = functools.partial(g, n=1)\n",), "made by `def`"),
    ],
)
def test_what_no_key_can_see_is_refused(cells, message):
    with pytest.raises(InputError, match=re.escape(message)):
        cell_code(*cells)


def test_a_function_without_source_is_refused():
    space = {"__name__": "__main__"}
    exec("def f(*, device):\n    return 1\n", space)  # noqa: S102
    with pytest.raises(InputError, match="cannot read the source of f"):
        key.code_of(space["f"])


def test_a_helper_may_be_a_lambda():
    f = "def f(*, n, device):\n    return double(n)\n"
    assert cell_code("double = lambda x: 2 * x\n", f) != cell_code("double = lambda x: x + x\n", f)


def test_defaults_count():
    f = "def f(*, rate=rate, device):\n    return rate\n"
    assert cell_code("rate = 1\n", f) != cell_code("rate = 2\n", f)


def test_a_lazy_import_of_the_package_in_a_cell_counts(package):
    cell = "def f(*, device):\n    from ncbook.metrics.network import measure\n    return measure\n"
    before = cell_code(cell)
    change_a_formula(package / "metrics" / "moments.py")
    assert cell_code(cell) != before


def test_a_file_beside_the_notebook_counts_with_its_neighbours(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_helpers.py").write_text("from own_deeper import g\nLIMIT = 3\ndef helper():\n    return g()\n")
    (tmp_path / "own_deeper.py").write_text("def g():\n    return 1\n")
    cells = ("from own_helpers import helper\n", "def f(*, device):\n    return helper()\n")
    space = notebook(*cells)
    before = key.code_of(space["f"]), key.code_of(space["helper"])
    assert before == (key.code_of(space["f"]), key.code_of(space["helper"]))
    (tmp_path / "own_deeper.py").write_text("def g():\n    return 2 + 1\n")
    after = key.code_of(space["f"]), key.code_of(space["helper"])
    assert before[0] != after[0]
    assert before[1] != after[1]
    for name in ("own_helpers", "own_deeper"):
        del sys.modules[name]


def test_installed_packages_and_the_standard_library_are_not_own_code():
    assert [codes._own(name) for name in ("numpy", "json", "sys", "torch", "__main__", "no_such_module")] == [None] * 6
    assert codes._own("toy_experiments") == Path(inspect.getsourcefile(test_defaults_count)).parent / "toy_experiments"


def test_what_only_names_a_module_does_not_bring_its_code():
    """The table of old names holds the names of half of the package; to follow them would tie a run to modules that it never calls."""
    experiment = codes.PACKAGE / "chapters" / "symmetric_generalization" / "experiment.py"
    opened = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "_parsed", lambda path, changed, real=codes._parsed: opened.append(path) or real(path, changed))
        codes.module_code(experiment)
    reached = {str(path.relative_to(codes.PACKAGE)) for path in opened}
    assert "theory/codes.py" in reached and not {"renamed.py", "metrics/network.py", "publish/records.py"} & reached
