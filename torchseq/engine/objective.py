"""What training minimizes and reports: the loss, weight penalties, metrics of the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchseq import losses, metrics
from torchseq.base.targets import kind_of_targets
from torchseq.engine import logs

_CHOSEN_LOSSES = ("crossentropy", "ce")  # by the shapes of targets and outputs
_CHOSEN_METRICS = ("accuracy", "acc", *_CHOSEN_LOSSES)


class Objective:
    """The loss and the metrics of a compiled model.

    Args:
        loss: name, object or callable; None if layers alone add losses.
        loss_weight: factor of the loss.
        metric_identifiers: names, objects or callables, not weighted by sample weights.
        weighted_identifiers: the same, weighted.

    Raises:
        ValueError: for names that are not known.
    """

    def __init__(
        self,
        loss: Any = None,
        loss_weight: Any = None,
        metric_identifiers: Any = None,
        weighted_identifiers: Any = None,
    ):
        self._loss_name = loss if loss in _CHOSEN_LOSSES else None
        self.loss = None if self._loss_name else _loss(loss)
        self.loss_weight = _weight(loss_weight)
        self._unweighted = _identifiers("metrics", metric_identifiers)
        self._weighted = _identifiers("weighted_metrics", weighted_identifiers)
        self.tracker = LossMean()
        self.metrics: list[Any] = []
        self.weighted_metrics: list[Any] = []
        self.names: list[str] = ["loss"]
        self.is_built = not (self._unweighted or self._weighted or self._loss_name)

    @property
    def needs_targets(self) -> bool:
        """Whether a loss or a metric was given, which compare with targets."""
        return self.loss is not None or self._loss_name is not None or self.has_metrics

    @property
    def has_metrics(self) -> bool:
        """Whether compile was given any metric."""
        return bool(self._unweighted or self._weighted)

    def build(self, y_shape: Sequence[int], output_shape: Sequence[Any]) -> None:
        """Make what is chosen by the shapes of targets and outputs, now that these are known."""
        if self.is_built:
            return
        shapes = (tuple(y_shape), tuple(output_shape))
        if self._loss_name:
            kind = kind_of_targets(*shapes)
            self.loss = _loss(f"{kind.replace('sparse', 'sparse_categorical')}_crossentropy")
        self.metrics = [metrics.resolve(each, *shapes) for each in self._unweighted]
        self.weighted_metrics = [metrics.resolve(each, *shapes) for each in self._weighted]
        self.names = ["loss", *_unique_names(self.metrics, self.weighted_metrics)]
        self.is_built = True

    def to(self, device: torch.device) -> None:
        """Put the metrics' state onto a device."""
        for metric in self.all_metrics():
            if isinstance(metric, nn.Module):
                metric.to(device)

    def all_metrics(self) -> list[Any]:
        """Return the loss's mean and the metrics, in the order of `evaluate`'s list."""
        return [self.tracker, *self.metrics, *self.weighted_metrics]

    # --- One batch -----------------------------------------------------------------------------

    def total_loss(
        self, model: Any, y: Tensor | None, y_pred: Any, weight: Tensor | None
    ) -> Tensor:
        """Return the loss of a batch and the penalties, as one number."""
        total: Any = None
        if self.loss is not None:
            total = self.loss(y, y_pred, weight)
            if self.loss_weight is not None:
                total = total * self.loss_weight
        if model.collects_losses:
            for loss in model.losses:
                total = loss if total is None else total + loss
        if total is None:
            raise ValueError(
                "compile: there must be something to minimize; no `loss` came, and no layer added "
                "one. Pass `loss=`, or use `add_loss` in a layer."
            )
        return total  # type: ignore[no-any-return]

    def update(
        self, loss: Tensor, size: int, y: Tensor | None, y_pred: Any, weight: Tensor | None
    ) -> None:
        """Add a batch of `size` samples to the mean loss and to the metrics."""
        self.tracker.add(loss, size)
        for metric in self.metrics:
            metric.update_state(y, y_pred)
        for metric in self.weighted_metrics:
            metric.update_state(y, y_pred, weight)

    # --- One epoch -----------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.all_metrics():
            metric.reset_state()

    def results(self) -> dict[str, Any]:
        """Return name -> value on the device, in compile's order."""
        values = [metric.result() for metric in self.all_metrics()]
        found: dict[str, Any] = {}
        for name, value in zip(self.names, values, strict=True):
            found.update(value if isinstance(value, dict) else {name: value})
        return found

    def read(self) -> dict[str, Any]:
        """Return name -> number in compile's order; the one copy to the host."""
        return logs.read(self.results())

    def logs(self) -> logs.DeviceLogs:
        """Return logs for callbacks, sorted by name, read when asked for."""
        return logs.DeviceLogs(sorted(self.names), lambda: dict(sorted(self.read().items())))


class LossMean(metrics.Mean):
    """Mean loss over samples; one kernel a step, since the sizes of batches are known here."""

    def __init__(self) -> None:
        super().__init__(name="loss")
        self._samples = 0

    def add(self, loss: Tensor, size: int) -> None:
        """Add the mean loss of `size` samples."""
        self.total.tensor.add_(loss.detach(), alpha=size)
        self._samples += size

    def reset_state(self) -> None:
        """Forget all batches."""
        super().reset_state()
        self._samples = 0

    def result(self) -> Tensor:
        """Return the mean, 0 if there was no sample."""
        return self.total.tensor / max(self._samples, 1)

    def __repr__(self) -> str:
        return "<Mean name=loss>"


def _loss(identifier: Any) -> Any:
    if isinstance(identifier, list | tuple | dict):
        raise ValueError(
            f"compile: a model with one output must have one loss; got {identifier!r}."
        )
    if isinstance(identifier, nn.Module):
        return lambda y, y_pred, weight: _torch_loss(identifier, y, y_pred, weight)
    found = losses.get(identifier)
    if found is None or isinstance(found, losses.Loss):
        return found
    return losses.LossFunctionWrapper(found, name=getattr(found, "__name__", None))


def _torch_loss(loss: nn.Module, y: Any, y_pred: Any, weight: Any) -> Tensor:
    if weight is not None:
        raise ValueError(
            f"{type(loss).__name__}: a torch loss takes no sample weights; got some. Use a loss of "
            "torchseq's."
        )
    return loss(y_pred, y)  # type: ignore[no-any-return]  # torch has the prediction first


def _weight(loss_weight: Any) -> float | None:
    if loss_weight is None:
        return None
    if isinstance(loss_weight, list | tuple) and len(loss_weight) == 1:
        loss_weight = loss_weight[0]
    if isinstance(loss_weight, bool) or not isinstance(loss_weight, int | float):
        raise ValueError(
            f"compile: `loss_weights` must be one number for one output; got {loss_weight!r}."
        )
    return float(loss_weight)


def _identifiers(argument: str, given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, dict):
        raise ValueError(
            f"compile: `{argument}` must be a list for a model with one output; got {given!r}."
        )
    found = list(given) if isinstance(given, list | tuple) else [given]
    while len(found) == 1 and isinstance(found[0], list | tuple):
        found = list(found[0])  # Keras takes [["accuracy"]] for one output
    for identifier in found:
        if identifier is None:
            raise ValueError(f"compile: each entry of `{argument}` must be a metric; got None.")
        if isinstance(identifier, str) and identifier.lower() not in _CHOSEN_METRICS:
            metrics.get(identifier)  # raises for an unknown name, before training
    return found


def _unique_names(unweighted: list[Any], weighted: list[Any]) -> list[str]:
    """Return the metrics' keys in logs; a name that stands twice is numbered, as in Keras."""
    counts: dict[str, int] = {}
    names: list[str] = []
    for metric in unweighted:
        names.append(_numbered(metric.name, counts))
    for metric in weighted:
        name = metric.name
        names.append(_numbered(f"weighted_{name}" if name in counts else name, counts))
    return names


def _numbered(name: str, counts: dict[str, int]) -> str:
    count = counts.get(name, 0)
    counts[name] = count + 1
    return f"{name}_{count}" if count else name
