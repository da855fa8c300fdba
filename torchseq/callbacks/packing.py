"""Nested Python values as one safetensors file: tensors as such, all else as JSON in its header."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from torchseq.base.atomic import atomic_path
from torchseq.base.errors import FileFormatError

_FORMAT = 1
_METADATA = "torchseq_backup"
_KIND = "~kind"  # marks a JSON object that stands for something else
_SEPARATOR = "."


def write(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value to a file, which is replaced in one step.

    Args:
        path: the file; its folder must exist.
        value: numbers, text, None, arrays and tensors, in lists, tuples and dicts.

    Raises:
        TypeError: for any other value, naming where it is.
        OSError: the file cannot be written; the one that was there is as before.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps({"format": _FORMAT, "value": _packed(value, "", tensors)})
    with atomic_path(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary, {"format": "pt", _METADATA: text})
        except safetensors.SafetensorError as error:
            raise OSError(f"{os.fspath(path)}: the file cannot be written: {error}") from error


def read(path: str | os.PathLike[str]) -> Any:
    """Return the value that `write` wrote.

    Raises:
        FileFormatError: the file is damaged, or not of this kind.
        OSError: the file cannot be read.
    """
    name = os.fspath(path)
    try:
        with safetensors.safe_open(name, framework="pt") as file:
            found = json.loads((file.metadata() or {})[_METADATA])
            if found["format"] > _FORMAT:
                raise FileFormatError(
                    f"{name}: the file's format must be {_FORMAT} or lower; it is "
                    f"{found['format']}. Install a newer torchseq to read it."
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return _unpacked(found["value"], tensors)
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise FileFormatError(
            f"{name}: the file must be a whole backup; it is damaged or another kind of file: "
            f"{error}."
        ) from error


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        return _packed_dict(value, path, tensors)
    if isinstance(value, list | tuple):
        entries = [_packed(v, f"{path}{_SEPARATOR}{i}", tensors) for i, v in enumerate(value)]
        return entries if isinstance(value, list) else {_KIND: "tuple", "of": entries}
    if isinstance(value, Tensor):
        return _packed_tensor(value, "tensor", path, tensors)
    is_numeric = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc"
    if is_numeric:
        array = torch.from_numpy(np.array(value))  # a copy that can be written to
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return _packed_tensor(array, kind, path, tensors)
    raise TypeError(
        "a backup: each value must be a number, text, None, an array, a tensor, or a list, tuple "
        f"or dict of these; got {value!r} of type {type(value).__name__} at "
        f"{path.lstrip(_SEPARATOR)!r}."
    )


def _packed_dict(value: dict[Any, Any], path: str, tensors: dict[str, Tensor]) -> Any:
    if all(type(key) is str for key in value) and _KIND not in value:
        return {
            key: _packed(entry, f"{path}{_SEPARATOR}{key}", tensors) for key, entry in value.items()
        }
    pairs = _packed([list(pair) for pair in value.items()], path, tensors)
    return {_KIND: "dict", "of": pairs}


def _packed_tensor(tensor: Tensor, kind: str, path: str, tensors: dict[str, Tensor]) -> Any:
    key = path.lstrip(_SEPARATOR) or "value"
    while key in tensors:  # "a.b" and "a" -> "b" are two places
        key += "_"
    # A copy of its own: safetensors refuses two tensors in one memory.
    tensors[key] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return {_KIND: kind, "of": key}


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(entry, tensors) for entry in value]
    if not isinstance(value, dict):
        return value
    if _KIND not in value:
        return {key: _unpacked(entry, tensors) for key, entry in value.items()}
    kind, content = value[_KIND], value["of"]
    if kind == "tuple":
        return tuple(_unpacked(content, tensors))
    if kind == "dict":
        return dict(map(tuple, _unpacked(content, tensors)))
    if kind == "tensor":
        return tensors[content]
    array = tensors[content].numpy()
    return array if kind == "array" else array[()]
