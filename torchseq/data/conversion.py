"""Arrays, lists, tables and tensors -> tensors."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import dtypes, settings
from torchseq.base.variable import Variable
from torchseq.data import foreign

_WORTH_A_STREAM = 1 << 20  # bytes; to switch streams costs the host some 20 µs
_SIGNED = {2: "int32", 4: "int64", 8: "int64"}  # bytes of an unsigned integer -> what has kernels


def to_tensor(owner: str, name: str, value: Any) -> Tensor:
    """Return user data as a tensor: floating ones in floatx, others in their own dtype.

    Arrays of the right dtype are shared, not copied. A list that holds one array or tensor means
    that array, as in Keras, where it is the list of a model's inputs.

    Args:
        owner: the method that errors name, such as `"fit"`.
        name: how errors call the value, such as `"x"`.
        value: array, tensor, variable, nested list of numbers, list of equal arrays, pandas table,
            sparse matrix, or anything with `__array__` or `numpy()`.

    Raises:
        ValueError: if it is no array of numbers or bools.
    """
    if value is None:
        raise ValueError(f"{owner}: `{name}` must be given; got None.")
    if isinstance(value, list | tuple) and value and isinstance(value[0], np.ndarray | Tensor):
        value = _joined(owner, name, value)
    tensor = value if isinstance(value, Tensor) else _from_array(owner, name, value)
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_floating_point():
        tensor = tensor.to(dtypes.torch_dtype(settings.floatx()))
    if tensor.ndim == 0:
        raise ValueError(f"{owner}: `{name}` must have a batch axis; got a single number.")
    return tensor


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on the device, row after row in memory, since sums depend on the layout.

    The host does not wait for a copy to a GPU, nor does a large copy wait for the steps before it.
    """
    tensor = tensor.contiguous()
    if tensor.device == device:
        return tensor
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device, non_blocking=True)
    pinned = tensor.pin_memory()  # without it the copy waits, whatever is asked for
    if pinned.nbytes < _WORTH_A_STREAM:
        return pinned.to(device, non_blocking=True)
    copying, computing = _copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        moved = pinned.to(device, non_blocking=True)
    computing.wait_stream(copying)
    moved.record_stream(computing)  # its memory is not given away before the steps are done
    return moved


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


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
    if isinstance(value, Mapping):
        raise ValueError(
            f"{owner}: `{name}` must be one array or tensor, since a Sequential has one input and "
            f"one output; got a dict with the keys {list(value)}. Pass the array itself."
        )
    try:
        array = np.asarray(_as_numpy_reads(value))
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
    array = _with_torchs_dtype(array)
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        # Of an array that must not be written to, which nobody does.
        warnings.filterwarnings("ignore", "The given NumPy array is not writ")
        return torch.from_numpy(array)


def _with_torchs_dtype(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of a dtype and layout that torch can share."""
    dtype = array.dtype
    if dtype.kind == "f" and dtype.itemsize > 8:
        array = array.astype("float64")
    elif dtype.kind == "u" and dtype.itemsize > 1:
        array = array.astype(_SIGNED[dtype.itemsize])
    if min(array.strides, default=0) < 0 or not array.dtype.isnative:
        # Not by `ascontiguousarray`, to which a single row is contiguous in any direction.
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    return array


def _as_numpy_reads(value: Any) -> Any:
    """Return what NumPy can make an array of, for objects of other libraries."""
    if isinstance(value, np.ndarray | list | tuple):
        return value
    if foreign.is_table(value):
        return foreign.table_values(value)
    if foreign.is_sparse_matrix(value):
        return value.toarray()
    if not hasattr(value, "__array__") and callable(getattr(value, "numpy", None)):
        return value.numpy()
    return value
