"""One train, test or predict step on one batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchseq.base import logits, products
from torchseq.base.modes import gradless
from torchseq.engine.objective import Objective


class Step:
    """Runs a model on batches and updates its weights; nothing in it waits for the device.

    Args:
        model: a callable with weights.
        objective: its loss and metrics.
        optimizer: built for the model's trainable weights; None if it never trains.
    """

    def __init__(self, model: Any, objective: Objective, optimizer: Any = None):
        self.model = model
        self.objective = objective
        self.optimizer = optimizer

    def train(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the weights and the metrics from one batch."""
        y_pred = self.model(x)
        loss = self.objective.total_loss(self.model, y, y_pred, weight)
        optimizer = self.optimizer
        optimizer.scale_loss(loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        self.objective.update(loss, x.shape[0], y, y_pred, weight)

    def test(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Update the metrics from one batch."""
        gradless(self._test, x, y, weight)  # in inference mode losses could not see the logits

    def test_joined(
        self, x: Tensor, y: Tensor | None, weight: Tensor | None, batch_size: int
    ) -> None:
        """Update the metrics from one batch after another, whose outputs are computed as one."""
        with products.joined(max(len(x) // batch_size, 1)):
            y_pred = gradless(self.model, x)
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            part = logits.rows_of(y_pred, rows)
            given = [None if each is None else each[rows] for each in (y, weight)]
            gradless(self._measure, len(x[rows]), part, *given)

    def _test(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        self._measure(x.shape[0], self.model(x), y, weight)

    def _measure(self, size: int, y_pred: Any, y: Tensor | None, weight: Tensor | None) -> None:
        loss = self.objective.total_loss(self.model, y, y_pred, weight)
        self.objective.update(loss, size, y, y_pred, weight)
