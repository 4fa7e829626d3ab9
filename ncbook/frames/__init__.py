"""Frames of C unit vectors in d dimensions: `frame` (closed forms and searched codes), their bounds and symmetries.

The menu. Inside the package, import from the defining module.
"""

from ncbook.frames.codes import frame, orthoplex, polygon, search, simplex
from ncbook.frames.geometry import best_known, largest_cosine, lower_bound, one_vs_rest
from ncbook.frames.symmetry import automorphisms, permutations, rotation

__all__ = [
    "automorphisms",
    "best_known",
    "frame",
    "largest_cosine",
    "lower_bound",
    "one_vs_rest",
    "orthoplex",
    "permutations",
    "polygon",
    "rotation",
    "search",
    "simplex",
]
