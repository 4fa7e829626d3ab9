"""Augmentation of a whole batch of uint8 images on its device, without a loop over images."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor

from ncbook.errors import InputError, unknown


def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its side along each axis, with black coming in; same shape (B, channels, H, W).

    The usual "pad by 4, crop at random" for 32 x 32 images, and in proportion for others.
    """
    return _shift(images, generator, flip=False)


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """`crop`, then mirror left to right with probability one half: the augmentation of CIFAR. Digits and letters want `crop` alone."""
    return _shift(images, generator, flip=True)


AUGMENTATIONS: MappingProxyType[str, Callable[[Tensor, torch.Generator], Tensor]] = MappingProxyType({"crop": crop, "crop_flip": crop_flip})


def augmentation(name: str) -> Callable[[Tensor, torch.Generator], Tensor]:
    """The function of an augmentation's name; an `InputError` with the known names where there is none."""
    if name not in AUGMENTATIONS:
        raise unknown("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


def _shift(images: Tensor, generator: torch.Generator, *, flip: bool) -> Tensor:
    if images.ndim != 4 or images.dtype != torch.uint8:
        raise InputError(f"only uint8 images (B, channels, H, W) can be augmented, not {images.dtype} {tuple(images.shape)}")
    batch, channels, height, width = images.shape
    draws = [_start(batch, height, generator), _start(batch, width, generator)]
    if flip:
        draws.append(torch.rand(batch, 1, generator=generator, device=generator.device) < 0.5)
    # a few numbers an image go to the device, which waits for none of them
    top, left, *mirrored = torch.cat(draws, dim=1).to(images.device, non_blocking=True).split(1, dim=1)  # (B, 1) each
    rows = top + torch.arange(height, device=images.device)  # (B, H): consecutive positions in the padded image
    columns = left + torch.arange(width, device=images.device)  # (B, W)
    if flip:
        columns = torch.where(mirrored[0].bool(), columns.flip(1), columns)
    margins = (width // 8, width // 8, height // 8, height // 8)
    padded = torch.nn.functional.pad(images, margins)  # (B, channels, H + 2 H/8, W + 2 W/8)
    pixel = rows[:, :, None] * padded.shape[3] + columns[:, None, :]  # (B, H, W): positions in a flat padded image
    # gather is five times as fast as indexing with four tensors
    return padded.flatten(2).gather(2, pixel.flatten(1)[:, None].expand(-1, channels, -1)).reshape(images.shape)


def _start(batch: int, side: int, generator: torch.Generator) -> Tensor:
    """Where each image's random window begins along one axis of the padded image: (B, 1)."""
    return torch.randint(0, 2 * (side // 8) + 1, (batch, 1), generator=generator, device=generator.device)
