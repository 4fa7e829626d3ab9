"""Images made of patches: one object of a few orthogonal patterns, and background patches of noise.

Our reconstruction of the model that Zhang, Gao, Zou & Cao (2025) describe.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.errors import InputError
from ncbook.seeds import child_generator


@dataclass(frozen=True)
class PatchImages:
    """Images at R noise levels, kept as the patches that occur in them: pattern k is row k of `patches`, whatever the image."""

    patches: Tensor  # (R, U, d) float32: the 2K patterns, then the background patches of all images
    index: Tensor  # (N, 1 + P) int64: the rows of `patches` that make each image, its object first
    labels: Tensor  # (N,) float32: +1 for an object of the first K patterns, -1 for one of the others
    patterns: int  # 2K

    def rows(self) -> Tensor:
        """All patches of all images, one a row: (R, N (1 + P), d)."""
        return self.patches[:, self.index.flatten()]


def draw(
    *,
    patterns: int,
    dimension: int,
    samples: int,
    noises: list[float],
    norm: float,
    background: int,
    seed: int,
    split: str,
    device: str | torch.device = "cpu",
) -> PatchImages:
    """`samples` images of one object and `background` patches of noise, in `dimension` pixels a patch, at each of the `noises`.

    The `patterns` (2K, an even number) are orthogonal, of length `norm`, the first half of class +1; each is the object of equally many
    images. Background patches are Gaussian in all directions orthogonal to every pattern. A noise r is their length over that of a pattern
    (root mean square). All noise levels share one draw, scaled; `split` names a draw of images, and all splits of a seed share the
    patterns. `InputError` for sizes that cannot be.

    >>> data = draw(patterns=4, dimension=50, samples=8, noises=[0.0, 2.0], norm=5.0, background=1, seed=0, split="train")
    >>> tuple(data.patches.shape), data.index[5].tolist(), data.labels.tolist()
    ((2, 12, 50), [1, 9], [1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    """
    if patterns < 2 or patterns % 2 or dimension <= patterns:
        raise InputError(
            f"an even number of patterns, and more dimensions than patterns, not {patterns} patterns in {dimension} dimensions."
        )
    if samples < patterns or samples % patterns or background < 1:
        raise InputError(f"samples={samples} must be a multiple of the {patterns} patterns, and background={background} at least 1.")
    if norm <= 0 or any(r < 0 for r in noises) or not len(noises):
        raise InputError(
            f"patterns need a length above 0, and noises must be a list of numbers that are not negative, not {norm} and {noises}."
        )
    basis = torch.linalg.qr(torch.randn(dimension, patterns, generator=child_generator(seed, "patches/patterns"), dtype=torch.float64))[0].T
    xi = torch.randn(samples * background, dimension, generator=child_generator(seed, f"patches/{split}"), dtype=torch.float64)
    xi = (xi - (xi @ basis.T) @ basis) / (dimension - patterns) ** 0.5  # of length about 1
    levels = torch.tensor(noises, dtype=torch.float64)[:, None, None]
    patches = norm * torch.cat([basis.expand(len(noises), -1, -1), levels * xi], dim=1)
    image = torch.arange(samples)
    objects = image % patterns
    behind = patterns + image[:, None] * background + torch.arange(background)
    index = torch.cat([objects[:, None], behind], dim=1)
    labels = torch.where(objects < patterns // 2, 1.0, -1.0)
    return PatchImages(patches.float().to(device), index.to(device), labels.to(device), patterns)


def data_stable_rank(noise: float, *, patterns: int, dimension: int, samples: int, background: int = 1) -> float:
    """Stable rank of all patches of `draw`, to leading order (ours).

    The squared Frobenius norm is N |μ|² (1 + P r²). The largest eigenvalue is the patterns', N |μ|² / 2K, so that the stable rank is
    2K (1 + P r²), until the largest of the noise, σ² (√(N P) + √(d − 2K))² with σ² = r² |μ|² / (d − 2K), overtakes it.

    >>> data_stable_rank(2.0, patterns=4, dimension=500, samples=200)
    20.0
    """
    free = dimension - patterns
    top = max(1 / patterns, noise**2 * ((samples * background) ** 0.5 + free**0.5) ** 2 / (samples * free))
    return (1 + background * noise**2) / top
