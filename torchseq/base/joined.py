"""A batch that several processes share: which part is ours, and sums over all parts.

Each process computes the mean loss of its own rows. The mean over the whole batch is the mean of
these, weighted by rows. A loss that divides by something else, such as the number of entries that a
mask leaves, asks `total` for that of the whole batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed


class Part(NamedTuple):
    """The rows of a batch that one process has.

    Args:
        sizes: rows of each process.
        rank: which of these is ours.
    """

    sizes: tuple[int, ...]
    rank: int

    @property
    def size(self) -> int:
        """Our rows; 0 if the one that we compute with stands in for none."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """Rows of the whole batch."""
        return sum(self.sizes)

    @property
    def share(self) -> float:
        """The factor of our loss, such that the mean over the processes is the batch's loss."""
        return self.size * len(self.sizes) / self.total


_current: list[Part] = []


class batch:
    """Says inside the `with` block whose loss is being computed.

    Args:
        part: ours.
    """

    def __init__(self, part: Part):
        self._part = part

    def __enter__(self) -> None:
        _current.append(self._part)

    def __exit__(self, *error: Any) -> None:
        _current.pop()


def total(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all parts; the tensor itself if the batch is not shared.

    No gradient flows through it. All processes must ask.
    """
    if not _current:
        return values
    with torch.no_grad():
        own = values.detach() * float(_current[-1].size > 0)
        distributed.all_reduce(own)
    return own


def counts(number: int, kept: Tensor) -> tuple[Any, Tensor]:
    """Return a number of entries, and how many of them are kept, over all parts."""
    if not _current:
        return number, kept
    both = total(torch.stack([torch.full_like(kept, number), kept]))
    return both[0], both[1]


def stretched(own: Tensor) -> Tensor:
    """Return a sum over our rows, such that weighting it as a mean gives the batch's sum."""
    if not _current or not _current[-1].size:
        return own
    return own * (_current[-1].total / _current[-1].size)


def is_stand_in() -> bool:
    """Tell whether the row at hand stands in for none."""
    return bool(_current) and not _current[-1].size
