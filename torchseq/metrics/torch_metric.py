"""Metrics of the torchmetrics package in `compile`; the package itself is not needed here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import naming
from torchseq.base.variable import as_tensor
from torchseq.losses.loss import align_ranks
from torchseq.metrics.metric import Metric


def is_torch_metric(thing: Any) -> bool:
    """Tell whether something is a torchmetrics metric or collection, by what it can do."""
    is_other_module = isinstance(thing, nn.Module) and not isinstance(thing, Metric)
    methods = ("update", "compute", "reset")
    return is_other_module and all(callable(getattr(thing, name, None)) for name in methods)


class TorchMetric(Metric):
    """A torchmetrics metric, updated by targets and predictions as Keras's models give them.

    - Predictions come first, as torchmetrics wants them.
    - (batch,) and (batch, 1) are aligned.
    - For a metric with `num_classes`, targets may also be of shape (batch, 1) or one-hot, and
      classes, which Keras has on the last axis, are moved where torchmetrics wants them second;
      for one with `num_labels`, labels are moved.
    - Targets of a classification metric are converted to integers.

    torchmetrics checks the values of each batch, for which the device has to wait: here it checks
    the first batch alone. With `torch.distributed` it merges processes itself, in `compute`.

    Args:
        metric: a torchmetrics metric, or a collection, whose values come under its own keys.
        name: key in logs and history; the class's name in snake case by default.

    Source: torchmetrics.Metric.
    """

    is_compilable = False  # they bind new tensors to their attributes, and look at values

    def __init__(self, metric: nn.Module, name: str | None = None):
        super().__init__(name=name or naming.to_snake_case(type(metric).__name__))
        self.metric = metric
        self._is_checked = False
        self.direction = _direction(metric)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Raises:
            ValueError: if there are sample weights.
        """
        if sample_weight is not None:
            raise ValueError(refusal(self.metric))
        y_true, y_pred = as_tensor(y_true).detach(), as_tensor(y_pred).detach()
        y_true, y_pred = _arranged(self._kind(), y_true, y_pred)
        self.metric.update(y_pred, y_true)  # type: ignore[operator]
        if not self._is_checked:
            parts: list[Any] = list(self.metric.modules())
            for part in parts:
                if getattr(part, "validate_args", False):
                    part.validate_args = False
            self._is_checked = True

    def result(self) -> Any:
        return self.metric.compute()  # type: ignore[operator]

    def reset_state(self) -> None:
        self.metric.reset()  # type: ignore[operator]

    def _kind(self) -> str:
        """Return what the metric compares: `"classes"`, `"labels"`, `"binary"` or `"numbers"`."""
        parts = [part for part in self.metric.modules() if is_torch_metric(part)]
        for part in parts:
            if isinstance(getattr(part, "num_classes", None), int):
                return "classes"
            if isinstance(getattr(part, "num_labels", None), int):
                return "labels"
        names = [type(part).__module__.split(".") for part in parts]
        return "binary" if any("classification" in name for name in names) else "numbers"


def refusal(metric: Any) -> str:
    """Return what to say where a torchmetrics metric meets sample weights."""
    return (
        f"{type(metric).__name__}: a torchmetrics metric takes no sample weights; got it among "
        "`weighted_metrics`, or with weights. Pass it in `metrics`."
    )


def _direction(metric: Any) -> str | None:
    is_higher_better = getattr(metric, "higher_is_better", None)
    return {True: "max", False: "min"}.get(is_higher_better)  # type: ignore[arg-type]


def _arranged(kind: str, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    if kind == "classes":
        return _classes(y_true, y_pred)
    y_true, y_pred = align_ranks(y_true, y_pred)
    if kind == "labels":
        y_true, y_pred = y_true.movedim(-1, 1), y_pred.movedim(-1, 1)
    if kind != "numbers":
        return y_true.long(), y_pred
    return (y_true.to(y_pred.dtype) if y_true.is_floating_point() else y_true), y_pred


def _classes(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 != y_pred.shape[-1]:
        y_true = y_true.squeeze(-1)
    elif y_true.shape == y_pred.shape and y_pred.is_floating_point():
        y_true = y_true.to(torch.float32).argmax(-1)
    if y_pred.ndim == y_true.ndim + 1:
        y_pred = y_pred.movedim(-1, 1)
    return y_true.long(), y_pred
