"""Arrays, lists and tensors -> tensors, once."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import dtypes, settings
from torchseq.base.variable import Variable


def to_tensor(name: str, value: Any) -> Tensor:
    """Return user data as a tensor: floating ones in floatx, others in their own dtype.

    Arrays of the right dtype are shared, not copied.

    Args:
        name: how errors call it, such as `"x"`.
        value: array, tensor, variable, number sequence, or anything with `__array__`.

    Raises:
        ValueError: if it is no array of numbers or bools.
    """
    tensor = value if isinstance(value, Tensor) else _from_array(name, value)
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.to(dtypes.torch_dtype(settings.floatx()))
    if tensor.ndim == 0:
        raise ValueError(f"fit: `{name}` must have a batch axis; got a single number.")
    return tensor


def _from_array(name: str, value: Any) -> Tensor:
    if isinstance(value, Variable):
        return value.value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.dtype == np.longdouble:
        raise ValueError(
            f"fit: `{name}` must be an array or tensor of numbers; got {type(value).__name__} "
            f"that makes an array of dtype {array.dtype}. Arrays of unequal rows make no tensor."
        )
    if any(stride < 0 for stride in array.strides) or not array.dtype.isnative:
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writ")  # nobody writes to it
        return torch.from_numpy(array)
