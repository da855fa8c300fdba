"""Arrays in memory as batches: converted once, kept on the device, shuffled there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torchseq.base import arguments, settings
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
        batch_size: samples per step; the last batch may be smaller.
        shuffle: True, False, or `"batch"`, which keeps batches together and shuffles these.
        class_weight: class index -> weight, instead of `sample_weight`.
        device: where batches are wanted.

    Raises:
        ValueError: if there are no samples, lengths differ, or an option is out of range.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = 32,
        shuffle: bool | str = False,
        class_weight: Mapping[int, float] | None = None,
        device: torch.device | str = "cpu",
    ):
        self.batch_size = arguments.positive_integer("fit", "batch_size", batch_size)
        arguments.one_of("fit", "shuffle", shuffle, (True, False, "batch"))
        self.shuffle = shuffle
        self.device = torch.device(device)
        self.x = to_tensor("x", x)
        self.y = None if y is None else to_tensor("y", y)
        self.weight = None if sample_weight is None else to_tensor("sample_weight", sample_weight)
        self._check_lengths()
        if class_weight is not None:
            self.weight = _class_weights(self.y, self.weight, class_weight)
        if self.weight is not None:
            self.weight = self.weight.to(torch.get_default_dtype())
        self._move()

    def _check_lengths(self) -> None:
        tensors = {"x": self.x, "y": self.y, "sample_weight": self.weight}
        lengths = {name: len(t) for name, t in tensors.items() if t is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                "fit: x, y and sample_weight must have the same number of samples; got "
                + ", ".join(f"{name}: {length}" for name, length in lengths.items())
                + "."
            )
        if len(self.x) == 0:
            raise ValueError(
                f"fit: the data must have at least one sample; got x of shape "
                f"{tuple(self.x.shape)}."
            )

    def _move(self) -> None:
        """Put all data on the device if it takes less than half of what is free there."""
        if self.device.type != "cuda" or self.x.device == self.device:
            return
        size = sum(t.nbytes for t in (self.x, self.y, self.weight) if t is not None)
        if size < torch.cuda.mem_get_info(self.device)[0] // 2:
            self.x, self.y, self.weight = (
                None if t is None else t.to(self.device) for t in (self.x, self.y, self.weight)
            )  # type: ignore[assignment]  # x is never None

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
    arrays: tuple[Any, ...], fraction: float
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the first part of each array and its last `fraction`, for validation.

    Raises:
        ValueError: if the fraction is outside (0, 1) or leaves one part without samples.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fit: `validation_split` must be in (0, 1); got {fraction!r}.")
    tensors = [None if a is None else to_tensor("x", a) for a in arrays]
    count = next(len(tensor) for tensor in tensors if tensor is not None)
    at = math.floor(count * (1.0 - fraction))
    if at in (0, count):
        raise ValueError(
            f"fit: `validation_split` must leave samples in both parts; got {fraction} of {count} "
            "samples. Use more data or another fraction."
        )
    head = tuple(None if tensor is None else tensor[:at] for tensor in tensors)
    tail = tuple(None if tensor is None else tensor[at:] for tensor in tensors)
    return head, tail


def _class_weights(
    y: Tensor | None, weight: Tensor | None, class_weight: Mapping[int, float]
) -> Tensor:
    """Return each sample's class weight; classes that are not named weigh 1."""
    if weight is not None:
        raise ValueError("fit: `class_weight` and `sample_weight` cannot both be given.")
    if y is None:
        raise ValueError("fit: `class_weight` needs targets; got y=None.")
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f"fit: `class_weight` must be a dict of class index -> weight; got {class_weight!r}."
        )
    labels = y.argmax(-1) if y.ndim > 1 and y.shape[-1] != 1 else y.reshape(len(y), -1)[:, 0]
    labels = labels.round().long() if labels.is_floating_point() else labels.long()
    size = max([int(labels.max()), *(int(key) for key in class_weight)]) + 1
    if any(not arguments.is_integer(key) or key < 0 for key in class_weight):
        raise ValueError(
            "fit: the keys of `class_weight` must be class indices, integers of at least 0; got "
            f"{sorted(class_weight, key=str)}."
        )
    table = torch.ones(size, dtype=torch.get_default_dtype(), device=y.device)
    for key, value in class_weight.items():
        table[int(key)] = float(value)
    return table[labels.clamp(min=0)]


def default_batch_size(num_samples: int, steps: int | None) -> int:
    """Return 32, or what makes `steps` batches, if that is given."""
    return math.ceil(num_samples / steps) if steps else 32


def device_for(default: torch.device | None) -> torch.device:
    """Return the device of a model, or that of new weights if it has none yet."""
    return default if default is not None else settings.device()
