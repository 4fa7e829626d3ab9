"""A network as it stands, on a split: its error, whether it has none, and its features. Several processes share the images."""

import torch
from torch import Tensor, nn

from ncbook.metrics.devices import no_tf32
from ncbook.training.parallel import everywhere, share, total, whole


def error(model: nn.Module, split) -> float:
    """Share of a split that the model, as it stands, classifies wrongly."""
    return _wrong(model, split) / len(split.labels)


def accuracy(model: nn.Module, split) -> float:
    """Share of a split that the model, as it stands, classifies correctly."""
    return (len(split.labels) - _wrong(model, split)) / len(split.labels)


@torch.no_grad()
@no_tf32()
def _wrong(model: nn.Module, split) -> int:
    return int(total(sum((model(x).argmax(1) != y).sum() for x, y in share(split).batches(prediction_batch(split)))))


def prediction_batch(split) -> int:
    """Images a batch for predictions: 512 KiB of them on a CPU, between 32 and 1,024, so that what a convolutional network makes of them
    stays in the cache; 1,024 elsewhere, where larger is faster."""
    if split.labels.device.type != "cpu":
        return 1024
    return min(1024, max(32, 2**17 // split.images[0].numel()))  # four bytes a value


SUSPECTS = 16  # images: one of them is as a rule still wrong an epoch later


class Interpolation:
    """Whether a network classifies every image of a split correctly, to be asked after each epoch.

    The answer is no at the first batch with a wrong image, and a few of the images that were wrong when last asked come first: long before
    the terminal phase it costs these, not a pass.
    """

    def __init__(self, split):
        self.split, self.size = share(split), prediction_batch(split)
        self.suspects: Tensor | None = None  # positions in the split

    def __call__(self, model: nn.Module) -> bool:
        return everywhere(self._on_share(model), self.split.labels.device)

    @torch.no_grad()
    @no_tf32()
    def _on_share(self, model: nn.Module) -> bool:
        if self.suspects is not None:
            images, labels = self.split.images[self.suspects], self.split.labels[self.suspects]
            if (model(self.split.normalise(images)).argmax(1) != labels).any():
                return False
        for number, (x, y) in enumerate(self.split.batches(self.size)):
            wrong = model(x).argmax(1) != y
            if wrong.any():
                self.suspects = number * self.size + wrong.nonzero().flatten()[:SUSPECTS]
                return False
        return True


@torch.no_grad()
@no_tf32()
def extract(model, split, *, layer: str | None = None, pooled: bool = True, batch_size: int = 1024) -> Tensor:
    """Features (N, d), float32, of a split's images at a layer of a `models.Network`, in the split's own order and without augmentation."""
    parts = [model.features(x, layer, pooled=pooled).float() for x, _ in share(split).batches(batch_size)]
    return whole(torch.cat(parts), split)


@torch.no_grad()
@no_tf32()
def extract_layers(model, split, *, pooled: bool = True, batch_size: int = 1024) -> dict[str, Tensor]:
    """`extract` at every layer in one pass over the split: {layer: (N, d of the layer)}, first to last."""
    parts = [model.all_features(x, pooled=pooled) for x, _ in share(split).batches(batch_size)]
    return {layer: whole(torch.cat([part[layer].float() for part in parts]), split) for layer in model.layers}
