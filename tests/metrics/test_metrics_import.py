"""A light package: what an import brings in, and what the command line says where the book's packages are missing."""

import copy
import inspect
import pickle
import subprocess
import sys

HEAVY = ("torchvision", "torchmetrics", "matplotlib", "scipy", "sklearn", "typer", "lightning", "transformers")


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_the_metrics_import_nothing_heavy():
    done = run(
        f"import sys; from ncbook import ClassMeans, Collapse, collapse_table, measure; print([m for m in {HEAVY} if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_metric_is_imported_when_it_is_first_used():
    import ncbook.torchvision_compat  # noqa: F401, I001  torchmetrics imports torchvision, which may need help
    from torchmetrics import Metric

    from ncbook import ClassMeans
    from ncbook.metrics import Collapse
    from ncbook.metrics.streaming import ClassMeans as real

    class Mine(ClassMeans):
        pass

    metric = Mine(2, 1)
    assert isinstance(metric, (Metric, real)) and isinstance(metric, ClassMeans) and issubclass(Mine, ClassMeans)
    assert ClassMeans.__name__ == real.__name__ and not isinstance(metric, Collapse)


def test_a_metric_that_is_not_imported_yet_stands_for_its_class_in_types_copies_and_signatures():
    import ncbook.torchvision_compat  # noqa: F401
    from ncbook import ClassMeans
    from ncbook.metrics.streaming import ClassMeans as real

    assert (ClassMeans | None) == (real | None) and (None | ClassMeans) == (real | None)
    for same in (pickle.loads(pickle.dumps(ClassMeans)), copy.copy(ClassMeans), copy.deepcopy(ClassMeans)):
        assert isinstance(same(2, 1), real)
    assert inspect.signature(ClassMeans) == inspect.signature(real)


def test_a_name_whose_packages_are_not_there_names_them():
    done = run(
        "import sys; sys.modules['scipy'] = sys.modules['sklearn'] = sys.modules['torchvision'] = None; from ncbook import load; load"
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ncbook.load needs ") and last.endswith("which is not installed: pip install 'ncbook[train]'"), last


def test_a_command_without_its_packages_says_so_in_one_sentence():
    done = run("import sys; sys.modules['typer'] = None; from ncbook.__main__ import main; main()")
    assert done.returncode == 2 and "pip install 'ncbook[book]'" in done.stderr and "Traceback" not in done.stderr
