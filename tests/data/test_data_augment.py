"""Augmentation against a slow loop, image by image."""

import numpy as np
import pytest
import torch

from ncbook.data.augment import AUGMENTATIONS, augmentation
from ncbook.data.datasets import load
from ncbook.errors import InputError
from ncbook.seeds import child_generator


def crops(image: np.ndarray, *, flip: bool) -> dict[bytes, tuple]:
    """Every result that is allowed for one image (channels, H, W): {pixels: (dy, dx, flipped)}."""
    channels, height, width = image.shape
    pad = np.zeros((channels, height + 2 * (height // 8), width + 2 * (width // 8)), dtype=image.dtype)
    pad[:, height // 8 : height // 8 + height, width // 8 : width // 8 + width] = image
    found = {}
    for dy in range(2 * (height // 8) + 1):
        for dx in range(2 * (width // 8) + 1):
            window = pad[:, dy : dy + height, dx : dx + width]
            found[window.tobytes()] = (dy, dx, False)
            if flip:
                found[np.ascontiguousarray(window[:, :, ::-1]).tobytes()] = (dy, dx, True)
    return found


@pytest.mark.parametrize(("name", "flip"), [("crop", False), ("crop_flip", True)])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 16)])
def test_each_image_is_one_of_the_allowed_windows_and_all_are_drawn(name, flip, shape):
    images = torch.randint(1, 256, (1, *shape), dtype=torch.uint8, generator=child_generator(0, "images"))
    allowed = crops(images[0].numpy(), flip=flip)
    out = AUGMENTATIONS[name](images.expand(40 * len(allowed), *shape), child_generator(1, "augment"))
    assert out.dtype == torch.uint8 and out.shape == (40 * len(allowed), *shape)
    counts = dict.fromkeys(allowed.values(), 0)
    for image in out.numpy():
        counts[allowed[image.tobytes()]] += 1  # a KeyError is an image that no shift gives
    assert min(counts.values()) > 10 and max(counts.values()) < 90  # 40 expected each, all (dy, dx, flip) alike


def test_channels_and_images_are_not_mixed_up():
    images = torch.arange(1, 7, dtype=torch.uint8).reshape(2, 3, 1, 1).expand(2, 3, 32, 32)
    out = AUGMENTATIONS["crop_flip"](images, child_generator(0, "augment"))
    for i in range(2):
        for c in range(3):
            assert set(out[i, c].unique().tolist()) - {0} == {3 * i + c + 1}


def test_batches_augment_from_the_generator():
    data = load("mnist5k", train_size=100)
    run = lambda seed, **kw: torch.cat([x for x, _ in data.train.batches(64, generator=child_generator(seed, "b"), **kw)])
    assert torch.equal(run(0, augment="crop"), run(0, augment="crop"))
    assert not torch.equal(run(0, augment="crop"), run(1, augment="crop"))
    assert not torch.equal(run(0, augment="crop"), run(0))
    assert run(0, augment="crop").dtype == torch.float32


def test_refusals():
    with pytest.raises(InputError, match="unknown augmentation 'crop_flop'; did you mean 'crop_flip'"):
        augmentation("crop_flop")
    vectors = load("gaussian", train_size=100).train
    with pytest.raises(InputError, match="holds vectors"):
        vectors.batches(10, augment="crop", generator=child_generator(0, "b"))
    with pytest.raises(InputError, match="only uint8"):
        augmentation("crop")(torch.zeros(2, 1, 8, 8), child_generator(0, "b"))
