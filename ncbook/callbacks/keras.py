"""A Keras 3 callback, on any backend: features go through NumPy."""

import warnings

import numpy as np
import torch

try:
    import keras
except ModuleNotFoundError as error:
    if error.name != "keras":  # it is there, and lacks something itself
        raise
    raise ImportError("ncbook.callbacks.keras needs Keras 3: pip install keras") from None

from ncbook.callbacks.plain import check_options, collapse_values, guarded
from ncbook.errors import InputError
from ncbook.metrics.head import _agrees, two_class
from ncbook.metrics.table import collapse_table


class CollapseCallback(keras.callbacks.Callback):
    """Adds ``collapse/train/nc1`` and the other columns of `collapse_table` to the logs of each epoch, for the data ``x`` and labels ``y``.

    ``validation`` is ``(x, y)`` of a second split. The features are the input of the last dense layer, which must make the network's
    output, if need be after a softmax or sigmoid; ``layer`` names another dense one. Labels may be one-hot. ``options`` are those of
    `collapse_table`. What cannot be measured makes a warning: training goes on. Raises `InputError` for unknown options.
    """

    def __init__(
        self,
        x,
        y,
        validation: tuple | None = None,
        *,
        layer: str | None = None,
        every_n_epochs: int = 1,
        batch_size: int = 256,
        prefix: str = "collapse",
        **options,
    ) -> None:
        check_options(options, collapse_table, every_n_epochs=every_n_epochs)
        super().__init__()
        self.data = [(x, y)] + ([] if validation is None else [validation])
        self.layer, self.every, self.batch_size, self.prefix = layer, every_n_epochs, batch_size, prefix
        self.options = {"kmeans": False, **options}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch % self.every == 0:
            values = guarded(warnings.warn, self._measure)
            if logs is not None:
                logs.update(values)

    def _measure(self) -> dict[str, float]:
        dense = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dense)]
        if self.layer is not None:
            dense = [layer for layer in dense if layer.name == self.layer]
        if not dense:
            raise InputError("the network has no dense layer" + (f" named {self.layer!r}" if self.layer else ""))
        head = dense[-1]
        kernel, *bias = (np.asarray(keras.ops.convert_to_numpy(part)) for part in head.weights)
        both = keras.Model(self.model.inputs, [head.input, self.model.outputs[0]])
        splits = []
        for x, y in self.data:
            features, outputs = both.predict(x, batch_size=self.batch_size, verbose=0)
            scores = torch.from_numpy(features @ kernel + (bias[0] if bias else 0))
            if not _agrees(scores, torch.from_numpy(outputs)):
                raise InputError(f"the dense layer {head.name!r} does not make the network's output; name one with layer=")
            decided = (scores[:, 0] > 0).long() if scores.shape[1] == 1 else outputs
            splits.append((features, _labels(np.asarray(y), outputs.shape[1]), decided))
        weight, offset = torch.from_numpy(kernel.T), torch.from_numpy(bias[0]) if bias else None
        weight, offset = two_class(weight, offset) if len(weight) == 1 else (weight, offset)
        table = collapse_table(*splits, weight=weight, bias=offset, **self.options)
        return collapse_values(table, prefix=self.prefix, names={"test": "val"})


def _labels(y: np.ndarray, columns: int) -> np.ndarray:
    """Labels (N,) as integers from the forms that Keras takes: one-hot rows, a column, whole numbers as floats."""
    if y.ndim == 2 and y.shape[1] == columns > 1:
        if not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
            raise InputError("the labels are rows of shares, not one-hot, and so have no one class a sample")
        return y.argmax(1)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    return y.astype(np.int64) if y.dtype.kind in "fb" and (y == np.floor(y)).all() else y
