"""The same samples in every form in which data may come."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchseq.utils import PyDataset

Array = np.ndarray[Any, Any]
Parts = tuple[Array, ...]
BATCH_SIZE = 8


def batches(parts: Parts) -> Iterator[Parts]:
    for start in range(0, len(parts[0]), BATCH_SIZE):
        yield tuple(part[start : start + BATCH_SIZE] for part in parts)


class Samples(Dataset):
    """A map-style dataset."""

    def __init__(self, parts: Parts):
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Any:
        sample = tuple(part[index] for part in self.parts)
        return sample if len(sample) > 1 else sample[0]


class SampleStream(IterableDataset):
    """A dataset that can only be iterated."""

    def __init__(self, parts: Parts):
        self.parts = parts

    def __iter__(self) -> Iterator[Any]:
        for sample in zip(*self.parts, strict=True):
            yield tuple(sample) if len(sample) > 1 else sample[0]


class BatchStream(SampleStream):
    """A dataset that can only be iterated, and yields whole batches."""

    def __iter__(self) -> Iterator[Any]:
        return batches(self.parts)


class Batches(PyDataset):
    """A PyDataset."""

    def __init__(self, parts: Parts, **options: Any):
        super().__init__(**options)
        self.parts = parts

    def __len__(self) -> int:
        return -(-len(self.parts[0]) // BATCH_SIZE)

    def __getitem__(self, index: int) -> Parts:
        rows = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
        return tuple(part[rows] for part in self.parts)


class Endless(Batches):
    """A PyDataset without end."""

    @property
    def num_batches(self) -> None:
        return None

    def __getitem__(self, index: int) -> Parts:
        return super().__getitem__(index % len(self))


class TensorLike:
    """Has `numpy()`, as tensors of other libraries, and nothing else."""

    def __init__(self, array: Array):
        self._array = array

    def numpy(self) -> Array:
        return self._array


class Stream:
    """Can be iterated again and again, as tf.data's and Hugging Face's datasets."""

    def __init__(self, parts: Parts, wrap: Callable[[Array], Any] = lambda part: part):
        self.parts = parts
        self.wrap = wrap

    def __iter__(self) -> Iterator[Any]:
        for batch in batches(self.parts):
            yield tuple(self.wrap(part) for part in batch)


def loader(parts: Parts, **options: Any) -> DataLoader:
    return own_stream(Samples(parts), batch_size=BATCH_SIZE, **options)


def own_stream(dataset: Any, **options: Any) -> DataLoader:
    """A DataLoader that draws its seeds elsewhere, so that dropout is that of other data."""
    return DataLoader(dataset, generator=torch.Generator(), **options)


# Name -> what gives batches, or samples, by itself.
STREAMS: dict[str, Callable[[Parts], Any]] = {
    "TensorDataset": lambda parts: TensorDataset(*map(torch.tensor, parts)),
    "Dataset": Samples,
    "IterableDataset": SampleStream,
    "DataLoader": loader,
    "DataLoader of a stream": lambda parts: own_stream(SampleStream(parts), batch_size=BATCH_SIZE),
    "DataLoader of batches": lambda parts: own_stream(BatchStream(parts), batch_size=None),
    "DataLoader, 2 workers": lambda parts: loader(parts, num_workers=2),
    "PyDataset": Batches,
    "PyDataset, 3 threads": lambda parts: Batches(parts, workers=3, max_queue_size=2),
    "PyDataset, 2 processes": lambda parts: Batches(parts, workers=2, use_multiprocessing=True),
    "generator": batches,
    "iterator": lambda parts: iter(list(batches(parts))),
    "iterable": Stream,
    "iterable of tensors": lambda parts: Stream(parts, torch.tensor),
    "iterable of lists": lambda parts: Stream(parts, lambda part: part.tolist()),
    "iterable of others' tensors": lambda parts: Stream(parts, TensorLike),
}

# Name -> what an array may be instead.
ARRAYS: dict[str, Callable[[Array], Any]] = {
    "float64": lambda part: part.astype("float64") if part.dtype.kind == "f" else part,
    "read-only": lambda part: np.frombuffer(part.tobytes(), part.dtype).reshape(part.shape),
    "Fortran order": np.asfortranarray,
    "tensor": torch.tensor,
    "list": lambda part: part.tolist(),
    "list of one": lambda part: [part],
    "tuple": lambda part: tuple(part.tolist()),
}
