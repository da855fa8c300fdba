"""Batches of `torch.utils.data`: a DataLoader as it is, a Dataset with fit's options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from torchseq.base import arguments
from torchseq.data.order import shuffled
from torchseq.data.streams import IterableSource, StreamSource, length


class LoaderSource(IterableSource):
    """Batches of a DataLoader, iterated as it was configured, once per pass."""

    noun = "DataLoader"

    def __init__(self, loader: DataLoader[Any], **options: Any):
        super().__init__(loader, **options)
        sampler = getattr(loader, "sampler", None)
        if loader.batch_size is not None and not isinstance(loader.dataset, IterableDataset):
            self.num_samples = length(sampler)


class SampleStreamSource(IterableSource):
    """Samples of a torch `IterableDataset`, put together to batches.

    Args:
        dataset: yields samples.
        batch_size: samples per batch, 32 by default.
        options: those of `StreamSource`.
    """

    noun = "IterableDataset"

    def __init__(self, dataset: IterableDataset[Any], batch_size: int | None, **options: Any):
        size = 32 if batch_size is None else batch_size
        arguments.positive_integer(options["owner"], "batch_size", size)
        # Its own generator, so that the global one goes on as with any other data.
        loader = DataLoader(dataset, batch_size=size, generator=torch.Generator())
        super().__init__(loader, **options)


class DatasetSource(StreamSource):
    """Samples of a torch `Dataset`, shuffled and put together to batches.

    Args:
        dataset: gives samples by their index.
        batch_size: samples per batch; by default what makes `steps` batches, or 32.
        steps: batches that are wanted of the data.
        shuffle: True, False, or `"batch"`, which keeps batches together and shuffles these.
        options: those of `StreamSource`.

    Raises:
        ValueError: if there are no samples, or an option is out of range.
    """

    noun = "Dataset"
    num_samples: int
    num_batches: int

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool | str = False,
        **options: Any,
    ):
        super().__init__(**options)
        self.dataset = dataset
        self.num_samples = len(dataset)
        if self.num_samples == 0:
            raise ValueError(f"{self.owner}: the Dataset must have at least one sample; it has 0.")
        if batch_size is None:
            batch_size = math.ceil(self.num_samples / steps) if steps else 32
        self.batch_size = arguments.positive_integer(self.owner, "batch_size", batch_size)
        self.num_batches = math.ceil(self.num_samples / self.batch_size)
        self.shuffle = arguments.one_of(self.owner, "shuffle", shuffle, (True, False, "batch"))
        self.has_order = shuffle is not False

    def peek(self) -> Any:
        """Return a batch of the first sample."""
        return next(iter(self.load([[0]])))

    def items(self, seed: int | None) -> Iterator[Any]:
        """Yield the batches of one pass; the order is that of an array of the same length."""
        return iter(self.load(self.index_batches(seed)))

    def index_batches(self, seed: int | None) -> list[list[int]]:
        """Return the indices of the samples in each batch of one pass."""
        order = torch.arange(self.num_samples)
        if seed is not None and self.has_order:
            order = shuffled(self.num_samples, self.batch_size, self.shuffle, seed)
        return [part.tolist() for part in order.split(self.batch_size)]

    def load(self, batches: list[list[int]]) -> DataLoader[Any]:
        """Return what yields the batches of these samples."""
        # Its own generator, so that the global one goes on as with any other data.
        return DataLoader(self.dataset, batch_sampler=batches, generator=torch.Generator())
