"""Brings model and data together before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from torchseq.base import arguments, devices
from torchseq.base.modes import mode
from torchseq.base.types import Shape
from torchseq.callbacks import CallbackList
from torchseq.data.adapters import source_for, steps_name
from torchseq.data.arrays import ArraySource
from torchseq.data.epochs import Epochs
from torchseq.data.source import Batch, Source
from torchseq.distribution.runs import Run, current, whole_state, whole_weights
from torchseq.engine import checks, hooks
from torchseq.engine.hooked_step import HookedStep, Reports
from torchseq.engine.joined_steps import JoinedHookedStep, JoinedStep
from torchseq.engine.loop import run_batches, run_groups
from torchseq.engine.objective import Objective
from torchseq.engine.step import Step
from torchseq.engine.whole_step import WholeStep

_WORTH_JOINING = 4  # batches; to look at all layers takes as long as one


class Preparing(hooks.Hooks):
    """The part of `Trainer` that its methods share: source, step and callbacks of a run."""

    _shards: Any = None  # holds what cuts the weights, if each process keeps a part of them

    def whole_state(self) -> AbstractContextManager[None]:
        """Return a context in which weights and optimizer state are whole, to be saved."""
        return whole_state(self)

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
        run = current()
        if run is not None:
            run.begin()
        source = source_for(
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
        return source if run is None else run.split(source)

    def _prepare(self, source: Source) -> Step:
        """Build model and metrics for the data, and have the targets checked."""
        objective = self._need_objective(source.owner)
        self._build_for(source)
        # A step of the model's own may take targets for what it likes, and need no outputs.
        has_own_steps = hooks.overrides(self, hooks.STEPS)
        if not (has_own_steps and objective.is_built):
            output_shape = self._output_shape_for(source)
        if not objective.is_built:
            y = source.example()[1]
            if y is not None:
                objective.build(y.shape, output_shape)
        if not has_own_steps:
            source.examine(lambda y: checks.check_targets(source.owner, objective, y, output_shape))
        objective.to(source.device)
        run = current()
        return self._step(objective) if run is None else self._joined_step(objective, source, run)

    def _joined_step(self, objective: Objective, source: Any, run: Run) -> Step:
        """Return what takes steps together with other processes."""
        run.prepare(self, source.owner)
        results = self._results("fit")
        if isinstance(results, Reports):
            return JoinedHookedStep(self, objective, results, run, source.parts)
        return JoinedStep(self, objective, run, source.parts)

    def _results(self, method: str) -> Any:
        """Return what has the results of a run: the objective, unless the model has its own."""
        objective = self._need_objective(method)
        is_own = hooks.overrides(self, (*hooks.STEPS, *hooks.REPORTS))
        if not is_own and not any(True for _ in hooks.own_metrics(self)):  # type: ignore[arg-type]
            return objective
        if self._reports is None:
            self._reports = Reports(self)
        return self._reports

    def _step(self, objective: Objective) -> Step:
        """Return what takes steps: eagerly, or as compiled graphs, which are kept."""
        results = self._results("fit")
        if isinstance(results, Reports):
            return HookedStep(self, objective, results)
        if self.jit_compile is False:
            return Step(self, objective)
        if self._whole_step is None:
            self._whole_step = WholeStep(self, objective, options=self.jit_compile)
        self._whole_step.prepare()
        return self._whole_step

    def _build_for(self, source: Source) -> None:
        if not self.built:  # type: ignore[attr-defined]
            self._build_on(source.example()[0])  # type: ignore[attr-defined]
            source.device = self._device()

    def _output_shape_for(self, source: Source) -> Any:
        try:
            return self.output_shape  # type: ignore[attr-defined]
        except Exception:  # nested inputs, layers that build themselves, code that needs values
            inputs = source.example()[0][:1].to(source.device)
            with whole_weights(self), mode(self, False), torch.inference_mode():  # type: ignore[arg-type]
                return tuple(self(inputs).shape)  # type: ignore[operator]

    def _update(self, step: Step) -> Callable[..., None]:
        """Build the optimizer and return what trains on a batch."""
        weights = self.trainable_weights  # type: ignore[attr-defined]
        is_hooked = isinstance(step, HookedStep)
        if is_hooked and self.optimizer is None:  # its steps know what to do without
            return step.train
        if weights and self.optimizer.trains_others(weights):
            self.optimizer = self.optimizer.twin()
        self.optimizer.build(weights)
        self.optimizer.zero_grad()  # what a loop of the user's left there is not this step's
        if not weights and not is_hooked:
            warnings.warn("fit: the model has no trainable weights.", stacklevel=3)
            return step.test
        if isinstance(step, WholeStep) and not step.can_train_with(self.optimizer):
            step = Step(self, step.objective)
        step.optimizer = self.optimizer
        return step.train

    # Several batches as one, where nothing of the user's runs between them or in the layers.

    def _runs_known_code(self, batches: Epochs) -> bool:
        """Tell whether nothing but the steps runs, on data in memory, if no callback watches."""
        return isinstance(batches.source, ArraySource) and self._is_indifferent()

    def _is_indifferent(self) -> bool:
        """Tell whether outputs depend on each sample alone, by code that changes no weight."""
        return False

    def _most_at_once(self, sample_shape: Shape) -> int:
        """Return how many samples may then be computed together."""
        return 0

    def _join_batches(self, batches: Epochs) -> tuple[int, int]:
        """Have arrays join batches, and return how many go as one and how large each is."""
        source: Any = batches.source
        most, size = 0, self.steps_per_execution
        is_on_cpu = source.device.type == "cpu"  # where the bits are known to be the same
        is_worth = source.num_batches >= _WORTH_JOINING and batches.steps is None and size == 1
        if is_on_cpu and is_worth:
            most = self._most_at_once(tuple(source.x.shape[1:]))
        return source.join_batches(most), source.batch_size

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
        stride: int = 1,
    ) -> None:
        """Run a train or test step on each batch of the next epoch.

        `stride` is how many batches the source yields as one.
        """
        owner = getattr(step, "__self__", None)
        if isinstance(owner, WholeStep):
            owner.prepare()  # a callback may have frozen layers between two epochs
        logs = self._results(phase).logs
        size = self.steps_per_execution
        if size == 1:
            run_batches(phase, batches.epoch(), step, callbacks, logs, should_stop, first, stride)
            return
        several = _several(phase, step)
        run_groups(phase, batches.epoch(), several, callbacks, logs, should_stop, first, size)


def _several(phase: str, step: Callable[..., Any]) -> Callable[[list[Batch]], None]:
    """Return what runs a step on a list of batches."""
    owner = getattr(step, "__self__", None)
    if isinstance(owner, HookedStep):
        return lambda batches: owner.run_several(phase, batches)

    def in_turn(batches: list[Batch]) -> None:
        for batch in batches:
            step(*batch)

    return in_turn


def returned(objective: Any, results: dict[str, Any], return_dict: bool) -> Any:
    """Return results as `evaluate` does: a dict, a list in compile's order, or the only value."""
    if return_dict:
        return dict(results)
    values = objective.listed(results)
    return values[0] if len(values) == 1 else values
