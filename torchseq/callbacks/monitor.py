"""What callbacks that watch one of the logs have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchseq.base import arguments
from torchseq.callbacks.callback import Callback

_DIRECTIONS = {"up": "max", "down": "min"}  # as a user's metric, written for Keras, says it


class MonitorCallback(Callback):
    """Base class of callbacks that compare the values of one of the logs.

    Args:
        monitor: name in the logs, such as `"val_loss"`.
        mode: which values are better, `"min"` or `"max"`; `"auto"` asks the metric.
        best: the value to beat; None: the first is the best so far.
        min_delta: how much better a value must be to count as better.

    Raises:
        TypeError: if `monitor` is no text.
        ValueError: for another `mode`, or a `min_delta` that is no number.
    """

    def __init__(self, monitor: str, mode: str, best: float | None = None, min_delta: float = 0):
        super().__init__()
        if not isinstance(monitor, str):
            raise TypeError(
                f"{type(self).__name__}: `monitor` must be the name of a value in the logs, such "
                f"as 'val_loss'; got monitor={monitor!r}."
            )
        self.monitor = monitor
        self.mode: str = arguments.one_of(self, "mode", mode, ("auto", "min", "max"))
        self.best = best
        self.min_delta = abs(arguments.number(self, "min_delta", min_delta))
        self._better: str | None = None  # "min" or "max"; known when the metrics are

    def monitored(self, logs: Any, epoch: int) -> float | None:
        """Return the monitored value, or None in an epoch without validation.

        Raises:
            ValueError: if there is no value of that name, naming those that are there.
        """
        logs = logs or {}
        if self.monitor in logs:
            return logs[self.monitor]  # type: ignore[no-any-return]
        is_rare = self.monitor.startswith("val_") and not self._is_validated(epoch)
        if is_rare and (not logs or self.monitor.removeprefix("val_") in logs):
            return None
        advice = "Choose one of these"
        if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in logs):
            advice += ", or pass `validation_data` or `validation_split` to `fit`"
        raise ValueError(
            f"{type(self).__name__}: `monitor` must be the name of a value in the logs; got "
            f"monitor={self.monitor!r}, and there are {', '.join(map(repr, logs)) or 'none'}. "
            f"{advice}."
        )

    def _is_validated(self, epoch: int) -> bool:
        frequency = (self.params or {}).get("validation_freq", 1)
        if arguments.is_integer(frequency):
            return bool((epoch + 1) % frequency == 0)
        return epoch + 1 in frequency

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Tell whether `value` is better than `reference`; NaN never is.

        Raises:
            ValueError: if neither `mode` nor the metric says which values are better.
        """
        if self._better is None:
            self._better = self._direction()
        if math.isnan(value):
            return False
        if reference is None:
            return True
        # In float32, as Keras compares: 0.8 to 0.7 is no improvement of more than 0.1.
        if self._better == "min":
            return bool(np.float32(value + self.min_delta) < np.float32(reference))
        return bool(np.float32(value - self.min_delta) > np.float32(reference))

    def _direction(self) -> str:
        if self.mode != "auto":
            return self.mode
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return "min"
        for metric in getattr(self.model, "metrics", None) or []:
            if metric.name == name and (direction := _direction_of(metric)):
                return direction
        if "loss" in name:
            return "min"
        raise ValueError(
            f"{type(self).__name__}: with mode='auto', the metric must say which values are "
            f"better; got monitor={self.monitor!r}, whose metric does not. Pass mode='max' if "
            "higher is better, or mode='min'."
        )


def _direction_of(metric: Any) -> str | None:
    direction: str | None = getattr(metric, "direction", None)
    return direction or _DIRECTIONS.get(getattr(metric, "_direction", ""))
