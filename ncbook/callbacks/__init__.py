"""Collapse in other people's training loops, one line each; the framework is imported with its own module.

    from ncbook.callbacks.lightning import CollapseCallback        # Trainer(callbacks=[CollapseCallback(train_loader)])
    from ncbook.callbacks.huggingface import CollapseCallback      # Trainer(..., callbacks=[CollapseCallback(train_loader)])
    from ncbook.callbacks.keras import CollapseCallback            # model.fit(..., callbacks=[CollapseCallback(x, y)])
    from ncbook.callbacks import log_collapse                      # any loop: log_collapse(wandb.log, model, train_loader)

No experiment of the book imports these.
"""

from ncbook.callbacks.plain import collapse_values, log_collapse

__all__ = ["collapse_values", "log_collapse"]
