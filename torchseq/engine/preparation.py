"""Brings model and data together before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchseq.base import arguments, devices
from torchseq.base.modes import mode
from torchseq.callbacks import CallbackList
from torchseq.data.adapters import source_for, steps_name
from torchseq.data.epochs import Epochs
from torchseq.data.source import Source
from torchseq.engine import checks
from torchseq.engine.compiled import Compiled
from torchseq.engine.loop import run_batches
from torchseq.engine.step import Step


class Preparing(Compiled):
    """The part of `Trainer` that its methods share: source, step and callbacks of a run."""

    def _device(self) -> torch.device:
        return devices.device_of(self)  # type: ignore[arg-type]

    def _source(
        self,
        owner: str,
        x: Any,
        y: Any = None,
        weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool | str = False,
        class_weight: Mapping[int, float] | None = None,
        inputs_only: bool = False,
    ) -> Source:
        if steps is not None:
            arguments.positive_integer(owner, steps_name(owner), steps)
        return source_for(
            x,
            y,
            weight,
            batch_size,
            steps,
            shuffle,
            class_weight,
            self._device(),
            owner,
            inputs_only,
        )

    def _prepare(self, source: Source) -> Step:
        """Build model and metrics for the data, and have the targets checked."""
        objective = self._need_objective(source.owner)
        self._build_for(source)
        output_shape = self._output_shape_for(source)
        if not objective.is_built:
            y = source.example()[1]
            if y is not None:
                objective.build(y.shape, output_shape)
        source.examine(lambda y: checks.check_targets(source.owner, objective, y, output_shape))
        objective.to(source.device)
        return Step(self, objective)

    def _build_for(self, source: Source) -> None:
        if not self.built:  # type: ignore[attr-defined]
            self.build(tuple(source.example()[0].shape))  # type: ignore[attr-defined]
            source.device = self._device()

    def _output_shape_for(self, source: Source) -> Any:
        try:
            return self.output_shape  # type: ignore[attr-defined]
        except AttributeError:  # nested inputs, or layers that build themselves when called
            inputs = source.example()[0][:1].to(source.device)
            with mode(self, False), torch.inference_mode():  # type: ignore[arg-type]
                return tuple(self(inputs).shape)  # type: ignore[operator]

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

    def _callbacks(
        self,
        callbacks: Any,
        has_history: bool,
        verbose: Any,
        epochs: int,
        steps: int | None,
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

    def _run(
        self,
        phase: str,
        batches: Epochs,
        step: Callable[..., Any],
        callbacks: Any,
        should_stop: Callable[[], bool],
        first: int = 0,
    ) -> None:
        """Run a train or test step on each batch of the next epoch."""
        logs = self._need_objective(phase).logs
        run_batches(phase, batches.epoch(), step, callbacks, logs, should_stop, first)


def returned(objective: Any, results: dict[str, Any], return_dict: bool) -> Any:
    """Return results as `evaluate` does: a dict, a list in compile's order, or the only value."""
    if return_dict:
        return dict(results)
    values = objective.listed(results)
    return values[0] if len(values) == 1 else values
