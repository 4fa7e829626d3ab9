"""Image sets for the experiments. The menu: each name is imported when first used, so that asking for a fingerprint imports no torch."""

from importlib import import_module

_menu = {
    "load": "ncbook.data.datasets",
    "Dataset": "ncbook.data.datasets",
    "Split": "ncbook.data.datasets",
    "spec": "ncbook.data.presets",
    "DatasetSpec": "ncbook.data.presets",
    "PRESETS": "ncbook.data.presets",
    "check": "ncbook.data.files",
    "data_root": "ncbook.data.files",
    "fingerprint": "ncbook.data.files",
    "fetch": "ncbook.data.download",
    "bayes_error": "ncbook.data.gaussian",
    "AUGMENTATIONS": "ncbook.data.augment",
}


def __getattr__(name: str):
    if name in _menu:
        return getattr(import_module(_menu[name]), name)
    raise AttributeError(f"module 'ncbook.data' has no attribute {name!r}")


def __dir__():
    return sorted(_menu)
