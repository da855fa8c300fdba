"""Arrays in memory as batches: converted once, kept on the device, shuffled there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, settings
from torchseq.data.batches import each
from torchseq.data.class_weights import ClassWeights
from torchseq.data.conversion import move, to_tensor
from torchseq.data.order import shuffled
from torchseq.data.rows import Rows, take, to_rows
from torchseq.data.source import Batch, Source

_ROWS_OF_A_BLOCK = 32
_CHUNK_BYTES = 8 << 20  # rows are gathered for many batches at a time, into what a cache holds


class ArraySource(Source):
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

    num_batches: int
    num_samples: int
    _num_joined = 1  # batches that are yielded as one

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
        self.has_order = shuffle is not False
        self.device = torch.device(device)
        self.x = to_rows(owner, "x", x)
        self.y = None if y is None else to_rows(owner, "y", y)
        self.weight: Tensor | None = None
        if sample_weight is not None:
            self.weight = to_tensor(owner, "sample_weight", sample_weight)
        self._check_lengths()
        self.num_samples = len(self.x)
        if batch_size is None:
            batch_size = math.ceil(self.num_samples / steps) if steps else 32
        self.batch_size = arguments.positive_integer(owner, "batch_size", batch_size)
        self.num_batches = math.ceil(self.num_samples / self.batch_size)
        if class_weight is not None:
            weights = ClassWeights(owner, class_weight)
            parts = [None] if self.y is None else _parts(self.y)
            self.weight = torch.cat([weights.of(part, self.weight) for part in parts])
        if self.weight is not None:
            self.weight = self.weight.to(dtypes.torch_dtype(settings.floatx()))
        self._move()

    def _check_lengths(self) -> None:
        check_lengths(self.owner, x=self.x, y=self.y, sample_weight=self.weight)
        if len(self.x) == 0:
            raise ValueError(
                f"{self.owner}: the data must have at least one sample; got x of shape "
                f"{tuple(self.x.shape)}."
            )

    def _move(self) -> None:
        """Put all data on the device if it takes less than its share of what is free there."""
        if self.device.type != "cuda" or self.x.device == self.device:
            return
        given = [rows for rows in (self.x, self.y, self.weight) if rows is not None]
        size = sum(rows.nbytes for rows in given)
        free = torch.cuda.mem_get_info(self.device)[0]
        if size >= free * settings.device_data_share():
            return
        if isinstance(self.x, Tensor):
            self.x = self.x.to(self.device)
        if isinstance(self.y, Tensor):
            self.y = self.y.to(self.device)
        if self.weight is not None:
            self.weight = self.weight.to(self.device)

    def join_batches(self, most: int) -> int:
        """Yield as one so many batches as have at most `most` samples; return how many.

        Only batches of a size that matrix kernels cut into whole blocks of rows, and not the uneven
        one at the end: so each row goes through the same instructions as in a batch of its own.
        """
        is_even = self.batch_size % _ROWS_OF_A_BLOCK == 0
        self._num_joined = max(most // self.batch_size, 1) if is_even else 1
        return self._num_joined

    def example(self) -> Batch:
        """Return the first batch in the data's order, where the data is."""
        rows = slice(0, self.batch_size)
        return each(partial(take, chosen=rows), (self.x, self.y, self.weight))

    def examine(self, check: Callable[[Tensor | None], None]) -> None:
        """Check all targets now."""
        for part in [None] if self.y is None else _parts(self.y):
            check(part)

    def batches(self, seed: int | None = None) -> Iterator[Batch]:
        """Yield the batches of one pass, in an order that is a function of `seed` alone."""
        order = None
        if seed is not None and self.has_order:
            order = shuffled(self.num_samples, self.batch_size, self.shuffle, seed)
        rows = self._rows_per_chunk()
        for start in range(0, self.num_samples, rows):
            stop = min(start + rows, self.num_samples)
            chosen = slice(start, stop) if order is None else order[start:stop]
            x, y, weight = (self._split(part, chosen) for part in (self.x, self.y, self.weight))
            yield from zip(x, y, weight, strict=False)  # those that are missing never end

    def _split(self, rows: Rows | None, chosen: slice | Tensor) -> Iterable[Any]:
        if rows is None:
            return repeat(None)
        moved = move(take(rows, chosen), self.device)
        size = self.batch_size
        if self._num_joined == 1:
            return moved.split(size)  # type: ignore[no-any-return]
        num_odd = len(moved) % size
        even = (
            moved[: len(moved) - num_odd].split(size * self._num_joined)
            if len(moved) >= size
            else ()
        )
        return (*even, moved[-num_odd:]) if num_odd else even

    def _rows_per_chunk(self) -> int:
        size = self.batch_size * self._num_joined
        return max(_rows_in_chunk(self.x) // size, 1) * size


def _rows_in_chunk(rows: Rows) -> int:
    return max(_CHUNK_BYTES // max(rows.nbytes // len(rows), 1), 1)


def _parts(rows: Rows) -> Iterable[Tensor]:
    """Return a tensor as it is; other rows chunk by chunk, since the whole may be too large."""
    if isinstance(rows, Tensor):
        return [rows]
    size = _rows_in_chunk(rows)
    return (take(rows, slice(start, start + size)) for start in range(0, len(rows), size))


def check_lengths(owner: str, **given: Rows | None) -> None:
    """Check that all that is given has the same number of samples.

    Raises:
        ValueError: if lengths differ.
    """
    lengths = {name: len(rows) for name, rows in given.items() if rows is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{owner}: x, y and sample_weight must have the same number of samples; got "
            + ", ".join(f"{name}: {length}" for name, length in lengths.items())
            + "."
        )


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
    rows = {
        name: to_rows("fit", name, value) if value is not None or name == "x" else None
        for name, value in given.items()
    }
    check_lengths("fit", **rows)
    count = len(rows["x"])  # type: ignore[arg-type]
    at = math.floor(count * (1.0 - fraction))
    if at in (0, count):
        raise ValueError(
            f"fit: `validation_split` must leave samples in both parts; got {fraction} of {count} "
            "samples. Use more data or another fraction."
        )
    head = tuple(None if part is None else part[:at] for part in rows.values())
    tail = tuple(None if part is None else part[at:] for part in rows.values())
    return head, tail
