"""Models, data, metrics and claims behind the book on neural collapse. The menu: each name is imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

import ncbook.renamed  # noqa: F401  old names of modules
from ncbook.version import __version__ as __version__

# Lazy, so that `ncbook list` or a build with nothing to do does not import torch.
_menu = {
    "load": "ncbook.data.datasets",
    "measure": "ncbook.metrics.network",
    "collapse_table": "ncbook.metrics.table",
    "ClassMeans": "ncbook.metrics",
    "Collapse": "ncbook.metrics",
    "build_model": "ncbook.models.networks",
    "train": "ncbook.training.loop",
    "sweep": "ncbook.runs.plan",
}

if TYPE_CHECKING:
    from ncbook.data.datasets import load as load
    from ncbook.metrics import ClassMeans as ClassMeans
    from ncbook.metrics import Collapse as Collapse
    from ncbook.metrics.network import measure as measure
    from ncbook.metrics.table import collapse_table as collapse_table
    from ncbook.models.networks import build_model as build_model
    from ncbook.runs.plan import sweep as sweep
    from ncbook.training.loop import train as train


def __getattr__(name: str):
    if name in _menu:
        try:
            return getattr(import_module(_menu[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("ncbook"):
                raise
            raise ImportError(f"ncbook.{name} needs {error.name}, which is not installed: pip install 'ncbook[train]'") from error
    raise AttributeError(f"module 'ncbook' has no attribute {name!r}")


def __dir__():
    return sorted(_menu)
