"""A Lightning callback: collapse of the validation data, and of training data if given, after each validation."""

from collections.abc import Iterable

try:
    from lightning.pytorch import Callback
    from lightning.pytorch.utilities import rank_zero_warn
except ModuleNotFoundError as error:
    if not str(error.name).startswith("lightning"):  # it is there, and lacks something itself
        raise
    try:  # the older name of the same package
        from pytorch_lightning import Callback
        from pytorch_lightning.utilities import rank_zero_warn
    except ModuleNotFoundError as older:
        if older.name != "pytorch_lightning":
            raise
        raise ImportError("ncbook.callbacks.lightning needs Lightning: pip install lightning") from None

from ncbook.callbacks.plain import MEMORY, check_options, collapse_values, guarded
from ncbook.metrics.network import measure


class CollapseCallback(Callback):
    """Logs ``collapse/val/nc1`` and the other columns of `measure`; with ``train``, a loader without augmentation, also
    ``collapse/train/…``.

    With ``train`` the nearest-mean metrics of the validation data use its class means. ``network`` is the attribute of the Lightning module
    that gives scores, by default the module itself. ``every_n_epochs`` counts epochs of training. Other ``options`` are those of `measure`
    (``head``, ``layer``, ``batch``, ``scores``, …). Lightning's sanity check is left alone, and what cannot be measured makes a
    warning: training is never stopped. Of several validation loaders the first is measured. Under DDP each process measures its shard.
    Raises `InputError` for unknown options.
    """

    def __init__(
        self, train: Iterable | None = None, *, network: str | None = None, every_n_epochs: int = 1, prefix: str = "collapse", **options
    ) -> None:
        check_options(options, measure, every_n_epochs=every_n_epochs)
        self.train, self.network, self.every, self.prefix = train, network, every_n_epochs, prefix
        self.options, self.told = {"memory": MEMORY, **options}, False

    def on_validation_epoch_end(self, trainer, pl_module) -> None:
        if trainer.sanity_checking or trainer.current_epoch % self.every:
            return
        values = guarded(rank_zero_warn, lambda: self._measure(trainer, pl_module))
        pl_module.log_dict(values, rank_zero_only=True, sync_dist=False)

    def _measure(self, trainer, pl_module) -> dict[str, float]:
        loaders = trainer.val_dataloaders
        loaders = list(loaders.values()) if isinstance(loaders, dict) else loaders if isinstance(loaders, (list, tuple)) else [loaders]
        if len(loaders) > 1 and not self.told:
            self.told = True
            rank_zero_warn(f"collapse is measured of the first of {len(loaders)} validation loaders alone")
        val = loaders[0]
        data, names = ((val,), {"train": "val"}) if self.train is None else ((self.train, val), {"test": "val"})
        model = pl_module if self.network is None else getattr(pl_module, self.network)
        table = measure(model, *data, **{"distributed": trainer.world_size > 1, "device": pl_module.device, **self.options})
        return collapse_values(table, prefix=self.prefix, names=names)
