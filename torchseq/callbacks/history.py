"""The record of training that `fit` returns."""

from __future__ import annotations

from typing import Any

from torchseq.callbacks.callback import Callback


class History(Callback):
    """Keeps the results of each epoch; `fit` makes one and returns it.

    Attributes:
        history: name -> list with one float per epoch, such as `history["val_loss"]`.
        epoch: the indices of the epochs, from 0.

    Source: keras.callbacks.History.
    """

    _kept = ("history", "epoch")

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
