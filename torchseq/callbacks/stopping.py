"""Callbacks that end training early."""

from __future__ import annotations

import math
from typing import Any

from torchseq.base import arguments
from torchseq.callbacks.callback import Callback
from torchseq.callbacks.monitor import MonitorCallback


class EarlyStopping(MonitorCallback):
    """Stops training when a monitored value no longer improves.

    Args:
        monitor: name in the logs.
        min_delta: a change of no more than this is no improvement.
        patience: epochs without improvement after which training stops.
        verbose: 1 prints a line when the callback acts.
        mode: which values are better, `"min"` or `"max"`; `"auto"` asks the metric.
        baseline: only values better than this count as improvement for `patience`.
        restore_best_weights: at the end of training, also when it was not stopped, go back to
            the weights of the best epoch.
        start_from_epoch: epochs at the start whose values do not count.

    Raises:
        ValueError: for another `mode`, or an option that is no number or below 0; after the first
            epoch if there is no such value, or if it is not known which values are better.

    Source: keras.callbacks.EarlyStopping. A missing value, of which Keras warns, is an error,
    and NaN is never the best value, which in Keras it is if it comes first.
    """

    _kept = ("_epoch", "wait", "stopped_epoch", "best", "best_weights", "best_epoch")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = arguments.number(self, "patience", patience, minimum=0)
        self.verbose = verbose
        if baseline is not None:
            arguments.number(self, "baseline", baseline)
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = arguments.number(
            self, "start_from_epoch", start_from_epoch, minimum=0
        )
        self._forget()

    def _forget(self) -> None:
        self._better = None
        self._epoch = 0
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_weights: Any = None
        self.best_epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._forget()  # so that one object serves several calls of `fit`

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep_weights(epoch)  # the first may be the best, whatever the baseline says
        self.wait += 1
        if self.is_improvement(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._keep_weights(epoch)
            if self.baseline is None or self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print(
                    "Restoring model weights from the end of the best epoch: "
                    f"{self.best_epoch + 1}."
                )
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs: Any) -> float | None:
        """Return the monitored value, or None in an epoch without validation."""
        return self.monitored(logs, self._epoch)

    def _keep_weights(self, epoch: int) -> None:
        self.best_weights = self.model.get_weights()
        self.best_epoch = epoch


class TerminateOnNaN(Callback):
    """Stops training when the loss is NaN or infinite.

    It reads the loss after every batch, which waits for the device each time.

    Args:
        raise_error: raise an error instead of ending training in the ordinary way.

    Raises:
        RuntimeError: with `raise_error`, after such a batch.

    Source: keras.callbacks.TerminateOnNaN.
    """

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"TerminateOnNaN: the loss must be finite; got NaN or Inf loss {loss} at batch "
                f"{batch}. Lower the learning rate, or look for NaN in the data."
            )
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
