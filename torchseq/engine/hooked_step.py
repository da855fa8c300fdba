"""Steps and reports of a model that overrides how it trains or what it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from torchseq.base import process
from torchseq.data.batches import pack_x_y_sample_weight
from torchseq.data.source import Batch
from torchseq.engine.logs import DeviceLogs, ReadLogs, read
from torchseq.engine.objective import Objective
from torchseq.engine.step import Step
from torchseq.metrics import merging

_COUNT, _LATEST = "count of the mean", "latest loss"  # read with the results, in one copy


class Reports:
    """What an overriding model reports: the values that its steps return, or its metrics'.

    It stands where else the `Objective` does, with the same methods.

    Args:
        model: the model.

    Source: keras.Model, `_get_metrics_result_or_logs`: an epoch's results are the metrics', if
        steps return the values of just these, and else what the last step returned. Known
        difference: where a step returns a loss and updates no mean of it, Keras says 0 for it,
        and this what the last step returned.
    """

    def __init__(self, model: Any):
        self._model = model
        self._latest: dict[str, Any] = {}

    def take(self, values: Any, method: str) -> None:
        """Keep what a step returned, unread."""
        if not isinstance(values, Mapping):
            raise TypeError(
                f"{type(self._model).__name__}: `{method}` must return a dict of logs, name -> "
                f"value; got {values!r}. Return `{{'loss': loss}}`, or "
                "`self.get_metrics_result()`."
            )
        self._latest = {
            key: value.detach() if isinstance(value, Tensor) else value
            for key, value in values.items()
        }

    def reset(self) -> None:
        """Forget all batches."""
        self._model.reset_metrics()
        self._latest = {}

    def logs(self) -> DeviceLogs:
        """Return logs of the last step for callbacks, read when asked for."""
        flat = _flat(self._latest)
        return DeviceLogs(list(flat), lambda: read(flat))

    def read(self) -> ReadLogs:
        """Return name -> number, sorted: an epoch's results."""
        with merging.merged_states(self._model.metrics):
            return self._read()

    def _read(self) -> ReadLogs:
        results = self._model.get_metrics_result()
        if results.keys() != self._latest.keys():
            return _mean_of_processes(read(_flat(self._latest)))
        unread = {
            **_flat(results),
            _COUNT: self._num_in_mean(),
            _LATEST: _flat(self._latest).get("loss"),
        }
        found = read(unread)
        count, latest = found.pop(_COUNT), found.pop(_LATEST)
        if count == 0:
            found["loss"] = _mean_of_processes(ReadLogs(loss=latest))["loss"]
        return found

    def _num_in_mean(self) -> Any:
        """Return how many samples the model's own mean of the loss has; None if it has none."""
        tracker = self._model._need_objective("fit").tracker
        is_used = any(metric is tracker for metric in self._model.metrics)
        return tracker.num_samples() if is_used and "loss" in self._latest else None

    def with_validation(self, values: Mapping[str, Any], validation: Mapping[str, Any]) -> ReadLogs:
        """Return an epoch's logs: those of training and of validation, sorted."""
        both = {**values, **{f"val_{key}": value for key, value in validation.items()}}
        return ReadLogs(sorted(both.items()))

    def listed(self, values: Mapping[str, Any]) -> list[Any]:
        """Return results as a list: in the order of `model.metrics`, then what else there is."""
        own = [metric.name for metric in self._model.metrics]
        others = sorted(values.keys() - set(own))
        return [values[name] for name in (*own, *others) if name in values]


class HookedStep(Step):
    """Runs the methods that a model overrides on batches.

    Args:
        model: as of `Step`.
        objective: as of `Step`.
        reports: takes what the model's methods return.
    """

    def __init__(self, model: Any, objective: Objective, reports: Reports):
        super().__init__(model, objective)
        self._reports = reports
        self._functions: dict[str, Any] = {}

    def train(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Have the model train on one batch."""
        self.run_several("train", [(x, y, weight)])

    def test(self, x: Tensor, y: Tensor | None, weight: Tensor | None) -> None:
        """Have the model test one batch."""
        self.run_several("test", [(x, y, weight)])

    def run_several(self, phase: str, batches: Sequence[Batch]) -> None:
        """Have the model train on batches, or test them, in one call."""
        function = self._functions.get(phase)
        if function is None:
            function = self._functions[phase] = self._made(phase)
        values = function([pack_x_y_sample_weight(*batch) for batch in batches])
        self._reports.take(values, f"{phase}_step")

    def _made(self, phase: str) -> Any:
        made = getattr(self.model, f"make_{phase}_function")()
        return getattr(self.model, f"{phase}_function") or made


def _mean_of_processes(values: ReadLogs) -> ReadLogs:
    """Return the mean of what the processes' last steps returned, if there are several."""
    if not process.are_several():
        return values
    of_all = process.values_of_all(dict(values))
    means = {name: np.mean([each[name] for each in of_all], 0) for name in values}
    return ReadLogs((name, float(m) if np.ndim(m) == 0 else m) for name, m in means.items())


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values sorted by name, with those of a dict in its place, as Keras's logs are."""
    flat: dict[str, Any] = {}
    for name in sorted(values):
        value = values[name]
        if isinstance(value, Mapping):
            flat.update(_flat(value))
        else:
            has_one = isinstance(value, Tensor) and value.numel() == 1
            flat[name] = value.reshape(()) if has_one else value
    return flat
