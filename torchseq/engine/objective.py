"""What training minimizes and reports: the loss, weight penalties, metrics of the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchseq import losses, metrics
from torchseq.base.modes import gradless
from torchseq.base.targets import kind_of_targets
from torchseq.engine import logs
from torchseq.metrics import merging, torch_metric

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
        is_chosen = isinstance(loss, str) and loss.lower() in _CHOSEN_LOSSES
        self._loss_name = loss if is_chosen else None
        self.loss = None if self._loss_name else _loss(loss)
        self.loss_weight = _weight(loss_weight)
        self._unweighted = _identifiers("metrics", metric_identifiers)
        self._weighted = _identifiers("weighted_metrics", weighted_identifiers)
        self._is_reporting = (metric_identifiers, weighted_identifiers) != (None, None)
        self.tracker = LossMean()
        self.metrics: list[Any] = []
        self.weighted_metrics: list[Any] = []
        self.names: list[str] = ["loss"]
        self._places: dict[str, str] = {}  # key in logs -> its metric's name; known with a result
        self.is_built = not (self._unweighted or self._weighted or self._loss_name)

    @property
    def needs_targets(self) -> bool:
        """Whether a loss or a metric was given, which compare with targets."""
        return self.loss is not None or self._loss_name is not None or self.has_metrics

    @property
    def has_metrics(self) -> bool:
        """Whether compile was given any metric."""
        return bool(self._unweighted or self._weighted)

    @property
    def is_reporting(self) -> bool:
        """Whether compile was given a list of metrics, be it an empty one."""
        return self._is_reporting

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
        """Put the metrics' state, and a torch loss's tensors, onto a device."""
        if isinstance(self.loss, losses.TorchLoss):
            self.loss.module.to(device)
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
                loss = loss.sum() if isinstance(loss, Tensor) and loss.ndim else loss
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
        if self.metrics or self.weighted_metrics:
            gradless(self._update_metrics, self.metrics, y, y_pred, weight)

    def update_in_graph(
        self, loss: Tensor, size: int, y: Tensor | None, y_pred: Any, weight: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Do the same for all but what no graph can hold; return what that needs afterwards."""
        self.tracker.add(loss, size)
        inside = [metric for metric in self.metrics if metric.is_compilable]
        gradless(self._update_metrics, inside, y, y_pred, weight)
        return () if len(inside) == len(self.metrics) else (y_pred.detach(),)

    def update_after_graph(self, y: Tensor | None, outputs: Sequence[Tensor]) -> None:
        """Add a batch to what no graph can hold, given what `update_in_graph` returned."""
        for y_pred in outputs:
            outside = [metric for metric in self.metrics if not metric.is_compilable]
            for metric in outside:
                gradless(metric.update_state, y, y_pred)

    def _update_metrics(
        self,
        unweighted: list[Any],
        y: Tensor | None,
        y_pred: Any,
        weight: Tensor | None,
    ) -> None:
        for metric in unweighted:
            metric.update_state(y, y_pred)
        for metric in self.weighted_metrics:
            metric.update_state(y, y_pred, weight)

    def count(self, size: int) -> None:
        """Count a batch of `size` samples whose loss a compiled step added."""
        self.tracker.count_samples(size)

    # --- One epoch -----------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.all_metrics():
            metric.reset_state()

    def results(self) -> dict[str, Any]:
        """Return name -> value on the device, in compile's order; a metric's may be a dict."""
        values = [metric.result() for metric in self.all_metrics()]
        return dict(zip(self.names, values, strict=True))

    def read(self) -> logs.ReadLogs:
        """Return name -> number, sorted, as logs and history have it; the one copy to the host."""
        with merging.merged_states(self.all_metrics()):
            return logs.read(self._in_log_order(self.results()))

    def _in_log_order(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Return results sorted by metric, with those of a dict in its place."""
        ordered: dict[str, Any] = {}
        for name in sorted(results):
            found = _flat(name, results[name])
            for key in found:
                self._places.setdefault(key, name)
            ordered.update(found)
        return ordered

    def with_validation(
        self, values: Mapping[str, Any], validation: Mapping[str, Any]
    ) -> logs.ReadLogs:
        """Return an epoch's logs: those of training and of validation, sorted."""
        both = {**values, **{f"val_{key}": validation[key] for key in sorted(validation)}}
        return logs.ReadLogs(sorted(both.items(), key=lambda e: self._places.get(e[0], e[0])))

    def logs(self) -> logs.DeviceLogs:
        """Return logs for callbacks, read when asked for."""
        if not self._places:  # once, since only its result shows whether a metric gives a dict
            self._in_log_order(self.results())
        return logs.DeviceLogs(list(self._places), self.read)

    def listed(self, values: Mapping[str, Any]) -> list[Any]:
        """Return what `read` gave as a list: in compile's order, then what else there is.

        Keras looks values up by the metrics' own names: where a name stands twice, the first
        one's value comes twice, and the second one's at the end.
        """
        own = [metric.name for metric in self.all_metrics()]
        others = sorted(values.keys() - set(own))
        return [values[name] for name in (*own, *others) if name in values]


class LossMean(metrics.Mean):
    """Mean loss over samples; one kernel a step, since the sizes of batches are known here."""

    def __init__(self) -> None:
        super().__init__(name="loss")
        self._seen = [0]  # samples that `count` does not have yet; a list is quick to write to

    def add(self, loss: Tensor, size: int) -> None:
        """Add the mean loss of `size` samples."""
        self.total.tensor.add_(loss.detach(), alpha=size)
        self.count_samples(size)

    def count_samples(self, size: int) -> None:
        """Count samples whose loss is in the sum."""
        self._seen[0] += size

    def num_samples(self) -> Tensor:
        """Return the number of samples, on the device."""
        return self.count.tensor + self._seen[0]

    def reset_state(self) -> None:
        """Forget all batches."""
        super().reset_state()
        self._seen[0] = 0

    def result(self) -> Tensor:
        """Return the mean, 0 if there was no sample."""
        return self.total.tensor / (self.count.tensor + self._seen[0]).clamp(min=1)

    def states(self) -> merging.States:
        """Return sum and number of samples, which is on the device from now on."""
        self.count.tensor.add_(self._seen[0])
        self._seen[0] = 0
        return super().states()

    def get_extra_state(self) -> int:
        """Return what is in no buffer, for a backup of a running fit."""
        return self._seen[0]

    def set_extra_state(self, state: int) -> None:
        """Take what `get_extra_state` returned."""
        self._seen[0] = state

    def __repr__(self) -> str:
        return "<Mean name=loss>"


def _loss(identifier: Any) -> Any:
    if isinstance(identifier, list | tuple) and len(identifier) == 1:
        identifier = identifier[0]  # Keras takes ["mse"] for one output
    if isinstance(identifier, list | tuple) or _is_by_output(identifier):
        raise ValueError(
            f"compile: a model with one output must have one loss; got {identifier!r}. Pass one "
            "loss; for a sum of several write a function `(y_true, y_pred)` that adds them."
        )
    found = losses.get(identifier)
    if found is None or isinstance(found, losses.Loss):
        return found
    if isinstance(found, nn.Module):
        return losses.TorchLoss(found)
    return losses.LossFunctionWrapper(found, name=getattr(found, "__name__", None))


def _is_by_output(identifier: Any) -> bool:
    return isinstance(identifier, Mapping) and "class_name" not in identifier  # that is a config


def _weight(loss_weight: Any) -> float | None:
    if loss_weight is None:
        return None
    if isinstance(loss_weight, Mapping):
        loss_weight = list(loss_weight.values())
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
    found = _flattened(given)
    for identifier in found:
        if identifier is None:
            raise ValueError(f"compile: each entry of `{argument}` must be a metric; got None.")
        if isinstance(identifier, str) and identifier.lower() not in _CHOSEN_METRICS:
            metrics.get(identifier)  # raises for an unknown name, before training
        if argument == "weighted_metrics" and torch_metric.is_torch_metric(identifier):
            raise ValueError(f"compile: {torch_metric.refusal(identifier)}")
    return found


def _flattened(given: Any) -> list[Any]:
    """Return all metrics of lists and dicts, at any depth, as Keras does for one output."""
    if isinstance(given, Mapping) and "class_name" not in given:
        return [metric for name in sorted(given) for metric in _flattened(given[name])]
    if isinstance(given, list | tuple):
        return [metric for entry in given for metric in _flattened(entry)]
    return [given]


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Return a result by its key, and a dict's by its own, sorted."""
    if not isinstance(value, Mapping):
        return {name: value}
    return {
        key: inner for entry in sorted(value) for key, inner in _flat(entry, value[entry]).items()
    }


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
