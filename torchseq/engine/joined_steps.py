"""Steps on this process's part of each batch, whose gradients are averaged over the processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from torchseq.base import joined
from torchseq.base.joined import Part
from torchseq.data.source import Batch
from torchseq.distribution.runs import Run, whole_weights
from torchseq.engine.hooked_step import HookedStep, Reports
from torchseq.engine.objective import Objective
from torchseq.engine.step import Step


class JoinedStep(Step):
    """Takes a step on the whole batch, of which this process has a part.

    Args:
        model: as of `Step`.
        objective: as of `Step`.
        run: joins the processes.
        parts: the parts of the batches to come.
    """

    def __init__(self, model: Any, objective: Objective, run: Run, parts: deque[Part]):
        super().__init__(model, objective)
        self._run = run
        self._parts = parts

    def train(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the weights and the metrics from one batch."""
        part = self._parts.popleft()
        engine, optimizer = self._run.engine(self.model), self.optimizer
        outputs: list[Any] = []

        def compute() -> Tensor:
            outputs.append(self.model(x))
            return self.objective.total_loss(self.model, y, outputs[0], weight)

        with joined.batch(part):
            loss = engine.loss(compute)
            shared = loss if part.share == 1 else loss * part.share
            engine.backward(optimizer.scale_loss(shared))
        engine.step(optimizer)
        optimizer.zero_grad()
        if part.size:
            self.objective.update(loss, part.size, y, outputs[0], weight)

    def test(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the metrics from one batch."""
        part = self._parts.popleft()
        with whole_weights(self.model), torch.no_grad(), joined.batch(part):
            y_pred = self.model(x)
            loss = self.objective.total_loss(self.model, y, y_pred, weight)
        if part.size:
            with torch.no_grad():
                self.objective.update(loss, part.size, y, y_pred, weight)


class JoinedHookedStep(HookedStep):
    """Runs a model's own steps on this process's parts of batches.

    Args:
        model: as of `Step`.
        objective: as of `Step`.
        reports: as of `HookedStep`.
        run: joins the processes.
        parts: the parts of the batches to come.
    """

    def __init__(
        self, model: Any, objective: Objective, reports: Reports, run: Run, parts: deque[Part]
    ):
        super().__init__(model, objective, reports)
        self._run = run
        self._parts = parts

    def run_several(self, phase: str, batches: Sequence[Batch]) -> None:
        """Have the model train on batches, or test them, one by one."""
        for batch in batches:
            part = self._parts.popleft()
            averages = self._run.averages(self.model)
            with joined.batch(part), averages.weighted(part.share), self._counting(part):
                super().run_several(phase, [batch])

    @contextmanager
    def _counting(self, part: Part) -> Iterator[None]:
        """Let the metrics forget a row that stands in for none."""
        if part.size:
            yield
            return
        metrics = [metric for metric in self.model.metrics if hasattr(metric, "states")]
        kept = [[tensor.clone() for tensor, _ in metric.states()] for metric in metrics]
        yield
        for metric, values in zip(metrics, kept, strict=True):
            for (tensor, _), value in zip(metric.states(), values, strict=False):
                tensor.copy_(value)
