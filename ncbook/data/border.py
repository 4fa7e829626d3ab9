"""Images with Gaussian noise in their border: background that tells nothing of the label."""

from dataclasses import replace

import torch
from torch import Tensor

from ncbook.data.datasets import Dataset, Split
from ncbook.errors import InputError
from ncbook.seeds import child_generator


def noisy_border(data: Dataset, noise: float, *, border: int, pad: int = 0, seed: int) -> Dataset:
    """`data` with `pad` black pixels around each image and then Gaussian noise of deviation `noise` in the outer `border` pixels.

    Pixels run from 0 to 1 and are neither centred nor rescaled, so that without noise a black background is exactly 0. Each image has its
    own noise, the same whenever it is seen; another `noise` scales the same draw. Raises `InputError` where there is no border or the
    images are not pixels.

    >>> from ncbook.data.datasets import load
    >>> noisy = noisy_border(load("digits", train_size=100), 1.0, border=3, pad=3, seed=0)
    >>> noisy.image_shape, round(float(noisy.train.images[:, :, :3].std()), 1)
    ((1, 14, 14), 1.0)
    """
    height, width = (n + 2 * pad for n in data.image_shape[1:])
    if data.train.images.dtype != torch.uint8:
        raise InputError(f"a noisy border is for images; {data.name} holds vectors.")
    if pad < 0 or noise < 0 or not 0 < border < min(height, width) / 2:
        raise InputError(
            f"border={border} must leave a middle of {height} × {width} pixels, and noise={noise} and pad={pad} not be negative."
        )
    where = torch.ones(height, width)
    where[border : height - border, border : width - border] = 0

    def noised(split: Split, name: str) -> Split:
        images: Tensor = torch.nn.functional.pad(split.images.float() / 255, [pad] * 4)
        xi = torch.randn(images.shape, generator=child_generator(seed, f"border noise/{name}"))
        zero = torch.zeros_like(split.mean)
        return replace(split, images=images + (noise * where * xi).to(images.device), mean=zero, std=zero + 1)

    return replace(data, train=noised(data.train, "train"), test=noised(data.test, "test"))
