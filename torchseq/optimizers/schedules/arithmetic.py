"""The two ways of computing a schedule: with numbers of the host, and with tensors.

Both round every operation to one dtype, and take functions that different libraries round in
different ways (cosine, logarithm, power) from torch. So both give Keras's numbers, bit for bit.
Near the end of a cosine decay this matters: one rounding more changes the rate by 1e-3 of itself.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchseq.base import settings

_HOST = torch.device("cpu")


class HostArithmetic:
    """Computes with NumPy scalars: no tensor of a device, and less time than tensors take.

    Args:
        dtype: float32 or float64.
    """

    def __init__(self, dtype: torch.dtype):
        self._dtype = dtype
        self._type = np.float64 if dtype is torch.float64 else np.float32

    def number(self, value: Any) -> Any:
        """Return a number in the dtype of the computation."""
        return self._type(value)

    def floor(self, value: Any) -> Any:
        """Return the largest whole number that is not above the value."""
        return np.floor(value)

    def ceil(self, value: Any) -> Any:
        """Return the smallest whole number that is not below the value."""
        return np.ceil(value)

    def minimum(self, one: Any, other: Any) -> Any:
        """Return the smaller of two numbers."""
        return min(one, other)

    def cos(self, value: Any) -> Any:
        """Return the cosine of an angle in radians."""
        return self._by_torch(torch.cos, value)

    def log(self, value: Any) -> Any:
        """Return the natural logarithm."""
        return self._by_torch(torch.log, value)

    def power(self, base: Any, exponent: Any) -> Any:
        """Return a power; NaN for a negative base and a fraction as exponent."""
        if base == 1 or exponent == 1:
            return base
        return self._by_torch(torch.pow, base, exponent)

    def _by_torch(self, function: Callable[..., Tensor], *values: Any) -> Any:
        # The fastest ways there and back: this is most of the time that a schedule takes.
        tensors = [torch.scalar_tensor(v, dtype=self._dtype, device=_HOST) for v in values]
        return self._type(float(function(*tensors)))

    def choose(
        self, condition: Any, if_true: Callable[[], Any], if_false: Callable[[], Any]
    ) -> Any:
        """Return the result of one of two functions."""
        return if_true() if condition else if_false()

    def pick(self, step: Any, boundaries: Sequence[float], values: Sequence[float]) -> Any:
        """Return the value of the interval in which a step is; intervals hold their upper end."""
        return self._type(values[bisect.bisect_left(boundaries, step)])


class TensorArithmetic:
    """Computes with tensors where the step is; nothing in it waits for a device.

    Args:
        dtype: float32 or float64.
    """

    def __init__(self, dtype: torch.dtype):
        self._dtype = dtype

    def number(self, value: Any) -> Tensor:
        """Return a number or tensor in the dtype of the computation.

        A number stays on the host, where operations with other devices' tensors can read it.
        """
        if isinstance(value, Tensor):
            return value.to(self._dtype)
        return torch.tensor(value, dtype=self._dtype, device="cpu")

    def floor(self, value: Tensor) -> Tensor:
        """Return the largest whole numbers that are not above the values."""
        return torch.floor(value)

    def ceil(self, value: Tensor) -> Tensor:
        """Return the smallest whole numbers that are not below the values."""
        return torch.ceil(value)

    def minimum(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the smaller of two numbers."""
        return torch.minimum(one, other)

    def cos(self, value: Tensor) -> Tensor:
        """Return the cosines of angles in radians."""
        return torch.cos(value)

    def log(self, value: Tensor) -> Tensor:
        """Return the natural logarithms."""
        return torch.log(value)

    def power(self, base: Tensor, exponent: Tensor) -> Tensor:
        """Return a power; NaN for a negative base and a fraction as exponent."""
        return torch.pow(base, exponent)

    def choose(
        self, condition: Tensor, if_true: Callable[[], Any], if_false: Callable[[], Any]
    ) -> Tensor:
        """Return the results of one function where the condition holds, else of the other."""
        return torch.where(condition, if_true(), if_false())

    def pick(self, step: Tensor, boundaries: Sequence[float], values: Sequence[float]) -> Tensor:
        """Return the value of the interval in which a step is; intervals hold their upper end."""
        edges = torch.tensor(boundaries, dtype=torch.float64, device=step.device)
        choices = torch.tensor(values, dtype=self._dtype, device=step.device)
        return choices.take(torch.bucketize(step.to(torch.float64), edges))


Arithmetic: TypeAlias = HostArithmetic | TensorArithmetic


def dtype() -> torch.dtype:
    """Return the dtype of the computation: float64 where it is Keras's floatx, else float32.

    Keras computes in floatx also where that is float16, in which step 2049 is step 2048.
    """
    return torch.float64 if settings.floatx() == "float64" else torch.float32
