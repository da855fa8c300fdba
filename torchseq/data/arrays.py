"""Arrays in memory as batches: converted once, kept on the device, shuffled there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, settings
from torchseq.data.conversion import to_tensor

Batch: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]
"""Inputs, targets and sample weights of one step."""

_CHUNK_BYTES = 8 << 20  # rows are gathered for many batches at a time, into what a cache holds


class ArraySource:
    """Inputs, targets and weights of the same number of samples.

    Args:
        x: inputs.
        y: targets, or None.
        sample_weight: a weight per sample (or per sample and step), or None.
        batch_size: samples per step; the last batch may be smaller. By default what makes `steps`
            batches, or 32.
        steps: batches that are wanted of the data.
        shuffle: True, False, or `"batch"`, which keeps batches together and shuffles these.
        class_weight: class index -> weight, instead of `sample_weight`.
        device: where batches are wanted.
        owner: the method that errors name.

    Raises:
        ValueError: if there are no samples, lengths differ, or an option is out of range.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool | str = False,
        class_weight: Mapping[int, float] | None = None,
        device: torch.device | str = "cpu",
        owner: str = "fit",
    ):
        arguments.one_of(owner, "shuffle", shuffle, (True, False, "batch"))
        self.owner = owner
        self.shuffle = shuffle
        self.device = torch.device(device)
        self.x = to_tensor(owner, "x", x)
        self.y = None if y is None else to_tensor(owner, "y", y)
        self.weight: Tensor | None = None
        if sample_weight is not None:
            self.weight = to_tensor(owner, "sample_weight", sample_weight)
        self._check_lengths()
        if batch_size is None:
            batch_size = math.ceil(len(self.x) / steps) if steps else 32
        self.batch_size = arguments.positive_integer(owner, "batch_size", batch_size)
        if class_weight is not None:
            self.weight = _class_weights(owner, self.y, self.weight, class_weight)
        if self.weight is not None:
            self.weight = self.weight.to(dtypes.torch_dtype(settings.floatx()))
        self._move()

    def _check_lengths(self) -> None:
        tensors = {"x": self.x, "y": self.y, "sample_weight": self.weight}
        lengths = {name: len(t) for name, t in tensors.items() if t is not None}
        if len(set(lengths.values())) > 1:
            raise _unequal_lengths(self.owner, lengths)
        if len(self.x) == 0:
            raise ValueError(
                f"{self.owner}: the data must have at least one sample; got x of shape "
                f"{tuple(self.x.shape)}."
            )

    def _move(self) -> None:
        """Put all data on the device if it takes less than half of what is free there."""
        if self.device.type != "cuda" or self.x.device == self.device:
            return
        size = sum(t.nbytes for t in (self.x, self.y, self.weight) if t is not None)
        if size < torch.cuda.mem_get_info(self.device)[0] // 2:
            self.x = self.x.to(self.device)
            self.y = None if self.y is None else self.y.to(self.device)
            self.weight = None if self.weight is None else self.weight.to(self.device)

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return len(self.x)

    @property
    def num_batches(self) -> int:
        """Number of batches in a pass over the data."""
        return math.ceil(len(self.x) / self.batch_size)

    def batches(self, seed: int | None = None) -> Iterator[Batch]:
        """Yield the batches of one pass, in an order that is a function of `seed` alone."""
        tensors = [t for t in (self.x, self.y, self.weight) if t is not None]
        order = None if seed is None or self.shuffle is False else self._order(seed)
        present = (True, self.y is not None, self.weight is not None)
        rows = self._rows_per_chunk()
        for start in range(0, len(self.x), rows):
            stop = min(start + rows, len(self.x))
            chunks = [self._chunk(tensor, order, start, stop) for tensor in tensors]
            for parts in zip(*(chunk.split(self.batch_size) for chunk in chunks), strict=True):
                if len(parts) == 3:
                    yield parts
                else:
                    given = iter(parts)
                    yield tuple(next(given) if there else None for there in present)  # type: ignore[misc]

    def _chunk(self, tensor: Tensor, order: Tensor | None, start: int, stop: int) -> Tensor:
        if order is None:
            chunk = tensor[start:stop]
        else:
            chunk = tensor.index_select(0, order[start:stop].to(tensor.device))
        return chunk if chunk.device == self.device else chunk.to(self.device, non_blocking=True)

    def _rows_per_chunk(self) -> int:
        row_bytes = max(self.x.nbytes // len(self.x), 1)
        batches = max(_CHUNK_BYTES // (row_bytes * self.batch_size), 1)
        return batches * self.batch_size

    def _order(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if self.shuffle != "batch":
            return torch.randperm(len(self.x), generator=generator)
        batches = torch.arange(len(self.x)).split(self.batch_size)
        whole = [batch for batch in batches if len(batch) == self.batch_size]
        order = torch.randperm(len(whole), generator=generator)
        shuffled = [whole[index] for index in order]
        return torch.cat([*shuffled, *batches[len(whole) :]])


def split(
    fraction: float, x: Any, y: Any, sample_weight: Any
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the first part of each array and its last `fraction`, for validation.

    Raises:
        ValueError: if the fraction is outside (0, 1) or leaves one part without samples, or
            lengths differ.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fit: `validation_split` must be in (0, 1); got {fraction!r}.")
    given = {"x": x, "y": y, "sample_weight": sample_weight}
    tensors = {
        name: to_tensor("fit", name, value) if value is not None or name == "x" else None
        for name, value in given.items()
    }
    lengths = {name: len(tensor) for name, tensor in tensors.items() if tensor is not None}
    if len(set(lengths.values())) > 1:
        raise _unequal_lengths("fit", lengths)
    count = next(iter(lengths.values()), 0)
    at = math.floor(count * (1.0 - fraction))
    if at in (0, count):
        raise ValueError(
            f"fit: `validation_split` must leave samples in both parts; got {fraction} of {count} "
            "samples. Use more data or another fraction."
        )
    head = tuple(None if tensor is None else tensor[:at] for tensor in tensors.values())
    tail = tuple(None if tensor is None else tensor[at:] for tensor in tensors.values())
    return head, tail


def _unequal_lengths(owner: str, lengths: Mapping[str, int]) -> ValueError:
    return ValueError(
        f"{owner}: x, y and sample_weight must have the same number of samples; got "
        + ", ".join(f"{name}: {length}" for name, length in lengths.items())
        + "."
    )


def _class_weights(
    owner: str, y: Tensor | None, weight: Tensor | None, class_weight: Any
) -> Tensor:
    """Return each sample's class weight; classes that are not named weigh 1."""
    if weight is not None:
        raise ValueError(f"{owner}: `class_weight` and `sample_weight` cannot both be given.")
    if y is None:
        raise ValueError(f"{owner}: `class_weight` needs targets; got y=None.")
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f"{owner}: `class_weight` must be a dict of class index -> weight; got "
            f"{class_weight!r}."
        )
    if any(not arguments.is_integer(key) or key < 0 for key in class_weight):
        raise ValueError(
            f"{owner}: the keys of `class_weight` must be class indices, integers of at least 0; "
            f"got {sorted(class_weight, key=str)}."
        )
    if any(not isinstance(value, int | float | np.number) for value in class_weight.values()):
        raise ValueError(
            f"{owner}: the values of `class_weight` must be numbers; got {dict(class_weight)}."
        )
    other = max([-1, *class_weight]) + 1  # where classes that are not named find their 1
    table = torch.ones(int(other) + 1, dtype=dtypes.torch_dtype(settings.floatx()), device=y.device)
    for key, value in class_weight.items():
        table[int(key)] = float(value)
    labels = _class_numbers(y)
    return table[torch.where((labels < 0) | (labels > other), other, labels)]


def _class_numbers(y: Tensor) -> Tensor:
    """Return the classes of one-hot rows or of numbers that stand alone or in a last axis of 1."""
    if y.ndim > 1 and y.shape[-1] != 1:
        return y.to(torch.float64).argmax(-1)
    labels = y.squeeze(-1) if y.ndim > 1 else y
    return labels.round().long() if labels.is_floating_point() else labels.long()
