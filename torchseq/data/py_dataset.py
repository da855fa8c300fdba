"""`PyDataset`: batches by their index, fetched by workers, told where epochs begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch

from torchseq.base import arguments, seeds
from torchseq.data.streams import StreamSource, length
from torchseq.data.workers import fetch


class PyDataset:
    """Base class of data that gives a whole batch by its index.

    Write `__getitem__(index)`, which returns `(x,)`, `(x, y)` or `(x, y, sample_weight)`, and
    `__len__`, the number of batches. In the place of `__len__`, a property `num_batches` may be
    None: then there is no end, and `fit` needs `steps_per_epoch`.

    Args:
        workers: threads or processes that fetch batches ahead; 0 and, for threads, 1 fetch each
            batch when it is needed.
        use_multiprocessing: processes instead of threads. Each has a copy of this object, made
            anew for each pass.
        max_queue_size: batches that are fetched ahead at most.

    Raises:
        ValueError: if a number is out of range.

    Examples:
        >>> import numpy as np
        >>> class Squares(PyDataset):
        ...     def __len__(self):
        ...         return 2
        ...     def __getitem__(self, index):
        ...         x = np.arange(3) + 3 * index
        ...         return x, x**2
        >>> [y.tolist() for x, y in Squares()]
        [[0, 1, 4], [9, 16, 25]]

    Source: keras.utils.PyDataset. Random numbers in worker processes differ from batch to batch;
    Keras's workers may all draw the same.
    """

    # On the class too, since users' datasets often do not call `super().__init__()`.
    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ):
        if not arguments.is_integer(workers) or workers < 0:
            raise ValueError(
                f"PyDataset: `workers` must be an integer of at least 0; got workers={workers!r}."
            )
        self.workers = int(workers)
        self.use_multiprocessing = bool(use_multiprocessing)
        self.max_queue_size = arguments.positive_integer(
            "PyDataset", "max_queue_size", max_queue_size
        )

    def __getitem__(self, index: int) -> Any:
        """Return the batch at `index`."""
        raise NotImplementedError(
            f"{type(self).__name__}: a PyDataset must have `__getitem__(index)`, which returns a "
            "batch."
        )

    def __iter__(self) -> Iterator[Any]:
        total = self.num_batches
        for index in count() if total is None else range(total):
            yield self[index]

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if there is no end."""
        if not hasattr(self, "__len__"):
            raise NotImplementedError(
                f"{type(self).__name__}: a PyDataset must have `__len__`, or a property "
                "`num_batches`, which may be None."
            )
        return len(self)

    def on_epoch_begin(self) -> None:
        """Hear that an epoch begins."""

    def on_epoch_end(self) -> None:
        """Hear that an epoch ended; the place to shuffle. `fit` calls it before the first too."""


class PyDatasetSource(StreamSource):
    """Batches of a PyDataset of ours or of Keras's.

    Args:
        dataset: the PyDataset.
        shuffle: whether batches come in another order in each pass.
        options: those of `StreamSource`.
    """

    noun = "PyDataset"

    def __init__(self, dataset: Any, shuffle: bool | str = False, **options: Any):
        super().__init__(**options)
        self.dataset = dataset
        self.num_batches = _num_batches(dataset)
        self.is_endless = self.num_batches is None
        self.has_order = shuffle is not False and not self.is_endless
        self._is_peeked = False
        if self.num_batches == 0:
            raise self.emptiness()

    def peek(self) -> Any:
        """Return the first batch."""
        self.dataset_hook("on_epoch_begin")  # as in Keras, where a batch is of an epoch
        self._is_peeked = True
        return self.dataset[0]

    def items(self, seed: int | None) -> Iterator[Any]:
        """Yield the batches of one pass."""
        self.num_batches = _num_batches(self.dataset)  # which on_epoch_end may have changed
        indices = self._indices(seed)
        workers = getattr(self.dataset, "workers", 1)
        use_processes = getattr(self.dataset, "use_multiprocessing", False)
        if workers > 1 or (workers > 0 and use_processes):
            queue_size = max(getattr(self.dataset, "max_queue_size", 10), 1)
            worker_seed = seeds.make_seed() if seed is None and use_processes else seed or 0
            return fetch(self.dataset, indices, workers, use_processes, queue_size, worker_seed)
        return (self.dataset[index] for index in indices)

    def _indices(self, seed: int | None) -> Any:
        if self.num_batches is None:
            return count()
        if seed is None or not self.has_order:
            return range(self.num_batches)
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(self.num_batches, generator=generator).tolist()

    def restart(self) -> None:
        """Tell the dataset that an epoch ended, as Keras does before the first."""
        self.on_epoch_end()

    def on_epoch_begin(self) -> None:
        """Tell the dataset that an epoch begins."""
        if self._is_peeked:
            self.on_epoch_end()
        self.dataset_hook("on_epoch_begin")

    def on_epoch_end(self) -> None:
        """Tell the dataset that an epoch ended."""
        self._is_peeked = False
        self.dataset_hook("on_epoch_end")

    def dataset_hook(self, name: str) -> None:
        """Call a hook of the dataset, if it has it."""
        hook = getattr(self.dataset, name, None)
        if hook is not None:
            hook()


def _num_batches(dataset: Any) -> int | None:
    if hasattr(type(dataset), "num_batches"):
        return dataset.num_batches  # type: ignore[no-any-return]
    return length(dataset)
