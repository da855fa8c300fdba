"""The learning rate of an optimizer: a number that can be set, a schedule, or a callable."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, settings
from torchseq.base.variable import Variable
from torchseq.optimizers import state
from torchseq.optimizers.schedules.schedule import is_computed_on_the_host


class Rated:
    """The part of `Optimizer` that knows the learning rate of each step."""

    name: str
    decay: float
    gradient_accumulation_steps: int | None
    _iterations: Variable  # on the host, as the rate is: a step must not wait for a device
    _variables: list[Variable]
    _learning_rate: Any = None

    @property
    def iterations(self) -> Any:
        """Number of updates so far."""
        steps = self.gradient_accumulation_steps
        if not steps:
            return self._iterations
        return state.host_variable(self._num_updates(), torch.int32, self._iterations.path)

    def _count(self) -> int:
        return int(state.number_of(self._iterations))

    def _num_updates(self) -> int:
        """Return what `iterations` shows: steps, or as many as were gathered per update."""
        return self._count() // (self.gradient_accumulation_steps or 1)

    @property
    def learning_rate(self) -> Any:
        """The current rate: a variable, or what the schedule says for this step.

        It can be set to a number, a schedule or a callable.
        """
        rate = self._learning_rate
        return rate if isinstance(rate, Variable) else self._scheduled_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._set_rate(value)

    def _set_rate(self, value: Any) -> None:
        if isinstance(value, Variable) and value is self._learning_rate:
            return
        if callable(value) and not isinstance(value, Variable | Tensor):
            if isinstance(self._learning_rate, Variable):
                self._variables.remove(self._learning_rate)
            self._learning_rate = value
            return
        rate = _number(self, value)
        if isinstance(self._learning_rate, Variable):
            self._learning_rate.assign(rate)
            return
        if self._learning_rate is not None:
            raise TypeError(
                f"{type(self).__name__}: the learning rate follows a schedule and cannot be set; "
                "make the optimizer with a number to set it later."
            )
        dtype = dtypes.torch_dtype(settings.floatx())
        self._learning_rate = state.host_variable(rate, dtype, f"{self.name}/learning_rate")
        self._variables.insert(1, self._learning_rate)

    @property
    def lr(self) -> Any:
        """`learning_rate`, by its name in Keras 1 and 2."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    def _scheduled_rate(self) -> Any:
        if hasattr(self._learning_rate, "get_config"):
            return self._learning_rate(self._iterations.tensor)
        return self._learning_rate()

    def _base_rate(self) -> float:
        rate = self._learning_rate
        if isinstance(rate, Variable):
            return float(state.number_of(rate))
        if is_computed_on_the_host(rate):
            return float(rate.at(self._count()))
        return float(self._scheduled_rate())

    def _rate(self) -> float:
        """Return the rate of this step."""
        rate = self._base_rate()
        return rate / (1 + self.decay * self._count()) if self.decay else rate


def _number(owner: Any, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(
        value, int | float | np.number | Tensor | Variable
    ):
        raise ValueError(
            f"{arguments.owner_name(owner)}: `learning_rate` must be a number, a schedule or a "
            f"callable; got learning_rate={value!r}."
        )
    number = float(value)
    if not number >= 0:
        raise ValueError(
            f"{arguments.owner_name(owner)}: `learning_rate` must be at least 0; got {number}."
        )
    return number
