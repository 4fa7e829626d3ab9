"""A callback for the Hugging Face Trainer: collapse of the evaluation data at each evaluation."""

import warnings
from collections.abc import Callable, Iterable

from transformers import TrainerCallback

from ncbook.callbacks.plain import MEMORY, collapse_values, guarded
from ncbook.metrics.network import measure


class CollapseCallback(TrainerCallback):
    """Adds ``collapse/eval/nc1`` and the other columns of `measure` to the metrics of `Trainer.evaluate` and to ``state.log_history``.

    ``train`` is a loader of training batches, for ``collapse/train/…`` and the training set's class means. The Trainer hands a callback no
    way to its reporters, so ``log`` takes a function of the numbers for them, such as ``wandb.log``. Other ``options`` are those of
    `measure`; for a head that reads tokens give ``head=`` and ``pooling=``. What cannot be measured makes a warning, never an end of
    training.
    """

    def __init__(self, train: Iterable | None = None, *, log: Callable | None = None, prefix: str = "collapse", **options) -> None:
        self.train, self.log, self.prefix = train, log, prefix
        self.options = {"memory": MEMORY, **options}

    def on_evaluate(self, args, state, control, *, model=None, eval_dataloader=None, metrics=None, **kwargs):
        def measured() -> dict[str, float]:
            data, names = (
                ((eval_dataloader,), {"train": "eval"}) if self.train is None else ((self.train, eval_dataloader), {"test": "eval"})
            )
            table = measure(model, *data, **{"distributed": args.world_size > 1, **self.options})
            return collapse_values(table, prefix=self.prefix, names=names)

        values = guarded(warnings.warn, measured)
        if values:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
            if metrics is not None:
                metrics.update(values)
            if self.log is not None:
                self.log(values)
