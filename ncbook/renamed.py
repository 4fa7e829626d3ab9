"""Modules that have moved: for one version their old names import the module at its new place, with a DeprecationWarning."""

import re
import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec

# below ncbook: the old name, a pattern, and the new one; the first that fits counts, also for what lies below it
MOVED = {
    r"sweeps": "runs",
    r"frames\.fixed": "models.fixed_classifier",
    r"frames\.staged": "training.staged",
    r"(frames|theory)\.alignment": "theory.assignment",
    r"frames": "theory",
    r"balanced": "theory.balancedness",
    r"covering": "theory.covering_numbers",
    r"margins": "metrics.margins",
    r"probes": "metrics.probes",
    r"heads": "models.linear_heads",
    r"patch_cnn": "models.patch_cnn",
    r"checkpoints": "training.checkpoint",
    r"randomness": "seeds",
    r"vision": "torchvision_compat",
    r"(execute|figures|ledger|provenance|records|render|trust|verify)": r"publish.\1",
    r"experiments\.(\w+)": r"chapters.\1.experiment",
    r"claims\.quantities\.(\w+)": r"chapters.\1.quantities",
}
GONE = {"ncbook.experiments", "ncbook.claims.quantities"}  # packages of which each module has a place of its own now
# names that left a module which is still there, or that are others there now
NAMES = {
    "ncbook.runs.pool": {
        "call": "ncbook.runs.worker.call",
        "prepare_worker": "ncbook.runs.worker.prepare_worker",
        "time_limit": "ncbook.runs.run.time_limit",
    },
    "ncbook.claims.registry": {"judge": "ncbook.publish.judge.judge", "Verdicts": "ncbook.publish.verdicts.Verdicts"},
    "ncbook.models": {"FixedFrames": "ncbook.models.fixed_classifier.FixedClassifiers"},
    "ncbook.models.fixed_classifier": {"FixedFrames": "ncbook.models.fixed_classifier.FixedClassifiers"},
    "ncbook.theory": {"frame": "ncbook.theory.codes.spherical_code"},
    "ncbook.theory.codes": {"frame": "ncbook.theory.codes.spherical_code"},
    "ncbook.theory.assignment": {"alignment_score": "ncbook.theory.assignment.assignment_score"},
}


def current(name: str) -> str:
    """The name of a module today.

    >>> current("ncbook.sweeps.store"), current("ncbook.experiments.wide_networks"), current("ncbook.data")
    ('ncbook.runs.store', 'ncbook.chapters.wide_networks.experiment', 'ncbook.data')
    """
    for old, new in MOVED.items():
        now, replaced = re.subn(rf"^ncbook\.{old}(?![^.])", f"ncbook.{new}", name)
        if replaced:
            return now
    return name


def moved_name(module: str, name: str):
    """What a `module` called by a `name` that has gone or changed: for the module's own ``__getattr__``."""
    if name not in NAMES.get(module, {}):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    now = NAMES[module][name]
    warnings.warn(f"{module}.{name} has moved to {now}", DeprecationWarning, stacklevel=3)
    place, _, name = now.rpartition(".")
    return getattr(import_module(place), name)


class _Moved:
    """Finds modules by their old names, and imports the new ones in their place. Before the other finders: a package under its old name is
    the new one, in whose folder they would find its modules a second time."""

    @classmethod
    def find_spec(cls, name: str, path=None, target=None) -> ModuleSpec | None:
        if not name.startswith("ncbook.") or (name not in GONE and current(name) == name):
            return None
        return ModuleSpec(name, cls, is_package=name in GONE)  # type: ignore[arg-type]  # the class is its own loader

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        return None

    @staticmethod
    def exec_module(module) -> None:
        if (name := module.__name__) not in GONE:
            warnings.warn(f"{name} has moved to {current(name)}", DeprecationWarning, stacklevel=2)
            sys.modules[name] = import_module(current(name))  # the import goes on with what it finds here


sys.meta_path.insert(0, _Moved)
