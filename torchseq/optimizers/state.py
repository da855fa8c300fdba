"""What an optimizer keeps: tensors beside the weights, and numbers that stay on the host."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base.variable import Variable


class Slot:
    """Holds a tensor of an optimizer's state."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class HostNumber:
    """A number that a step reads and writes without a tensor, and that users see as one.

    The tensor is written when it is asked for, and read when someone wrote to it, which its
    version tells. So steps read no tensor, and `variable.assign(...)` works.

    Args:
        value: rounded to `dtype`.
        dtype: of the tensor.
    """

    def __init__(self, value: float, dtype: torch.dtype):
        self._tensor = torch.tensor(value, dtype=dtype, device="cpu")
        self._is_ahead = False
        self._read()

    @property
    def tensor(self) -> Tensor:
        """The number as a tensor; what is written to it counts."""
        if self._is_ahead:
            self._tensor.fill_(self._number)
            self._version = self._tensor._version
            self._is_ahead = False
        return self._tensor

    @property
    def number(self) -> Any:
        """The number, an int or a float."""
        if not self._is_ahead and self._tensor._version != self._version:
            self._read()
        return self._number

    @number.setter
    def number(self, value: Any) -> None:
        self._number = value
        self._is_ahead = True

    def _read(self) -> None:
        kind = float if self._tensor.is_floating_point() else int
        self._number = kind(self._tensor)
        self._version = self._tensor._version

    def __getstate__(self) -> dict[str, Any]:
        return {"tensor": self.tensor}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._tensor = state["tensor"]
        self._is_ahead = False
        self._read()


def host_variable(value: float, dtype: torch.dtype, path: str) -> Variable:
    """Return a variable over a `HostNumber`, with this path."""
    variable = Variable.over(HostNumber(value, dtype), "tensor", path.split("/")[-1])
    variable.path = path
    return variable


def number_of(variable: Variable) -> Any:
    """Return the number of a variable that `host_variable` made."""
    return variable._owner.number


def set_number(variable: Variable, value: Any) -> None:
    """Set the number of a variable that `host_variable` made."""
    variable._owner.number = value


def as_variable(weight: Any) -> Variable:
    """Return a variable over a plain torch parameter, or the variable that came."""
    if isinstance(weight, Variable):
        return weight
    return Variable.over(Slot(weight), "tensor", "weight")
