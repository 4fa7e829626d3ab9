"""Frames of C unit vectors in d dimensions: `frame` (closed forms and searched codes), their bounds and symmetries; bounds of theorems. The menu: each name is imported when first used."""

from importlib import import_module

_menu = {
    "frame": "ncbook.theory.codes",
    "orthoplex": "ncbook.theory.codes",
    "polygon": "ncbook.theory.codes",
    "search": "ncbook.theory.codes",
    "simplex": "ncbook.theory.codes",
    "best_known": "ncbook.theory.geometry",
    "largest_cosine": "ncbook.theory.geometry",
    "lower_bound": "ncbook.theory.geometry",
    "one_vs_rest": "ncbook.theory.geometry",
    "automorphisms": "ncbook.theory.symmetry",
    "permutations": "ncbook.theory.symmetry",
    "rotation": "ncbook.theory.symmetry",
}


def __getattr__(name: str):
    if name in _menu:
        return getattr(import_module(_menu[name]), name)
    raise AttributeError(f"module 'ncbook.theory' has no attribute {name!r}")


def __dir__():
    return sorted(_menu)
