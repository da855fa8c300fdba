"""`fit`: trains a model for a number of epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from torchseq.base import process
from torchseq.base.modes import mode
from torchseq.callbacks import History
from torchseq.data import adapters, arrays
from torchseq.data.epochs import Epochs
from torchseq.distribution.runs import current
from torchseq.engine import checks, interrupts
from torchseq.engine.evaluation import Evaluating
from torchseq.engine.resuming import Position, Resumable


class Fitting(Evaluating, Resumable):
    """The part of `Trainer` that trains."""

    history: History

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> History:
        """Train for a number of epochs.

        Args:
            x: inputs, samples first: an array, tensor, list, table or sparse matrix. Or what gives
                batches `(x, y)` or `(x, y, sample_weight)`: a DataLoader, a PyDataset, a generator
                or another iterable. Or a torch Dataset, which gives samples.
            y: targets, samples first; class numbers or one-hot rows, as the loss wants. None if
                `x` gives them.
            batch_size: samples per update; 32 by default. Has no meaning where `x` gives batches.
            epochs: index at which training ends, `initial_epoch` included.
            verbose: 0 silent, 1 or `"auto"` a progress bar, 2 a line per epoch.
            callbacks: a callback or a list of them.
            validation_split: fraction of the samples, the last ones, to validate on; for arrays.
            validation_data: `(x, y)` or `(x, y, sample_weight)`, or what `x` may be else.
            shuffle: True, False, or `"batch"`, which keeps batches together. Has no meaning where
                `x` gives batches in an order of its own.
            class_weight: class number -> weight of its samples.
            sample_weight: a weight per sample.
            initial_epoch: index of the first epoch.
            steps_per_epoch: batches per epoch; all by default.
            validation_steps: batches to validate on; all by default.
            validation_batch_size: samples per validation batch; `batch_size` by default.
            validation_freq: epochs between validations, or a list of the epochs (from 1).

        Returns:
            The history: `history.history` maps a name to its values, one per epoch.

        Raises:
            ValueError: if the model is not compiled, or data and model do not fit.
        """
        self._need_objective("fit")
        checks.check_epochs(epochs=epochs, initial_epoch=initial_epoch)
        checks.check_frequency(validation_freq)
        if validation_split and validation_data is None:
            adapters.check_split(x)
            (x, y, sample_weight), validation_data = arrays.split(
                validation_split, x, y, sample_weight
            )
        source = self._source(
            "fit", x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight
        )
        update = self._update(self._prepare(source))
        seed = process.from_first(_fresh_seed) if source.has_order else None
        batches = Epochs(source, steps_per_epoch, seed)
        validate = self._validation(
            validation_data, validation_batch_size or batch_size, validation_steps
        )
        # EarlyStopping on `val_*` must know in which epochs there is nothing to look at.
        is_rare = validate is not None and validation_freq != 1
        rare = {"validation_freq": validation_freq} if is_rare else {}
        steps = batches.num_batches
        callbacks = self._callbacks(callbacks, True, verbose, epochs, steps, **rare)
        self.stop_training = False
        source.restart()
        position = self._position = Position(batches, initial_epoch)
        try:
            with interrupts.after_the_step():
                callbacks.on_train_begin({})  # which may move the position
                self._train(position, epochs, update, validate, validation_freq, callbacks)
        except KeyboardInterrupt:
            callbacks.close()
            callbacks.on_train_end(position.logs)
            raise
        finally:
            callbacks.close()
            batches.close()
            self._position = None
        if epochs > 0 and self.optimizer is not None:
            self.optimizer.finalize_variable_values()
        callbacks.on_train_end(position.logs)
        return self.history

    def _train(
        self,
        position: Position,
        epochs: int,
        update: Callable[..., Any],
        validate: Callable[[Any], dict[str, Any]] | None,
        validation_freq: Any,
        callbacks: Any,
    ) -> None:
        """Run the epochs that are left, until one of them asks to stop."""
        results = self._results("fit")
        for epoch in position.epochs(epochs):
            if not position.step:
                results.reset()
            callbacks.on_epoch_begin(epoch, {})
            with mode(self, True):  # type: ignore[arg-type]
                self._train_epoch(position.batches, update, callbacks, position.take_step())
            logs = results.read()
            if validate is not None and _is_due(epoch, validation_freq):
                logs = results.with_validation(logs, validate(callbacks))
            callbacks.on_epoch_end(epoch, logs)
            position.logs = logs
            if self.stop_training:
                return

    def _train_epoch(
        self, batches: Epochs, update: Callable[..., Any], callbacks: Any, first: int
    ) -> None:
        self._run("train", batches, update, callbacks, lambda: self.stop_training, first)
        self._end_epoch()
        run = current()
        if run is not None:
            run.end_epoch(self)  # type: ignore[arg-type]

    def _validation(
        self, data: Any, batch_size: int | None, steps: int | None
    ) -> Callable[[Any], dict[str, Any]] | None:
        """Return a function that evaluates on the validation data, converted once."""
        if data is None:
            return None
        x, y, weight = adapters.validation_parts(data)
        source = self._source("fit, validation_data", x, y, weight, batch_size, steps)
        step = self._prepare(source)

        def validate(callbacks: Any) -> dict[str, Any]:
            return self._evaluate(Epochs(source, steps), step, callbacks)

        return validate


def _fresh_seed() -> int:
    """Draw a seed from torch's stream: fixed by `set_random_seed`, another for each fit."""
    return int(torch.randint(0, 2**62, ()))


def _is_due(epoch: int, frequency: Any) -> bool:
    if isinstance(frequency, int | np.integer):
        return (epoch + 1) % int(frequency) == 0
    return (epoch + 1) in frequency
