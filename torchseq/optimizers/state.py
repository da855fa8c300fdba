"""Tensors of an optimizer's state, and plain torch parameters, as variables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base.variable import Variable


class Slot:
    """Holds a tensor of an optimizer's state."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def host_variable(value: float, dtype: torch.dtype, path: str) -> Variable:
    """Return a variable that stays on the host, with this path."""
    tensor = torch.tensor(value, dtype=dtype, device="cpu")
    variable = Variable.over(Slot(tensor), "tensor", path.split("/")[-1])
    variable.path = path
    return variable


def as_variable(weight: Any) -> Variable:
    """Return a variable over a plain torch parameter, or the variable that came."""
    if isinstance(weight, Variable):
        return weight
    return Variable.over(Slot(weight), "tensor", "weight")
