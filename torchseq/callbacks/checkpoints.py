"""Saving the model during training."""

from __future__ import annotations

import os
import string
from collections import ChainMap
from typing import Any

from torchseq.base import arguments, optional, suffixes
from torchseq.callbacks.monitor import MonitorCallback


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, after epochs or batches.

    Args:
        filepath: where to; may have fields such as `{epoch:02d}` (from 1), `{batch}` (from 1) and
            any name in the logs, `{val_loss:.2f}`. Its suffix says which format is written.
        monitor: name in the logs, for `save_best_only`.
        verbose: 1 prints a line when the callback acts.
        save_best_only: save only when the monitored value is better than all before.
        save_weights_only: save weights by `model.save_weights` instead of the whole model.
        mode: which values are better, `"min"` or `"max"`; `"auto"` asks the metric.
        save_freq: `"epoch"`, or a number of batches after which to save.
        initial_value_threshold: the value that the first saved model must beat.

    Raises:
        ImportError: if the format needs h5py and it is not installed.
        ValueError: for a suffix of no format, another `mode` or `save_freq`, or a `filepath` whose
            fields are broken; at the first save, if a field or `monitor` is no name in the logs.

    Source: keras.callbacks.ModelCheckpoint, which asks for `.weights.h5`, `.keras` or `.h5`, warns
    of a missing value where this raises an error, and keeps its best value from one fit to the
    next, where this starts each fit from `initial_value_threshold`.
    """

    _kept = ("best", "_current_epoch", "_batches_since_save", "_last_batch")

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        if initial_value_threshold is not None:
            arguments.number(self, "initial_value_threshold", initial_value_threshold)
        super().__init__(monitor, mode, best=initial_value_threshold)
        self.initial_value_threshold = initial_value_threshold
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._forget()
        if save_freq != "epoch" and not (arguments.is_integer(save_freq) and int(save_freq) > 0):
            raise ValueError(
                "ModelCheckpoint: `save_freq` must be 'epoch' or a positive number of batches; "
                f"got save_freq={save_freq!r}."
            )
        try:
            list(string.Formatter().parse(self.filepath))
        except ValueError as error:
            raise ValueError(
                "ModelCheckpoint: each field of `filepath` must look like {epoch:02d}; got "
                f"filepath={self.filepath!r}: {error}. Write a brace that is meant as such twice."
            ) from None
        self._check_suffix()

    def _forget(self) -> None:
        self._better = None
        self.best = self.initial_value_threshold
        self._current_epoch = 0
        self._batches_since_save = 0
        self._last_batch: int | None = None

    def _check_suffix(self) -> None:
        """Find out now, not after an epoch, whether such a file can be written."""
        suffix = suffixes.suffix_of(self.filepath)
        if "{" in suffix or "}" in suffix or not suffix:
            return  # the fields make the suffix
        known = suffixes.WEIGHT_SUFFIXES if self.save_weights_only else suffixes.MODEL_SUFFIXES
        if suffix not in known:
            raise ValueError(
                f"ModelCheckpoint: `filepath` must end in one of {list(known)} with "
                f"save_weights_only={self.save_weights_only}; got filepath={self.filepath!r}. "
                f"{suffixes.ADVICE}"
            )
        if suffixes.needs_h5py(suffix):
            optional.require("h5py", "keras-files", f"ModelCheckpoint({self.filepath!r})")

    def on_train_begin(self, logs: Any = None) -> None:
        self._forget()  # so that one object serves several calls of `fit`

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._current_epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._is_due(batch):
            self._save(self._current_epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _is_due(self, batch: int) -> bool:
        if self.save_freq == "epoch":
            return False
        # A step may run several batches, of which only the last is told.
        is_new_epoch = self._last_batch is None or batch <= self._last_batch
        self._batches_since_save += batch + 1 if is_new_epoch else batch - (self._last_batch or 0)
        self._last_batch = batch
        if self._batches_since_save < int(self.save_freq):
            return False
        self._batches_since_save = 0
        return True

    def _save(self, epoch: int, batch: int | None, logs: Any) -> None:
        title = f"Epoch {epoch + 1}:"
        reason = self._reason_to_save(title, epoch, logs)
        if reason is None:
            return
        path = self._path(epoch, batch, logs)
        if self.verbose > 0:
            print(f"{title} {reason}saving model to {path}")
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(path, overwrite=True)
        if self.verbose > 0:
            print(f"{title} finished saving model to {path}")

    def _reason_to_save(self, title: str, epoch: int, logs: Any) -> str | None:
        """Return what to print in front of "saving"; None if the model is not to be saved."""
        if not self.save_best_only:
            return ""
        current = self.monitored(logs, epoch)
        if current is None:
            return None
        best = "None" if self.best is None else f"{self.best:.5f}"
        if not self.is_improvement(current, self.best):
            if self.verbose > 0:
                print(f"{title} {self.monitor} did not improve from {best}")
            return None
        self.best = current
        return f"{self.monitor} improved from {best} to {current:.5f}, "

    def _path(self, epoch: int, batch: int | None, logs: Any) -> str:
        known = {"epoch": epoch + 1} if batch is None else {"epoch": epoch + 1, "batch": batch + 1}
        try:
            # A ChainMap, so that only the logs that the path names are read.
            return self.filepath.format_map(ChainMap(known, logs))
        except (KeyError, IndexError) as error:
            raise ValueError(
                f"ModelCheckpoint: each field of `filepath` must name a value; got {error} in "
                f"filepath={self.filepath!r}, and there are {', '.join([*known, *logs])}."
            ) from None
