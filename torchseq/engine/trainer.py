"""`compile`, `fit`, `evaluate`, `predict` and their one-batch forms, with Keras's signatures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from torchseq.base import arguments, devices
from torchseq.base.modes import mode
from torchseq.callbacks import CallbackList, History
from torchseq.data import arrays
from torchseq.data.arrays import ArraySource
from torchseq.data.epochs import Epochs
from torchseq.engine import checks, gather
from torchseq.engine.compiled import Compiled
from torchseq.engine.loop import run_batches
from torchseq.engine.objective import Objective
from torchseq.engine.step import Step


class Trainer(Compiled):
    """Gives a module with Keras weights the methods that train and use it."""

    history: History

    # --- Training ------------------------------------------------------------------------------

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
            x: inputs, samples first: an array, tensor or list.
            y: targets, samples first; class numbers or one-hot rows, as the loss wants.
            batch_size: samples per update; 32 by default.
            epochs: index at which training ends, `initial_epoch` included.
            verbose: 0 silent, 1 or `"auto"` a progress bar, 2 a line per epoch.
            callbacks: a callback or a list of them.
            validation_split: fraction of the samples, the last ones, to validate on.
            validation_data: `(x, y)` or `(x, y, sample_weight)` to validate on.
            shuffle: True, False, or `"batch"`, which keeps batches together.
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
        objective = self._need_objective("fit")
        checks.check_epochs(epochs=epochs, initial_epoch=initial_epoch)
        checks.check_frequency(validation_freq)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = arrays.split(
                validation_split, x, y, sample_weight
            )
        source = self._source(
            "fit", x, y, sample_weight, batch_size, steps_per_epoch, shuffle, class_weight
        )
        step = self._prepare(source)
        update = self._update(step)
        epoch_batches = Epochs(source, steps_per_epoch, _fresh_seed() if shuffle else None)
        validate = self._validation(
            validation_data, validation_batch_size or batch_size, validation_steps
        )
        # EarlyStopping on `val_*` must know in which epochs there is nothing to look at.
        rare = {} if validation_freq == 1 else {"validation_freq": validation_freq}
        steps = epoch_batches.num_batches
        callbacks = self._callbacks(callbacks, True, verbose, epochs, steps, **rare)
        self.stop_training = False
        callbacks.on_train_begin({})
        logs: dict[str, Any] = {}
        try:
            for epoch in range(initial_epoch, epochs):
                objective.reset()
                callbacks.on_epoch_begin(epoch, {})
                with mode(self, True):  # type: ignore[arg-type]
                    self._run("train", epoch_batches, update, callbacks)
                logs = dict(sorted(objective.read().items()))
                if validate is not None and _is_due(epoch, validation_freq):
                    logs.update({f"val_{k}": v for k, v in validate(callbacks).items()})
                callbacks.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        finally:
            callbacks.close()
        if epochs > 0:
            self.optimizer.finalize_variable_values()
        callbacks.on_train_end(logs)
        return self.history

    def _run(
        self, phase: str, epoch_batches: Epochs, step: Callable[..., Any], callbacks: Any
    ) -> None:
        objective = self._need_objective(phase)
        run_batches(
            phase,
            epoch_batches.epoch(),
            step,
            callbacks,
            objective.logs,
            lambda: phase == "train" and self.stop_training,
        )

    def _validation(
        self, data: Any, batch_size: int | None, steps: int | None
    ) -> Callable[[Any], dict[str, Any]] | None:
        """Return a function that evaluates on the validation data, converted once."""
        if data is None:
            return None
        if not isinstance(data, tuple | list) or not 1 <= len(data) <= 3:
            raise ValueError(
                "fit: `validation_data` must be a tuple (x, y) or (x, y, sample_weight); got "
                f"{type(data).__name__}."
            )
        x, y, weight = (*data, None, None)[:3]
        source = self._source("fit, validation_data", x, y, weight, batch_size, steps)
        step = self._prepare(source)

        def validate(callbacks: Any) -> dict[str, Any]:
            return dict(sorted(self._evaluate(Epochs(source, steps), step, callbacks).items()))

        return validate

    def _source(
        self,
        owner: str,
        x: Any,
        y: Any,
        weight: Any,
        batch_size: int | None,
        steps: int | None,
        shuffle: bool | str = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> ArraySource:
        if steps is not None:
            arguments.positive_integer(
                owner, "steps_per_epoch" if owner == "fit" else "steps", steps
            )
        return ArraySource(
            x, y, weight, batch_size, steps, shuffle, class_weight, self._device(), owner
        )

    def _one_batch(
        self,
        owner: str,
        x: Any,
        y: Any = None,
        weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> ArraySource:
        source = ArraySource(
            x, y, weight, class_weight=class_weight, device=self._device(), owner=owner
        )
        source.batch_size = source.num_samples
        return source

    def _device(self) -> torch.device:
        return devices.device_of(self)  # type: ignore[arg-type]

    def _prepare(self, source: ArraySource) -> Step:
        """Build model and metrics for the data, and check the targets."""
        objective = self._need_objective(source.owner)
        self._build_for(source)
        output_shape = self._output_shape_for(source)
        if source.y is not None:
            objective.build(source.y.shape, output_shape)
        checks.check_targets(source.owner, objective, source.y, output_shape)
        objective.to(source.device)
        return Step(self, objective)

    def _update(self, step: Step) -> Callable[..., None]:
        """Build the optimizer and return what trains on a batch."""
        weights = self.trainable_weights  # type: ignore[attr-defined]
        if weights and self.optimizer.trains_others(weights):
            self.optimizer = self.optimizer.twin()
        self.optimizer.build(weights)
        self.optimizer.zero_grad()  # what a loop of the user's left there is not this step's
        if not weights:
            warnings.warn("fit: the model has no trainable weights.", stacklevel=3)
            return step.test
        step.optimizer = self.optimizer
        return step.train

    def _build_for(self, source: ArraySource) -> None:
        if not self.built:  # type: ignore[attr-defined]
            rows = min(source.batch_size, source.num_samples)
            self.build((rows, *source.x.shape[1:]))  # type: ignore[attr-defined]
            source.device = self._device()

    def _output_shape_for(self, source: ArraySource) -> Any:
        try:
            return self.output_shape  # type: ignore[attr-defined]
        except AttributeError:  # nested inputs, or layers that build themselves when called
            with mode(self, False), torch.inference_mode():  # type: ignore[arg-type]
                return tuple(self(source.x[:1]).shape)  # type: ignore[operator]

    def _callbacks(
        self,
        callbacks: Any,
        has_history: bool,
        verbose: Any,
        epochs: int,
        steps: int,
        **params: Any,
    ) -> Any:
        if isinstance(callbacks, CallbackList):
            return callbacks
        verbose = 1 if verbose == "auto" else int(verbose)
        return CallbackList(
            callbacks,
            add_history=has_history,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
            **params,
        )

    # --- Evaluating and predicting -------------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics on data.

        Args:
            x: inputs, samples first.
            y: targets, samples first.
            batch_size: samples per step; 32 by default.
            verbose: 0 silent, 1 or `"auto"` a progress bar, 2 a line.
            sample_weight: a weight per sample.
            steps: batches to evaluate; all by default.
            callbacks: a callback or a list of them.
            return_dict: return name -> value instead of a list.

        Returns:
            The loss, or the list of loss and metrics in compile's order, or the dict.

        Raises:
            ValueError: if the model is not compiled, or data and model do not fit.
        """
        self._need_objective("evaluate")
        source = self._source("evaluate", x, y, sample_weight, batch_size, steps)
        step = self._prepare(source)
        epoch_batches = Epochs(source, steps)
        callbacks = self._callbacks(callbacks, False, verbose, 1, epoch_batches.num_batches)
        try:
            results = self._evaluate(epoch_batches, step, callbacks)
        finally:
            callbacks.close()
        return _returned(results, return_dict)

    def _evaluate(self, epoch_batches: Epochs, step: Step, callbacks: Any) -> dict[str, Any]:
        objective = self._need_objective("evaluate")
        callbacks.on_test_begin({})
        objective.reset()
        with mode(self, False):  # type: ignore[arg-type]
            self._run("test", epoch_batches, step.test, callbacks)
        results = objective.read()
        callbacks.on_test_end(dict(sorted(results.items())))
        return results

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for data as a NumPy array.

        Args:
            x: inputs, samples first.
            batch_size: samples per step; 32 by default.
            verbose: 0 silent, 1 or `"auto"` a progress bar, 2 a line.
            steps: batches to predict; all by default.
            callbacks: a callback or a list of them.

        Returns:
            An array, samples first, in the order of `x`; a list or dict of them if the model
            returns several.
        """
        source = self._source("predict", x, None, None, batch_size, steps)
        self._build_for(source)
        epoch_batches = Epochs(source, steps)
        callbacks = self._callbacks(callbacks, False, verbose, 1, epoch_batches.num_batches)
        step = Step(self, Objective())
        outputs = gather.Gatherer(source.num_samples)
        callbacks.on_predict_begin({})
        try:
            with mode(self, False):  # type: ignore[arg-type]
                for index, (inputs, _, _) in enumerate(epoch_batches.epoch()):
                    callbacks.on_predict_batch_begin(index, {})
                    batch_outputs = step.predict(inputs)
                    outputs.add(batch_outputs)
                    callbacks.on_predict_batch_end(index, {"outputs": batch_outputs})
        finally:
            callbacks.close()
        callbacks.on_predict_end({})
        return outputs.result()

    # --- One batch -----------------------------------------------------------------------------

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Update the weights from one batch; return its loss and metrics, as `evaluate` does."""
        objective = self._need_objective("train_on_batch")
        source = self._one_batch("train_on_batch", x, y, sample_weight, class_weight)
        update = self._update(self._prepare(source))
        objective.reset()
        with mode(self, True):  # type: ignore[arg-type]
            update(*next(source.batches()))
        return _returned(objective.read(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Return the loss and metrics of one batch, as `evaluate` does."""
        objective = self._need_objective("test_on_batch")
        source = self._one_batch("test_on_batch", x, y, sample_weight)
        step = self._prepare(source)
        objective.reset()
        with mode(self, False):  # type: ignore[arg-type]
            step.test(*next(source.batches()))
        return _returned(objective.read(), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs of one batch as a NumPy array."""
        source = self._one_batch("predict_on_batch", x)
        self._build_for(source)
        outputs = gather.Gatherer(source.num_samples)
        with mode(self, False):  # type: ignore[arg-type]
            outputs.add(Step(self, Objective()).predict(next(source.batches())[0]))
        return outputs.result()


def _fresh_seed() -> int:
    """Draw a seed from torch's stream: fixed by `set_random_seed`, another for each fit."""
    return int(torch.randint(0, 2**62, ()))


def _is_due(epoch: int, frequency: Any) -> bool:
    if isinstance(frequency, int | np.integer):
        return (epoch + 1) % int(frequency) == 0
    return (epoch + 1) in frequency


def _returned(results: dict[str, Any], return_dict: bool) -> Any:
    if return_dict:
        return dict(sorted(results.items()))
    values = list(results.values())
    return values[0] if len(values) == 1 else values
