"""Epochs cut from passes over a source."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Any

from torchseq.base.random_state import get_random_state, set_random_state
from torchseq.data.adapters import steps_name
from torchseq.data.source import Batch, Source


class Epochs:
    """Yields the batches of one epoch after another.

    Args:
        source: what to pass over.
        steps: batches per epoch; a whole pass by default. If fewer than a pass has, the next epoch
            goes on where one ended; if more, the epoch ends early with a warning.
        seed: with it each pass is shuffled in an order of its own, if the source shuffles.

    Source: keras.src.trainers.epoch_iterator, for the meaning of `steps`.
    """

    def __init__(self, source: Source, steps: int | None = None, seed: int | None = None):
        self.source = source
        self.steps = steps
        self.seed = seed
        self.is_recorded = False  # whether `state` will be asked for
        self._pass: Iterator[Batch] | None = None
        self._pass_random: dict[str, Any] = {}  # the generators when the current pass began
        self._num_passes = 0
        self._num_seen = 0  # batches of the current pass
        self._num_done = 0  # batches of the next epoch that are done already

    @property
    def num_batches(self) -> int | None:
        """Batches per epoch, as asked for; None if unknown."""
        return self.steps or self.source.num_batches

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch."""
        num_done, self._num_done = self._num_done, 0
        if not num_done:
            self.source.on_epoch_begin()
        if self.steps is None:
            current = self._pass if num_done and self._pass is not None else self._next_pass()
            for batch in current:
                self._num_seen += 1
                yield batch
            self._pass = None
        else:
            yield from self._some(self.steps, num_done)
        self.source.on_epoch_end()

    def _some(self, steps: int, num_done: int) -> Iterator[Batch]:
        current = self._next_pass() if self._pass is None else self._pass
        num_before = self._num_seen - num_done
        for batch in islice(current, steps - num_done):
            self._num_seen += 1
            yield batch
        count = self._num_seen - num_before
        if count < steps:
            self._warn_of_end(steps, count)
        total = self.source.num_batches
        if count < steps or (total is not None and self._num_seen >= total):
            self.close()

    def _warn_of_end(self, steps: int, count: int) -> None:
        owner = self.source.owner
        warnings.warn(
            f"{owner}: `{steps_name(owner)}` is {steps}, and the data has only {count} batches "
            "left: it ran out of data, and the epoch ends early.",
            stacklevel=2,
        )

    def _next_pass(self) -> Iterator[Batch]:
        if self.is_recorded:  # the source may draw from the generators
            self._pass_random = get_random_state()
        seed = None if self.seed is None else self.seed + self._num_passes
        self._num_passes += 1
        self._num_seen = 0
        self._pass = self.source.batches(seed)
        return self._pass

    def close(self) -> None:
        """Give up the current pass, with the workers that fetch its batches."""
        current: Any = self._pass
        self._pass = None
        if isinstance(current, Generator):
            current.close()

    # --- Going on in another process -----------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return where the epochs are, for `seek`; also while a batch is being used."""
        return {
            "seed": self.seed,
            "num_passes": self._num_passes,
            "num_seen": None if self._pass is None else self._num_seen,
            "random": self._pass_random,
        }

    def seek(self, state: dict[str, Any], num_done: int) -> None:
        """Go to where other epochs of the same data were.

        A pass is begun again from the same random state, and its batches are passed over, so that
        data that can only be iterated goes on as well. The random generators are moved by this.

        Args:
            state: what `state` returned there.
            num_done: batches of the epoch that were used.
        """
        self.close()
        self.seed = state["seed"]
        self._num_passes = state["num_passes"]
        self._num_done = num_done
        if num_done:
            self.source.on_epoch_begin()
        if state["num_seen"] is None:
            self.source.skip_passes(self._num_passes)
            return
        self._num_passes -= 1
        self.source.skip_passes(self._num_passes)
        set_random_state(state["random"])
        for _ in islice(self._next_pass(), state["num_seen"]):
            self._num_seen += 1
        self.source.forget_batches()

    def end_epoch(self) -> None:
        """Let the epoch that was sought have no more batches."""
        self._pass = iter(())
        self._num_done = self.steps or 1
