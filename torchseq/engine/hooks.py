"""The methods of a model that a subclass overrides to train, test or predict in its own way."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.data.batches import unpack
from torchseq.engine.compiled import Compiled
from torchseq.metrics import Metric

STEPS = ("train_step", "test_step", "compute_loss", "make_train_function", "make_test_function")
REPORTS = ("compute_metrics", "get_metrics_result", "metrics", "reset_metrics")
PREDICTION = ("predict_step", "make_predict_function")


class Hooks(Compiled):
    """The part of `Trainer` that users override.

    `fit` and `evaluate` look once at the class whether one of these methods is its own. If none is,
    they take a shorter way to the same numbers.

    Source: keras.Model, torch backend. Known difference: `train_function` and its like, which get a
        list of `steps_per_execution` batches, exist once `make_train_function` was called.
    """

    train_function: Any = None
    test_function: Any = None
    predict_function: Any = None
    steps_per_execution: int = 1

    # --- One batch -----------------------------------------------------------------------------

    def train_step(self, data: Any) -> Any:
        """Update the weights and the metrics from one batch.

        Args:
            data: `x`, `(x, y)` or `(x, y, sample_weight)`, on the model's device; see
                `utils.unpack_x_y_sample_weight`.

        Returns:
            Name -> number or tensor, for logs and history. Tensors are not read before somebody
            looks at them.
        """
        x, y, weight = unpack(data)
        y_pred = self(x, training=True)  # type: ignore[operator]
        self.zero_grad()  # type: ignore[attr-defined]
        loss = self._loss_of(x, y, y_pred, weight, True)
        if self.trainable_weights:  # type: ignore[attr-defined]
            optimizer = self.optimizer
            optimizer.scale_loss(loss).backward()
            optimizer.step()
            optimizer.zero_grad()
        else:
            warnings.warn("fit: the model has no trainable weights.", stacklevel=2)
        return self.compute_metrics(x, y, y_pred, weight)

    def test_step(self, data: Any) -> Any:
        """Update the metrics from one batch; gradients are off.

        Args:
            data: as of `train_step`.

        Returns:
            Name -> number or tensor.
        """
        x, y, weight = unpack(data)
        y_pred = self(x, training=False)  # type: ignore[operator]
        self._loss_of(x, y, y_pred, weight, False)
        return self.compute_metrics(x, y, y_pred, weight)

    def predict_step(self, data: Any) -> Any:
        """Return the outputs for one batch; gradients are off.

        Args:
            data: as of `train_step`.
        """
        return self(unpack(data)[0], training=False)  # type: ignore[operator]

    def _loss_of(self, x: Any, y: Any, y_pred: Any, weight: Any, training: bool) -> Any:
        """Return the loss, and add it to the mean that logs have as `loss`."""
        if _takes_training(type(self).compute_loss):
            loss = self.compute_loss(x, y, y_pred, weight, training=training)
        else:  # written for Keras before 3.3
            loss = self.compute_loss(x, y, y_pred, weight)
        if not isinstance(loss, Tensor):
            raise TypeError(
                f"{type(self).__name__}: `compute_loss` must return a tensor; got {loss!r}."
            )
        self._need_objective("compute_loss").tracker.add(loss, _num_rows(x))
        return loss

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return what training minimizes: the compiled loss and what layers add to it.

        Args:
            x: inputs of the batch.
            y: its targets.
            y_pred: the model's outputs.
            sample_weight: a weight per sample, or None.
            training: whether it is for `fit`.
        """
        return self._need_objective("compute_loss").total_loss(self, y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add a batch to the compiled metrics, and return the values of all metrics so far.

        Args:
            x: inputs of the batch.
            y: its targets.
            y_pred: the model's outputs.
            sample_weight: a weight per sample, or None.
        """
        objective = self._need_objective("compute_metrics")
        for metric in objective.metrics:
            metric.update_state(y, y_pred)
        for metric in objective.weighted_metrics:
            metric.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    # --- Metrics -------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[Any]:
        """The mean of the loss, the compiled metrics once their shapes are known, and layers' own.

        A subclass may return a list of its own: that is what is reset and reported then.
        """
        return [*super().metrics, *own_metrics(self)]  # type: ignore[arg-type]

    @property
    def metrics_names(self) -> list[str]:
        """`"loss"`, `"compile_metrics"` if there are any, and the names of the other metrics."""
        if overrides(self, ["metrics"]):
            return [metric.name for metric in self.metrics]
        own = own_metrics(self)  # type: ignore[arg-type]
        return [*super().metrics_names, *(metric.name for metric in own)]

    def reset_metrics(self) -> None:
        """Set all metrics to their start."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return name -> value so far of all metrics; a metric's dict is put in its place."""
        objective = self._objective
        known = {} if objective is None else dict(zip(*_names_in(objective), strict=True))
        found: dict[str, Any] = {}
        for metric in self.metrics:
            result = metric.result()
            found.update(
                result if isinstance(result, dict) else {known.get(id(metric), metric.name): result}
            )
        return found

    # --- Batches that run together -------------------------------------------------------------

    def make_train_function(self, force: bool = False) -> Any:
        """Set `self.train_function`, called with a list of batches to train on; return it.

        Args:
            force: make it anew if there is one.
        """
        if self.train_function is None or force:
            self.train_function = self._train_on_batches
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Set `self.test_function`, called with a list of batches to test on; return it.

        Args:
            force: make it anew if there is one.
        """
        if self.test_function is None or force:
            self.test_function = self._test_on_batches
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Any:
        """Set `self.predict_function`, called with a list of batches; return it.

        Args:
            force: make it anew if there is one.
        """
        if self.predict_function is None or force:
            self.predict_function = self._predict_on_batches
        return self.predict_function

    # Bound methods, not closures: a copy of the model must not train the model it was copied from.

    def _train_on_batches(self, batches: Sequence[Any]) -> Any:
        logs = None
        for data in batches:
            logs = self.train_step(data)
        return logs

    def _test_on_batches(self, batches: Sequence[Any]) -> Any:
        logs = None
        with torch.no_grad():
            for data in batches:
                logs = self.test_step(data)
        return logs

    def _predict_on_batches(self, batches: Sequence[Any]) -> Any:
        with torch.no_grad():
            return joined([self.predict_step(data) for data in batches])


def overrides(model: Any, names: Sequence[str]) -> bool:
    """Tell whether a model's class, or the model itself, has one of these methods of its own."""
    cls, own = type(model), vars(model)
    return any(getattr(cls, name) is not getattr(Hooks, name) or name in own for name in names)


def own_metrics(model: nn.Module) -> Iterator[Metric]:
    """Yield the metrics that a model and its layers have as attributes, each once.

    Those of a model in it that is compiled by itself are not among them.
    """
    seen: set[int] = set()
    waiting: list[nn.Module] = [model]
    while waiting:
        module = waiting.pop()
        children = [child for child in module._modules.values() if child is not None]
        for child in children:
            if isinstance(child, Metric) and id(child) not in seen:
                seen.add(id(child))
                if module is model or not isinstance(module, Hooks):
                    yield child
        waiting += [child for child in reversed(children) if not isinstance(child, Metric)]


def joined(outputs: Sequence[Any]) -> Any:
    """Return the outputs of several batches as if they were those of one."""
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(outputs))
    if isinstance(first, dict):
        return {key: joined([output[key] for output in outputs]) for key in first}
    return type(first)(joined(parts) for parts in zip(*outputs, strict=True))


def _names_in(objective: Any) -> tuple[list[int], list[str]]:
    return [id(metric) for metric in objective.all_metrics()], objective.names


@lru_cache(maxsize=64)
def _takes_training(compute_loss: Any) -> bool:
    parameters = inspect.signature(compute_loss).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def _num_rows(x: Any) -> int:
    while not isinstance(x, Tensor):
        x = next(iter(x.values() if isinstance(x, dict) else x))
    return len(x)
