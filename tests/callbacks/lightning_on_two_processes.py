"""Run by `test_callbacks.py`: two gloo processes with uneven shards of the validation data; prints what the callback logged."""

import json

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ncbook.torchvision_compat  # noqa: F401

import lightning.pytorch as pl  # isort: skip  it imports torchvision
from ncbook.callbacks.lightning import CollapseCallback


def digits():
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.net(x)

    def validation_step(self, batch, _):
        self(batch[0])

    def val_dataloader(self):
        x, y = digits()
        part = slice(0, 400) if self.trainer.global_rank == 0 else slice(400, None)
        return DataLoader(TensorDataset(x[part], y[part]), 100)


class Printed(pl.Callback):
    def on_validation_end(self, trainer, pl_module):
        if trainer.global_rank == 0:
            print("LOGGED", json.dumps({name: float(value) for name, value in trainer.callback_metrics.items()}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_spawn", use_distributed_sampler=False, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[CollapseCallback(), Printed()],
    )  # fmt: skip
    trainer.validate(Classifier(), verbose=False)
