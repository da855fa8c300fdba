"""Epochs cut from passes over a source."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice

from torchseq.data.arrays import ArraySource, Batch


class Epochs:
    """Yields the batches of one epoch after another.

    Args:
        source: what to pass over.
        steps: batches per epoch; a whole pass by default. If fewer than a pass has, the next epoch
            goes on where one ended; if more, the epoch ends early with a warning.
        seed: with it each pass is shuffled in an order of its own, if the source shuffles.

    Source: keras.src.trainers.epoch_iterator, for the meaning of `steps`.
    """

    def __init__(self, source: ArraySource, steps: int | None = None, seed: int | None = None):
        self.source = source
        self.steps = steps
        self.seed = seed
        self._pass: Iterator[Batch] | None = None
        self._num_passes = 0
        self._num_seen = 0  # batches of the current pass

    @property
    def num_batches(self) -> int:
        """Batches per epoch, as asked for."""
        return self.steps or self.source.num_batches

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch."""
        if self.steps is None:
            yield from self._next_pass()
            return
        if self._pass is None:
            self._pass, self._num_seen = self._next_pass(), 0
        num_left = self.source.num_batches - self._num_seen
        for batch in islice(self._pass, self.steps):
            self._num_seen += 1
            yield batch
        if self._num_seen >= self.source.num_batches:
            self._pass = None
        if num_left < self.steps:
            owner = self.source.owner
            warnings.warn(
                f"{owner}: `{'steps_per_epoch' if owner == 'fit' else 'steps'}` is {self.steps}, "
                f"and the data has only {num_left} batches left; the epoch ends early.",
                stacklevel=2,
            )

    def _next_pass(self) -> Iterator[Batch]:
        seed = None if self.seed is None else self.seed + self._num_passes
        self._num_passes += 1
        return self.source.batches(seed)
