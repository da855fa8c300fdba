"""Collects the outputs of many batches in one array on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]

_MOST_WAITING = 64 << 20  # bytes of outputs that wait on a GPU: the host waits for each copy


class Gatherer:
    """Copies batch outputs into one host array (or a structure of them).

    The array is made when the first outputs come, for as many rows as there will be. If that is
    not known, or was wrong, it grows to twice its size whenever it is full.

    Args:
        num_samples: rows in all, as far as known.
        num_batches: how many outputs are going to come, as far as known.
    """

    def __init__(self, num_samples: int | None = None, num_batches: int | None = None):
        self._num_samples = num_samples
        self._num_batches = num_batches
        self._buffers: list[_Buffer] = []
        self._is_single = False
        self.latest: Any = None

    def add(self, outputs: Any) -> None:
        """Append the outputs of one batch."""
        self.latest = outputs
        if self._is_single and isinstance(outputs, Tensor):
            self._buffers[0].append(outputs)
            return
        parts, self._structure = _flatten(outputs)
        self._is_single = isinstance(outputs, Tensor)
        if not self._buffers:
            self._buffers = [_Buffer(part, self._expected_rows(len(part))) for part in parts]
        for buffer, part in zip(self._buffers, parts, strict=True):
            buffer.append(part)

    def _expected_rows(self, num_first: int) -> int:
        guesses = [] if self._num_samples is None else [self._num_samples]
        if self._num_batches is not None:
            guesses.append(num_first * self._num_batches)
        return min(guesses, default=num_first)

    def result(self) -> Any:
        """Return the outputs of all batches as NumPy arrays, in the structure of one output."""
        return self._structure([buffer.result() for buffer in self._buffers])


class _Buffer:
    """A host array with room for more rows."""

    def __init__(self, part: Tensor, num_rows: int):
        kind = torch.empty(0, dtype=_numpy_dtype(part)).numpy().dtype
        self._row_shape = part.shape[1:]
        self._array = np.empty((num_rows, *self._row_shape), kind)
        self._tensor = torch.from_numpy(self._array)
        self._num_rows = 0
        self._lets_wait = part.is_cuda
        self._waiting: list[Tensor] = []
        self._waiting_bytes = 0

    def append(self, part: Tensor) -> None:
        if part.shape[1:] != self._row_shape:
            raise ValueError(
                "predict: the outputs of all batches must have the same shape; got "
                f"{tuple(part.shape)} after {(self._num_rows, *self._row_shape)}. Pad the "
                "inputs to one length, or use predict_on_batch."
            )
        if not self._lets_wait:
            self._write(part)
            return
        # A copy: the part may be a view of much more, or memory that the next batch overwrites.
        self._waiting.append(part.clone(memory_format=torch.contiguous_format))
        self._waiting_bytes += part.nbytes
        if self._waiting_bytes >= _MOST_WAITING:
            self._write_waiting()

    def _write_waiting(self) -> None:
        self._write(torch.cat(self._waiting))
        self._waiting, self._waiting_bytes = [], 0

    def _write(self, part: Tensor) -> None:
        stop = self._num_rows + part.shape[0]
        if stop > self._array.shape[0]:
            self._resize(max(stop, 2 * len(self._array)))
        self._tensor[self._num_rows : stop].copy_(part)
        self._num_rows = stop

    def _resize(self, num_rows: int) -> None:
        del self._tensor  # which looks at memory that may move
        self._array.resize((num_rows, *self._row_shape), refcheck=False)
        self._tensor = torch.from_numpy(self._array)

    def result(self) -> Array:
        if self._waiting:
            self._write_waiting()
        if self._num_rows < len(self._array):
            self._resize(self._num_rows)
        return self._array


def copied(outputs: Any) -> Any:
    """Return outputs as NumPy arrays that share no memory with anything, in their structure."""
    if type(outputs) is Tensor and outputs.dtype is not torch.bfloat16:
        return np.array(outputs.cpu().numpy())
    parts, structure = _flatten(outputs)
    return structure([np.array(part.to(_numpy_dtype(part)).cpu().numpy()) for part in parts])


def _numpy_dtype(tensor: Tensor) -> torch.dtype:
    """Return the dtype of a tensor on the host: float32 for bfloat16, which NumPy lacks."""
    return torch.float32 if tensor.dtype is torch.bfloat16 else tensor.dtype


def _flatten(outputs: Any) -> tuple[list[Tensor], Any]:
    if isinstance(outputs, Tensor):
        return [outputs], lambda arrays: arrays[0]
    if isinstance(outputs, dict):
        keys = list(outputs)
        return [outputs[key] for key in keys], lambda arrays: dict(zip(keys, arrays, strict=True))
    return list(outputs), lambda arrays: list(arrays)
