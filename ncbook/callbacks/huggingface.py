"""A callback for the Hugging Face Trainer: collapse of the evaluation data at each evaluation."""

import warnings
from collections.abc import Callable, Iterable

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as error:
    if error.name != "transformers":  # it is there, and lacks something itself
        raise
    raise ImportError("ncbook.callbacks.huggingface needs Transformers: pip install transformers accelerate") from None

from ncbook.callbacks.plain import MEMORY, check_options, collapse_values, guarded
from ncbook.metrics.network import measure


class CollapseCallback(TrainerCallback):
    """Adds ``collapse/eval/nc1`` and the other columns of `measure` to the metrics of `Trainer.evaluate` and to ``state.log_history``.

    ``train`` is a loader of training batches, for ``collapse/train/…`` and the training set's class means. The Trainer hands a callback no
    way to its reporters, so ``log`` takes a function of the numbers for them, such as ``wandb.log``. Other ``options`` are those of
    `measure`; for a head that reads tokens give ``head=`` and ``pooling=``. Several evaluation sets are
    told apart as the Trainer does (``collapse/eval_a/nc1``), and ``metric_for_best_model="collapse/eval/nc1"`` is found. What cannot be
    measured makes a warning, never an end of training. Raises `InputError` for unknown options.
    """

    def __init__(self, train: Iterable | None = None, *, log: Callable | None = None, prefix: str = "collapse", **options) -> None:
        check_options(options, measure)
        self.train, self.log, self.prefix = train, log, prefix
        self.options = {"memory": MEMORY, **options}

    def on_evaluate(self, args, state, control, *, model=None, eval_dataloader=None, metrics=None, **kwargs):
        # The Trainer names each of several evaluation sets in its metrics alone: "eval_a_runtime", after those of the user.
        name = ["eval", *(one.removesuffix("_runtime") for one in metrics or {} if one.endswith("_runtime"))][-1]
        name = "eval" if name == "train" else name

        def measured() -> dict[str, float]:
            data, names = ((eval_dataloader,), {"train": name}) if self.train is None else ((self.train, eval_dataloader), {"test": name})
            table = measure(model, *data, **{"distributed": args.world_size > 1, **self.options})
            return collapse_values(table, prefix=self.prefix, names=names)

        values = guarded(warnings.warn, measured)
        if values:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
            if metrics is not None:
                metrics.update(values)
                best = (args.metric_for_best_model or "").removeprefix("eval_")
                if best in values:  # it is looked for under this name
                    metrics[f"eval_{best}"] = values[best]
            if self.log is not None:
                self.log(values)
