"""Batches that come one after another: from iterables, generators and what builds on them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from torchseq.base import dtypes, settings
from torchseq.data.arrays import check_lengths
from torchseq.data.batches import each, unpack
from torchseq.data.class_weights import ClassWeights
from torchseq.data.conversion import move, to_tensor
from torchseq.data.source import Batch, Source


class StreamSource(Source):
    """Makes tensors of what a stream yields: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

    Args:
        class_weight: class index -> weight, for batches that hold no sample weights.
        device: where batches are wanted.
        owner: the method that errors name.
        inputs_only: leave targets and weights aside, as `predict` does.
    """

    noun = "iterable"

    def __init__(
        self,
        class_weight: Mapping[int, float] | None = None,
        device: torch.device | str = "cpu",
        owner: str = "fit",
        inputs_only: bool = False,
    ):
        self.owner = owner
        self.device = torch.device(device)
        self.inputs_only = inputs_only
        self._class_weights = None if class_weight is None else ClassWeights(owner, class_weight)
        self._check: Callable[[Tensor | None], None] | None = None

    @abstractmethod
    def items(self, seed: int | None) -> Iterator[Any]:
        """Yield what the stream yields in one pass."""

    @abstractmethod
    def peek(self) -> Any:
        """Return an item; no pass loses it."""

    def example(self) -> Batch:
        """Return a batch on the host to learn shapes from."""
        return self._host_batch(self.peek())

    def examine(self, check: Callable[[Tensor | None], None]) -> None:
        """Check the targets of each batch that comes on the host."""
        self._check = check

    def batches(self, seed: int | None = None) -> Iterator[Batch]:
        """Yield the batches of one pass.

        Raises:
            ValueError: if there are none, or one has not the form that it must have.
        """
        is_empty = True
        for item in self.items(seed):
            is_empty = False
            yield self.batch_of(item)
        if is_empty:
            raise self.emptiness()

    def emptiness(self) -> ValueError:
        """Return the error for a stream that holds nothing."""
        return ValueError(
            f"{self.owner}: the {self.noun} must yield at least one batch; it is empty."
        )

    def batch_of(self, item: Any) -> Batch:
        """Return an item of the stream as a batch on the device."""
        return self._on_device(self._host_batch(item))

    def _host_batch(self, item: Any) -> Batch:
        x, y, weight = unpack(item, f"{self.owner}: a batch of the {self.noun}")
        inputs = to_tensor(self.owner, "x", x)
        if self.inputs_only:
            return inputs, None, None
        targets = None if y is None else to_tensor(self.owner, "y", y)
        weights = None if weight is None else to_tensor(self.owner, "sample_weight", weight)
        check_lengths(self.owner, x=inputs, y=targets, sample_weight=weights)
        if self._class_weights is not None:
            weights = self._class_weights.of(targets, weights)
        if weights is not None:
            weights = weights.to(dtypes.torch_dtype(settings.floatx()))
        return inputs, targets, weights

    def _on_device(self, batch: Batch) -> Batch:
        y = batch[1]
        if self._check is not None and (y is None or y.device.type == "cpu"):
            self._check(y)  # what is on a GPU already is not worth waiting for
        return each(partial(move, device=self.device), batch)


class IterableSource(StreamSource):
    """Batches of an object that can be iterated again and again.

    Args:
        iterable: what `iter` is called on for each pass.
        options: those of `StreamSource`.
    """

    def __init__(self, iterable: Iterable[Any], **options: Any):
        super().__init__(**options)
        self.iterable = iterable
        self.num_batches = length(iterable)
        self._begun: Iterator[Any] | None = None

    def peek(self) -> Any:
        """Return the first item of the next pass."""
        iterator = iter(self.iterable)
        for item in iterator:
            self._begun = chain([item], iterator)  # a second look might shuffle anew
            return item
        raise self.emptiness()

    def skip_passes(self, count: int) -> None:
        """Let go of the pass that was begun to look at, if it was made before."""
        if count:
            self._begun = None

    def items(self, seed: int | None) -> Iterator[Any]:
        """Yield what the iterable yields."""
        begun, self._begun = self._begun, None
        return iter(self.iterable) if begun is None else begun


class GeneratorSource(StreamSource):
    """Batches of a generator or another iterator, which can be iterated once.

    As in Keras, two batches are looked at before training, and each pass begins with these: an
    epoch that needs a new pass shows them again, and then what the generator has left.

    Args:
        generator: an iterator.
        options: those of `StreamSource`.

    Raises:
        ValueError: if it yields nothing.
    """

    noun = "generator"

    def __init__(self, generator: Iterator[Any], **options: Any):
        super().__init__(**options)
        self._generator = generator
        self._first = list(islice(generator, 2))
        self._is_exhausted = False
        if not self._first:
            raise self.emptiness()

    def peek(self) -> Any:
        """Return the first item."""
        return self._first[0]

    def skip_passes(self, count: int) -> None:
        """Pass over what an earlier pass had."""
        if count:
            for _ in self._generator:
                pass
            self._is_exhausted = True

    def items(self, seed: int | None) -> Iterator[Any]:
        """Yield the first two items, and what the generator has left."""
        if self._is_exhausted:
            warnings.warn(
                f"{self.owner}: the generator ran out of data; the pass that begins has only the "
                f"{len(self._first)} batches that were looked at first, as in Keras. Let it yield "
                "enough batches for all epochs, or pass an object that can be iterated anew.",
                stacklevel=2,
            )
        yield from self._first
        # `yield from` would close the generator with a pass that is given up.
        for item in self._generator:  # noqa: UP028
            yield item
        self._is_exhausted = True


def length(iterable: Any) -> int | None:
    """Return `len(iterable)`, or None if it has none that it knows."""
    try:
        return len(iterable)
    except (TypeError, NotImplementedError):
        return None
