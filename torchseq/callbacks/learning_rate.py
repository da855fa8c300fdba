"""Callbacks that set the learning rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from torchseq.base import arguments
from torchseq.callbacks.callback import Callback
from torchseq.callbacks.monitor import MonitorCallback


def optimizers_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the model's optimizers, each with its name if there may be several, else with ''."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # loss scaling's
    several = getattr(optimizer, "optimizers", None)
    if several is None:
        yield "", optimizer
    else:
        yield from ((each.name, each) for each in several)


def add_learning_rates(model: Any, logs: Any) -> None:
    """Add the learning rate to the logs, so that callbacks that come later see it."""
    if logs is None:
        return
    for name, optimizer in optimizers_of(model):
        key = f"learning_rate_{name}" if name else "learning_rate"
        logs[key] = float(optimizer.learning_rate)


class ReduceLROnPlateau(MonitorCallback):
    """Reduces the learning rate when a monitored value no longer improves.

    It adds `learning_rate` to the logs of an epoch.

    Args:
        monitor: name in the logs.
        factor: what the learning rate is multiplied by; in (0, 1).
        patience: epochs without improvement after which the rate is reduced.
        verbose: 1 prints a line when the callback acts.
        mode: which values are better, `"min"` or `"max"`; `"auto"` asks the metric.
        min_delta: a change of no more than this is no improvement.
        cooldown: epochs after a reduction that do not count for `patience`.
        min_lr: the rate is not reduced below this.
        kwargs: ignored, as in Keras.

    Raises:
        ValueError: for an option out of its range; after the first epoch if there is no such
            value, or if it is not known which values are better.
        TypeError: when the rate is to be reduced and follows a schedule.

    Examples:
        >>> ReduceLROnPlateau(factor=1.5)
        Traceback (most recent call last):
        ...
        ValueError: ReduceLROnPlateau: `factor` must be above 0 and below 1; got factor=1.5. ...

    Source: keras.callbacks.ReduceLROnPlateau. A missing value, of which Keras warns, is an error,
    and NaN is never the best value.
    """

    _kept = ("best", "wait", "cooldown_counter")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        if not 0 < arguments.number(self, "factor", factor) < 1:
            raise ValueError(
                "ReduceLROnPlateau: `factor` must be above 0 and below 1; got "
                f"factor={factor!r}. The new rate is the old one times `factor`."
            )
        self.factor = factor
        self.min_lr = arguments.number(self, "min_lr", min_lr, minimum=0)
        self.patience = arguments.number(self, "patience", patience, minimum=0)
        self.verbose = verbose
        self.cooldown = arguments.number(self, "cooldown", cooldown, minimum=0)
        self._forget()

    def _forget(self) -> None:
        self._better = None
        self.best: float | None = None
        self.cooldown_counter: float = 0
        self.wait = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._forget()  # so that one object serves several calls of `fit`

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        add_learning_rates(self.model, logs)
        current = self.monitored(logs, epoch)
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def in_cooldown(self) -> bool:
        """Tell whether epochs do not count, because the rate was reduced not long ago."""
        return self.cooldown_counter > 0

    def _reduce(self, epoch: int) -> bool:
        """Reduce all rates that are above the minimum, and tell whether there was one."""
        reduced = False
        for name, optimizer in optimizers_of(self.model):
            old = float(optimizer.learning_rate)
            if old <= np.float32(self.min_lr):  # the rate is a float32
                continue
            new = max(old * self.factor, self.min_lr)
            optimizer.learning_rate = new
            reduced = True
            if self.verbose > 0:
                whose = f" {name}" if name else ""
                print(
                    f"Epoch {epoch + 1}: ReduceLROnPlateau reducing{whose} learning rate to {new}."
                )
        return reduced


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch.

    It adds `learning_rate` to the logs of an epoch.

    Args:
        schedule: called with the epoch, from 0, and the current rate, or with the epoch alone;
            returns the new rate, a float.
        verbose: 1 prints a line in each epoch.

    Raises:
        TypeError: if `schedule` cannot be called, or the optimizer's rate follows a schedule of
            its own.
        ValueError: if `schedule` returns anything but a finite float.

    Examples:
        >>> halve_every_ten = LearningRateScheduler(lambda epoch, lr: 0.1 * 0.5 ** (epoch // 10))
        >>> halve_every_ten.schedule(25, 0.1)
        0.025

    Source: keras.callbacks.LearningRateScheduler. Which of the two forms `schedule` has is told
    by its signature, where Keras takes a TypeError from inside it for a sign.
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0):
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "LearningRateScheduler: `schedule` must be a function of the epoch and the rate; "
                f"got schedule={schedule!r}."
            )
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes(schedule, 2)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for name, optimizer in optimizers_of(self.model):
            rate = self._scheduled(epoch, optimizer)
            optimizer.learning_rate = float(rate)
            if self.verbose > 0:
                whose = f"{name} " if name else ""
                print(
                    f"Epoch {epoch + 1}: LearningRateScheduler setting {whose}learning rate to "
                    f"{rate}."
                )

    def _scheduled(self, epoch: int, optimizer: Any) -> Any:
        current = (float(optimizer.learning_rate),) if self._takes_rate else ()
        rate = self.schedule(epoch, *current)
        is_float = isinstance(rate, float | np.floating)
        if not is_float and getattr(rate, "shape", None) == () and not isinstance(rate, np.generic):
            rate = float(rate)  # a tensor or array of one number
            is_float = True
        if not is_float or not math.isfinite(rate):
            raise ValueError(
                "LearningRateScheduler: `schedule` must return a finite float; got "
                f"{rate!r} in epoch {epoch}."
            )
        return rate

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        add_learning_rates(self.model, logs)


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C, says nothing
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
