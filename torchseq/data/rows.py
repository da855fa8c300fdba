"""Samples in memory or on disk, of which some are asked for at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchseq.base import dtypes, settings
from torchseq.data import foreign
from torchseq.data.conversion import move, to_tensor


class LazyRows:
    """Rows that become a dense tensor of the right dtype only when they are asked for.

    Args:
        owner: the method that errors name.
        name: how errors call the data.
        rows: a sparse matrix with fast rows, a sparse tensor or a memory-mapped array.
    """

    device = torch.device("cpu")

    def __init__(self, owner: str, name: str, rows: Any):
        self._owner = owner
        self._name = name
        self._rows = rows
        self.shape = tuple(rows.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> LazyRows:
        return LazyRows(self._owner, self._name, self._select(rows))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all rows would take as a tensor."""
        width = int(np.prod(self.shape[1:], dtype="int64"))
        return len(self) * width * dtypes.torch_dtype(settings.floatx()).itemsize

    def take(self, rows: slice | Tensor) -> Tensor:
        """Return some rows as a dense tensor."""
        return to_tensor(self._owner, self._name, self._select(rows))

    def _select(self, rows: slice | Tensor) -> Any:
        if isinstance(self._rows, Tensor):
            if isinstance(rows, slice):  # which sparse tensors do not take
                rows = torch.arange(*rows.indices(len(self)))
            return self._rows.index_select(0, rows.to(self._rows.device))
        return self._rows[rows if isinstance(rows, slice) else rows.numpy()]


Rows: TypeAlias = Tensor | LazyRows


def to_rows(owner: str, name: str, value: Any) -> Rows:
    """Return user data as a tensor, or as rows that become one in parts.

    The latter if the whole would not be the data's own memory: sparse matrices, and files mapped
    into memory whose dtype is not the one to compute with.

    Raises:
        ValueError: if it is no array of numbers or bools.
    """
    if isinstance(value, LazyRows):
        return value
    if foreign.is_sparse_matrix(value):
        return LazyRows(owner, name, value.tocsr())
    if isinstance(value, Tensor) and value.layout is not torch.strided:
        return LazyRows(owner, name, value.detach().to_sparse_coo().coalesce())
    if _is_mapped(value) and not _is_ready(value):
        to_tensor(owner, name, value[:1])  # whose errors should come now
        return LazyRows(owner, name, value)
    return to_tensor(owner, name, value)


def take(rows: Rows, chosen: slice | Tensor) -> Tensor:
    """Return a slice of the rows, without a copy where possible, or those at some indices."""
    if isinstance(rows, LazyRows):
        return rows.take(chosen)
    if isinstance(chosen, slice):
        return rows[chosen]
    return rows.index_select(0, move(chosen, rows.device))


def _is_mapped(value: Any) -> bool:
    return isinstance(value, np.memmap) and value.ndim > 0


def _is_ready(array: Any) -> bool:
    is_float = array.dtype.kind == "f"
    return (
        bool(array.dtype == np.dtype(settings.floatx())) if is_float else array.dtype.kind in "bi"
    )
