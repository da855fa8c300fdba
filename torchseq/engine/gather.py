"""Collects the outputs of many batches in one array on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Gatherer:
    """Copies batch outputs into one preallocated host array (or a structure of them).

    Args:
        num_samples: rows in all, if known; else the parts are joined at the end.
    """

    def __init__(self, num_samples: int | None):
        self._num_samples = num_samples
        self._arrays: list[Any] = []
        self._row = 0

    def add(self, outputs: Any) -> None:
        """Append the outputs of one batch."""
        parts, self._structure = _flatten(outputs)
        if not self._arrays:
            self._arrays = [self._allocate(part) for part in parts]
        rows = len(parts[0])
        for array, part in zip(self._arrays, parts, strict=True):
            if isinstance(array, list):
                array.append(part.detach().cpu())
            else:
                array[self._row : self._row + rows].copy_(part)
        self._row += rows

    def _allocate(self, part: Tensor) -> Any:
        if self._num_samples is None:
            return []
        return torch.empty((self._num_samples, *part.shape[1:]), dtype=part.dtype)

    def result(self) -> Any:
        """Return the outputs of all batches as NumPy arrays, in the structure of one output."""
        arrays = [torch.cat(a) if isinstance(a, list) else a[: self._row] for a in self._arrays]
        return self._structure([to_numpy(array) for array in arrays])


def to_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor as an array; bfloat16, which NumPy lacks, as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def _flatten(outputs: Any) -> tuple[list[Tensor], Any]:
    if isinstance(outputs, Tensor):
        return [outputs], lambda arrays: arrays[0]
    if isinstance(outputs, dict):
        keys = list(outputs)
        return [outputs[key] for key in keys], lambda arrays: dict(zip(keys, arrays, strict=True))
    return list(outputs), lambda arrays: list(arrays)
