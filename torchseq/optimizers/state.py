"""What an optimizer keeps: tensors beside the weights, and numbers that stay on the host."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import fixed_state
from torchseq.base.variable import Variable


class Slot:
    """Holds a tensor of an optimizer's state."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class LateFlag:
    """A truth value on its way from a device; reading it waits only if it is not there yet.

    Args:
        flag: a boolean tensor without axes.
    """

    def __init__(self, flag: Tensor):
        self._event: torch.cuda.Event | None = None
        if flag.is_cuda:
            # From pinned memory the copy runs beside the program; `event` tells when it is done.
            self._flag = torch.empty((), dtype=torch.bool, pin_memory=True)
            self._flag.copy_(flag, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(flag.device))
        else:
            self._flag = flag

    def read(self) -> bool:
        """Return the value."""
        if self._event is not None:
            self._event.synchronize()
        return bool(self._flag)


class Snapshot:
    """A copy of tensors, to which they can be set back on a condition that only the device knows.

    Args:
        tensors: may differ in dtype, and lie on one device.
    """

    def __init__(self, tensors: list[Tensor]):
        groups: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault(tensor.dtype, []).append(tensor)
        self._kept = [(group, _flat(group)) for group in groups.values()]

    def restore_where(self, condition: Tensor) -> None:
        """Set the tensors back where the condition, a boolean without axes, is True."""
        for tensors, kept in self._kept:
            chosen = torch.where(condition, kept, _flat(tensors))
            pieces = chosen.split([tensor.numel() for tensor in tensors])
            shaped = [p.view(tensor.shape) for p, tensor in zip(pieces, tensors, strict=True)]
            torch._foreach_copy_(tensors, shaped)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


class HostNumber:
    """A number that a step reads and writes without a tensor, and that users see as one.

    The tensor is written when it is asked for, and read when someone wrote to it, which its
    version tells. So steps read no tensor, and `variable.assign(...)` works.

    It may depend on a `LateFlag`, which is read when someone asks for the number.

    Args:
        value: rounded to `dtype`.
        dtype: of the tensor.
    """

    def __init__(self, value: float, dtype: torch.dtype):
        self._tensor = torch.tensor(value, dtype=dtype, device="cpu")
        self._is_ahead = False
        self._in_doubt: tuple[LateFlag, Any] | None = None
        self._read()

    @property
    def tensor(self) -> Tensor:
        """The number as a tensor; what is written to it counts."""
        if fixed_state.is_fixed():
            raise ValueError(
                "the optimizer's `update` reads a number that changes from step to step, such as "
                "`iterations`, which a graph would not see; return what it needs from `numbers`"
            )
        if self._is_ahead:
            self._tensor.fill_(self.number)
            self._version = self._tensor._version
            self._is_ahead = False
        return self._tensor

    @property
    def number(self) -> Any:
        """The number, an int or a float."""
        if self._in_doubt is not None:
            flag, otherwise = self._in_doubt
            self.number = self._number if flag.read() else otherwise
        if not self._is_ahead and self._tensor._version != self._version:
            self._read()
        return self._number

    @number.setter
    def number(self, value: Any) -> None:
        self._number = value
        self._is_ahead = True
        self._in_doubt = None

    def take_back_unless(self, flag: LateFlag, before: Any) -> None:
        """Let the number be `before` again if the flag turns out to be False."""
        if self._is_ahead:  # what was read from the tensor, nobody has changed
            self._in_doubt = (flag, before)

    def _read(self) -> None:
        kind = float if self._tensor.is_floating_point() else int
        self._number = kind(self._tensor)
        self._version = self._tensor._version

    def __getstate__(self) -> dict[str, Any]:
        return {"tensor": self.tensor}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._tensor = state["tensor"]
        self._is_ahead = False
        self._in_doubt = None
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


def is_host_variable(variable: Variable) -> bool:
    """Tell whether `host_variable` made it."""
    return isinstance(variable._owner, HostNumber)


def take_back_unless(variable: Variable, flag: LateFlag, before: Any) -> None:
    """Let the number of a variable that `host_variable` made be `before` if the flag is False."""
    variable._owner.take_back_unless(flag, before)


def as_variable(weight: Any) -> Variable:
    """Return a variable over a plain torch parameter, or the variable that came."""
    if isinstance(weight, Variable):
        return weight
    return Variable.over(Slot(weight), "tensor", "weight")
