"""What all schedules are: functions of the step count that give a learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, settings
from torchseq.base.types import Config
from torchseq.base.variable import Variable
from torchseq.optimizers.schedules import arithmetic
from torchseq.optimizers.schedules.arithmetic import Arithmetic


class LearningRateSchedule:
    """A learning rate that depends on the step.

    A subclass writes `__call__(self, step)`, and `get_config` if the model is to be saved. In
    training `step` is a tensor on the host that holds a whole number: functions of math, NumPy and
    torch take it, and so do comparisons and Python's operators, none of which waits for a device.

    Source: keras.optimizers.schedules.LearningRateSchedule.

    Examples:
        >>> from torchseq.optimizers import SGD, schedules
        >>> class Halving(schedules.LearningRateSchedule):
        ...     def __call__(self, step):
        ...         return 0.25 * 0.5 ** (step // 1000)
        >>> float(SGD(Halving()).learning_rate)
        0.25
    """

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        raise NotImplementedError(
            f"{type(self).__name__}: a learning rate schedule must have `__call__(self, step)`. "
            "Write it, returning the rate of that step."
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        raise NotImplementedError(
            f"{type(self).__name__}: a learning rate schedule must have `get_config` to be saved. "
            "Write it, returning the constructor's arguments."
        )

    @classmethod
    def from_config(cls, config: Config) -> LearningRateSchedule:
        """Make a schedule from what `get_config`, or Keras's, returned."""
        return cls(**config)


class ClosedFormSchedule(LearningRateSchedule):
    """A schedule that is one formula, which a subclass writes as `formula(step, maths)`.

    Steps that are numbers are computed on the host, steps that are tensors where they are.
    """

    _saved: tuple[str, ...]  # the constructor's arguments, in the order of the config

    def formula(self, step: Any, maths: Arithmetic) -> Any:
        """Return the rate of a step.

        Args:
            step: a number or a tensor, whichever `maths` computes with.
            maths: the operations that are not Python's.
        """
        raise NotImplementedError(f"{type(self).__name__}: it must have `formula`.")

    def at(self, step: float) -> float:
        """Return the rate of a step as a Python number, computed on the host."""
        maths = arithmetic.HostArithmetic(arithmetic.dtype())
        # Keras gives infinity or NaN, too, where a formula leaves the numbers; NumPy would warn.
        with np.errstate(all="ignore"):
            return float(self.formula(step, maths))

    def __call__(self, step: Any) -> Tensor:
        """Return the rate of a step.

        Args:
            step: a number, an array or tensor of steps, or a variable.

        Returns:
            A tensor of the step's shape: on its device, or on the host.
        """
        step = step.value if isinstance(step, Variable) else step
        if isinstance(step, np.ndarray) and step.ndim:
            step = torch.from_numpy(step)
        dtype = dtypes.torch_dtype(settings.floatx())
        if not isinstance(step, Tensor):
            return torch.tensor(self.at(step), dtype=dtype, device="cpu")
        rate: Tensor = self.formula(step, arithmetic.TensorArithmetic(arithmetic.dtype()))
        return rate.to(dtype)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {name: getattr(self, name) for name in self._saved}


def is_computed_on_the_host(schedule: Any) -> bool:
    """Tell whether `schedule.at(step)` gives what `schedule(step)` does, as no one changed that."""
    return (
        isinstance(schedule, ClosedFormSchedule)
        and type(schedule).__call__ is ClosedFormSchedule.__call__
    )


# --- Checks of arguments ------------------------------------------------------------------------


def number(owner: Any, name: str, value: Any, minimum: float | None = None) -> float:
    """Return `value`, a number; one in a tensor, a variable or an array becomes Python's.

    Raises:
        ValueError: if it is none, NaN, or below `minimum`.
    """
    if isinstance(value, Tensor | Variable | np.ndarray) and value.ndim == 0:
        value = float(value)
    return arguments.number(owner, name, value, minimum)


def num_steps(owner: Any, name: str, value: Any) -> float:
    """Return `value`, a number of steps; fractions are allowed, as in Keras.

    Raises:
        ValueError: unless it is a number above 0.
    """
    steps = number(owner, name, value)
    if steps <= 0:
        raise ValueError(f"{type(owner).__name__}: `{name}` must be > 0; got {name}={value!r}.")
    return steps
