"""Old names of modules: they warn and give the module at its new place, the same one, and count in a run key as it does."""

import importlib
import subprocess
import sys

import pytest

from ncbook.runs.code import PACKAGE, file_of

MODULES = {
    "ncbook.sweeps": "ncbook.runs",
    "ncbook.sweeps.store": "ncbook.runs.store",
    "ncbook.frames": "ncbook.theory",
    "ncbook.frames.codes": "ncbook.theory.codes",
    "ncbook.frames.fixed": "ncbook.models.fixed_classifier",
    "ncbook.margins": "ncbook.metrics.margins",
    "ncbook.probes": "ncbook.metrics.probes",
    "ncbook.heads": "ncbook.models.linear_heads",
    "ncbook.covering": "ncbook.theory.covering_numbers",
    "ncbook.balanced": "ncbook.theory.balancedness",
    "ncbook.figures": "ncbook.publish.figures",
    "ncbook.provenance": "ncbook.publish.provenance",
    "ncbook.randomness": "ncbook.seeds",
    "ncbook.experiments.rank_robustness": "ncbook.chapters.rank_robustness.experiment",
    "ncbook.claims.quantities.rank_robustness": "ncbook.chapters.rank_robustness.quantities",
}


@pytest.fixture(autouse=True)
def never_imported(monkeypatch):
    for name in [name for name in sys.modules if name in MODULES or name in ("ncbook.experiments", "ncbook.claims.quantities")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.filterwarnings("ignore:ncbook")  # of its package
@pytest.mark.parametrize("old", MODULES)
def test_an_old_name_warns_and_is_the_module_of_today(old):
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {MODULES[old]}"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(MODULES[old])
    assert module.__name__ == module.__spec__.name == MODULES[old]


@pytest.mark.parametrize(
    "statement",
    [
        "from ncbook.sweeps import sweep",
        "from ncbook.frames import frame, rotation",
        "from ncbook.frames.symmetry import permutations",
        "from ncbook.figures import show",
        "from ncbook.provenance import provenance",
        "from ncbook.claims.registry import judge",
        "from ncbook.experiments import rank_robustness; rank_robustness.TABLES",
        "from ncbook.experiments.train_test_collapse import experiment, grid",
        "import ncbook.heads; ncbook.heads.linear_headed",
        "from ncbook.models import FixedFrames",
        "from ncbook.models.fixed_classifier import FixedFrames",
        "from ncbook.theory.codes import frame",
        "from ncbook.theory.alignment import alignment_score",
        "from ncbook.models.networks import mlp; mlp((1, 2, 2), 2).taps",
    ],
)
def test_statements_of_the_version_before_work(statement):
    done = subprocess.run([sys.executable, "-W", "default", "-c", statement], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "<string>:1: DeprecationWarning: " in done.stderr  # it names the line to change


@pytest.mark.parametrize(
    "statement",
    [
        "from ncbook import build_model, load, measure, sweep, train",
        "from ncbook.models import build_model, mlp, PRESETS",
        "from ncbook.training import train, extract, measurement_epochs",
        "from ncbook.metrics import Collapse, ClassMeans, collapse_table",
        "from ncbook.data import load, fingerprint",
    ],
)
def test_names_that_stay(statement):
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning", "-c", statement], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["ncbook.sweepers", "ncbook.experiments.none", "ncbook.frames.none"])
def test_a_name_that_never_was(name):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
    with pytest.raises(ImportError):
        from ncbook.claims.registry import judged  # noqa: F401


def test_a_run_key_counts_the_code_behind_an_old_name():
    assert file_of("ncbook.heads") == PACKAGE / "models" / "linear_heads.py"
    assert file_of("ncbook.experiments.rank_robustness") == PACKAGE / "chapters" / "rank_robustness" / "experiment.py"
    assert file_of("ncbook.sweeps") == PACKAGE / "runs" / "__init__.py"
