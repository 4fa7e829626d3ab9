"""Spherical codes (C unit vectors in d dimensions), their bounds and symmetries; balanced layers; covering numbers; what collapse costs.

The menu of spherical codes: each name is imported when first used.
"""

from importlib import import_module

from ncbook.renamed import moved_name

_menu = {
    "spherical_code": "ncbook.theory.codes",
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
    return moved_name(__name__, name)


def __dir__():
    return sorted(_menu)
