"""One train, test or predict step on one batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

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

    def _test(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        y_pred = self.model(x)
        loss = self.objective.total_loss(self.model, y, y_pred, weight)
        self.objective.update(loss, x.shape[0], y, y_pred, weight)
