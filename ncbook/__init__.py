"""Models, data, metrics and claims behind the book on neural collapse. The menu: each name is imported when first used."""

from importlib import import_module

__version__ = "0.1.0"

# Lazy, so that `ncbook list` or a build with nothing to do does not import torch.
_menu = {
    "load": "ncbook.data.datasets",
    "measure": "ncbook.metrics.network",
    "collapse_table": "ncbook.metrics.table",
    "ClassMeans": "ncbook.metrics",
    "Collapse": "ncbook.metrics",
    "build_model": "ncbook.models",
    "train": "ncbook.training",
    "sweep": "ncbook.sweeps",
}


def __getattr__(name: str):
    if name in _menu:
        return getattr(import_module(_menu[name]), name)
    raise AttributeError(f"module 'ncbook' has no attribute {name!r}")


def __dir__():
    return sorted(_menu)
