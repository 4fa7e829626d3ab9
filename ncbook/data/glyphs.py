"""Real images of many classes without a download: letters and digits in the faces of the DejaVu fonts that come with matplotlib.

A class is a character; its images are that character in one of `FACES`, a little turned, sheared, scaled and moved. The outlines are read
from the fonts without hinting and sampled here, so that no version of a rasteriser changes a pixel.
"""

from __future__ import annotations

import math
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncbook.data.files import locate, read
from ncbook.data.presets import MOST_GLYPHS, PRESETS
from ncbook.errors import InputError
from ncbook.seeds import child_generator

FACES = tuple(Path(file.path).stem for file in PRESETS["glyphs"].files)
FIRST = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz"  # then letters of other alphabets and with accents, by code point
SIDE = 16  # pixels
FINE = 3  # samples a pixel along each side
TURN, SHEAR, SCALE, MOVE = 0.2, 0.15, 0.12, 0.06  # most: radians, slope, relative, share of the side


@cache
def characters() -> tuple[str, ...]:
    """The characters that are classes, in order: all that every face has, less those that look like an earlier one in some face."""
    common = set.intersection(*(set(_font(face).get_charmap()) for face in FACES))
    letters = (chr(code) for code in sorted(common) if unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo"))
    seen: set[tuple[str, bytes]] = set()
    chosen = []
    for character in [*FIRST, *(letter for letter in letters if letter not in FIRST)]:
        shapes = {(face, _outline(face, character).vertices.tobytes()) for face in FACES}
        if not shapes & seen:
            chosen.append(character)
        seen |= shapes
        if len(chosen) == MOST_GLYPHS:
            break
    return tuple(chosen)


def draw(classes: int, *, per_class: int, seed: int, split: str) -> tuple[Tensor, Tensor]:
    """`per_class` images of each of the first `classes` characters: (N, 1, 16, 16) uint8, labels (N,) int64 as 0, 1, …, C-1, 0, 1, …

    Each class has a stream of its own, read in blocks of 64, so the first n images of a class are the same however many are asked for.
    """
    return _drawn(classes, per_class, seed, split).clone(), torch.arange(classes).repeat(per_class)


@lru_cache(maxsize=16)  # the networks of a seed that differ in something else share their images
def _drawn(classes: int, per_class: int, seed: int, split: str) -> Tensor:
    images = []
    for character in characters()[:classes]:
        generator = child_generator(seed, f"data/glyphs/{split}/{character}")
        numbers = torch.cat([torch.rand(64, 7, generator=generator, dtype=torch.float64) for _ in range(math.ceil(per_class / 64))])
        images.append(np.stack([_image(character, row) for row in numbers[:per_class].numpy()]))
    return torch.from_numpy(np.stack(images, axis=1).reshape(-1, 1, SIDE, SIDE))


def names(classes: int) -> tuple[str, ...]:
    """What the classes are called: their characters.

    >>> "".join(names(62))[24:40]
    'YZ0123456789abcd'
    """
    return characters()[:classes]


def _image(character: str, numbers: np.ndarray) -> np.ndarray:
    """One image (16, 16) uint8 from seven numbers in [0, 1): the face, and how it is turned, sheared, scaled along each axis and moved."""
    contours = _contours(FACES[int(numbers[0] * len(FACES))], character)
    turn, shear, wide, high, right, up = (2 * numbers[1:] - 1) * (TURN, SHEAR, SCALE, SCALE, MOVE, MOVE)
    cosine, sine = math.cos(turn), math.sin(turn)
    onto = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1 + wide, shear], [0, 1 + high]])
    # from the points of the image, a square of side 1 around 0 with its first row on top, back to the outline's em
    at = (np.arange(SIDE * FINE) + 0.5) / (SIDE * FINE) - 0.5
    points = np.stack(np.meshgrid(at - right, -at - up), axis=-1).reshape(-1, 2) @ np.linalg.inv(onto).T
    inside = np.logical_xor.reduce([contour.contains_points(points) for contour in contours])  # a contour in another is a hole
    inside = inside.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    return np.round(255 * inside).astype(np.uint8)


@cache
def _outline(face: str, character: str):
    """The outline of a character, in a square of side 1 around 0 that holds all faces' letters: centred along a line, not across it."""
    from matplotlib.path import Path as Outline

    font = _font(face)
    font.load_char(ord(character), flags=_flags())
    vertices, codes = font.get_path()
    if not len(vertices):
        raise InputError(f"{face} has no outline for {character!r}.")
    ems = 64 * vertices / font.units_per_EM  # FT2Font counts in 64ths, whether they are of a pixel or not
    middle = (ems[:, 0].min() + ems[:, 0].max()) / 2
    return Outline((ems - (middle, 0.3)) / 1.3, codes)


@cache
def _contours(face: str, character: str) -> list:
    from matplotlib.path import Path as Outline

    return [Outline(polygon) for polygon in _outline(face, character).to_polygons()]


def _flags():
    from matplotlib.ft2font import LoadFlags

    return LoadFlags.NO_SCALE | LoadFlags.NO_HINTING


@cache
def _font(face: str):
    from matplotlib.ft2font import FT2Font

    glyphs = PRESETS["glyphs"]
    (file,) = (file for file in glyphs.files if Path(file.path).stem == face)
    read(glyphs, file)  # another font would make other images: an error
    return FT2Font(str(locate(glyphs, file)))
