"""Arrays, lists and tensors -> tensors, once."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import dtypes, settings
from torchseq.base.variable import Variable

_SIGNED = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}  # torch computes with these


def to_tensor(owner: str, name: str, value: Any) -> Tensor:
    """Return user data as a tensor: floating ones in floatx, others in their own dtype.

    Arrays of the right dtype are shared, not copied. A list that holds one array or tensor means
    that array, as in Keras, where it is the list of a model's inputs.

    Args:
        owner: the method that errors name, such as `"fit"`.
        name: how errors call the value, such as `"x"`.
        value: array, tensor, variable, nested list of numbers, list of equal arrays, or anything
            with `__array__`.

    Raises:
        ValueError: if it is no array of numbers or bools.
    """
    if value is None:
        raise ValueError(f"{owner}: `{name}` must be given; got None.")
    if isinstance(value, list | tuple) and value and isinstance(value[0], np.ndarray | Tensor):
        value = _joined(owner, name, value)
    tensor = value if isinstance(value, Tensor) else _from_array(owner, name, value)
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.to(dtypes.torch_dtype(settings.floatx()))
    if tensor.ndim == 0:
        raise ValueError(f"{owner}: `{name}` must have a batch axis; got a single number.")
    return tensor


def _joined(owner: str, name: str, values: Any) -> Any:
    """Return the one array of a list, or an array with one row for each."""
    if len(values) == 1 and values[0].ndim > 0:
        return values[0]
    shapes = {tuple(np.shape(value)) for value in values}
    if len(shapes) > 1:
        raise ValueError(
            f"{owner}: `{name}` must be one array, or a list of arrays of one shape; got a list of "
            f"{len(values)} with the shapes {sorted(shapes)}. A Sequential has one input and one "
            "output."
        )
    return torch.stack(list(values)) if isinstance(values[0], Tensor) else np.stack(values)


def _from_array(owner: str, name: str, value: Any) -> Tensor:
    if isinstance(value, Variable):
        return value.value
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of unequal lengths
        raise ValueError(
            f"{owner}: `{name}` must be an array or tensor of numbers; got a "
            f"{type(value).__name__} that makes none: {error} Pad its rows to one length."
        ) from error
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{owner}: `{name}` must be an array or tensor of numbers; got a "
            f"{type(value).__name__} that makes an array of dtype {array.dtype}. Convert it to "
            "numbers, rows of unequal lengths to one length."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # torch has no such dtype
        array = array.astype("float64")
    array = array.astype(_SIGNED.get(array.dtype.name, array.dtype), copy=False)
    if any(stride < 0 for stride in array.strides) or not array.dtype.isnative:
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        # Of an array that must not be written to, which nobody does.
        warnings.filterwarnings("ignore", "The given NumPy array is not writ")
        return torch.from_numpy(array)
