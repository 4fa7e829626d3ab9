"""Training: the one loop, many networks at once, checkpoints. The menu: each name is imported when first used."""

from importlib import import_module

_menu = {
    "LOSSES": "ncbook.training.loop",
    "SCHEDULES": "ncbook.training.loop",
    "Recipe": "ncbook.training.recipe",
    "State": "ncbook.training.loop",
    "accuracy": "ncbook.training.evaluate",
    "error": "ncbook.training.evaluate",
    "extract": "ncbook.training.evaluate",
    "extract_layers": "ncbook.training.evaluate",
    "measurement_epochs": "ncbook.training.loop",
    "squared_loss": "ncbook.training.loop",
    "takes_recipe": "ncbook.training.recipe",
    "train": "ncbook.training.loop",
    "train_by_epoch": "ncbook.training.together",
    "train_together": "ncbook.training.together",
}


def __getattr__(name: str):
    if name in _menu:
        return getattr(import_module(_menu[name]), name)
    raise AttributeError(f"module 'ncbook.training' has no attribute {name!r}")


def __dir__():
    return sorted(_menu)
