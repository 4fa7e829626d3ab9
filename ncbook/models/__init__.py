"""Networks. The menu: each name is imported when first used."""

from importlib import import_module

from ncbook.renamed import moved_name

_menu = {
    "ACTIVATIONS": "ncbook.models.networks",
    "PRESETS": "ncbook.models.networks",
    "Network": "ncbook.models.networks",
    "Preset": "ncbook.models.networks",
    "build_model": "ncbook.models.networks",
    "cnn": "ncbook.models.networks",
    "mlp": "ncbook.models.networks",
    "resnet18": "ncbook.models.networks",
    "resnet_small": "ncbook.models.networks",
    "two_layer": "ncbook.models.networks",
    "vectors": "ncbook.models.networks",
    "linear_headed": "ncbook.models.linear_heads",
    "FixedClassifiers": "ncbook.models.fixed_classifier",
}


def __getattr__(name: str):
    if name in _menu:
        return getattr(import_module(_menu[name]), name)
    return moved_name(__name__, name)


def __dir__():
    return sorted(_menu)
