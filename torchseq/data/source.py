"""What the training loop asks of data, wherever the data comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

Batch: TypeAlias = tuple[Tensor, Tensor | None, Tensor | None]
"""Inputs, targets and sample weights of one step."""


class Source(ABC):
    """Passes over data, cut into batches on the device.

    Attributes:
        owner: the method that errors name, such as `"fit"`.
        device: where batches are wanted.
        num_batches: batches of a pass; None if that shows only at its end.
        num_samples: samples of a pass; None if unknown. What `predict` makes room for, no promise.
        is_endless: whether a pass never ends by itself.
        has_order: whether the order of a pass is ours to choose, and to be shuffled.
    """

    owner: str
    device: torch.device
    num_batches: int | None = None
    num_samples: int | None = None
    is_endless: bool = False
    has_order: bool = False

    @abstractmethod
    def batches(self, seed: int | None = None) -> Iterator[Batch]:
        """Yield the batches of one pass, shuffled by `seed` alone if the source shuffles."""

    @abstractmethod
    def example(self) -> Batch:
        """Return a batch to learn shapes from, not always on the device; no pass loses it."""

    @abstractmethod
    def examine(self, check: Callable[[Tensor | None], None]) -> None:
        """Have targets checked before steps see them: now, or as they come."""

    def skip_passes(self, count: int) -> None:  # noqa: B027
        """Hear that a fit goes on after so many passes, which another process made."""

    def forget_batches(self) -> None:  # noqa: B027
        """Hear that the batches that a pass yielded so far were not used."""

    # Keras tells a PyDataset where epochs begin and end. Other sources need not know.

    def restart(self) -> None:  # noqa: B027
        """Hear that `fit` or `evaluate` is about to begin."""

    def on_epoch_begin(self) -> None:  # noqa: B027
        """Hear that an epoch begins."""

    def on_epoch_end(self) -> None:  # noqa: B027
        """Hear that an epoch ended."""
