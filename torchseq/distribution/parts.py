"""Each process's part of the batches, wherever the data comes from.

All processes cut the same batches and take their own rows, so that together they see what one
process would see. Where data has no such rows to choose from (a DataLoader with a sampler of its
own, or `auto_shard_dataset=False`), each process's batches are parts of a larger one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any

from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from torchseq.base import process
from torchseq.base.joined import Part
from torchseq.base.random_state import get_random_state, set_random_state
from torchseq.data.arrays import ArraySource
from torchseq.data.batches import each
from torchseq.data.conversion import move
from torchseq.data.loaders import DatasetSource, LoaderSource
from torchseq.data.order import shuffled
from torchseq.data.rows import take
from torchseq.data.source import Batch, Source


def split(source: Source, shards: bool = True) -> PartSource:
    """Return the source of this process's parts.

    Args:
        source: of whole batches; with the same data in all processes.
        shards: False if each process has data of its own.
    """
    loader: Any = getattr(source, "iterable", None)
    if not shards or (isinstance(source, LoaderSource) and not _is_plain(loader)):
        return OwnSource(source)
    if isinstance(source, ArraySource):
        return PartSource(source, _of_arrays)
    if isinstance(source, DatasetSource):
        return PartSource(source, _of_dataset)
    if isinstance(source, LoaderSource):
        return _LoaderParts(source)
    return PartSource(source, _of_batches)


def sizes_of(num_rows: int) -> tuple[int, ...]:
    """Return how many of so many rows each process has; the first ones have one more.

    Examples:
        >>> sizes_of(5)
        (5,)
    """
    base, rest = divmod(num_rows, process.count())
    return tuple(base + (index < rest) for index in range(process.count()))


def rows_of(sizes: tuple[int, ...]) -> slice:
    """Return which rows of a batch are ours; for none, the last one, which stands in."""
    index = process.index()
    start = min(sum(sizes[:index]), sum(sizes) - 1)
    return slice(start, start + max(sizes[index], 1))


def share_random_state() -> None:
    """Let all processes draw the numbers that the first one draws, as data may come from them."""
    state = process.from_first(_host_state)
    if not process.is_first():
        set_random_state(state)


def _host_state() -> dict[str, Any]:
    state = get_random_state()
    return {name: state[name] for name in ("python", "numpy", "torch")}


class PartSource(Source):
    """This process's part of a source's batches.

    Each batch that it yields has an entry in `parts`, which the step takes.

    Args:
        source: of whole batches.
        cut: function of the source, a seed and a function to call with the sizes of a batch's parts
            before our part is yielded.
    """

    def __init__(self, source: Source, cut: Callable[..., Iterator[Batch]]):
        self.source: Any = source
        self.parts: deque[Part] = deque()
        self._cut = cut

    def batches(self, seed: int | None = None) -> Iterator[Batch]:
        """Yield our parts of the batches of one pass."""
        return self._cut(self.source, seed, self._note)

    def _note(self, sizes: tuple[int, ...]) -> None:
        self.parts.append(Part(sizes, process.index()))

    # What else a source has is that of the whole.

    @property
    def owner(self) -> str:  # type: ignore[override]
        """The method that errors name."""
        return str(self.source.owner)

    @property
    def device(self) -> Any:
        """Where batches are wanted."""
        return self.source.device

    @device.setter
    def device(self, device: Any) -> None:
        self.source.device = device

    @property
    def num_batches(self) -> int | None:  # type: ignore[override]
        """Batches of a pass."""
        return self.source.num_batches  # type: ignore[no-any-return]

    @property
    def num_samples(self) -> int | None:  # type: ignore[override]
        """Samples of a pass, of all processes."""
        return self.source.num_samples  # type: ignore[no-any-return]

    @property
    def is_endless(self) -> bool:  # type: ignore[override]
        """Whether a pass never ends."""
        return self.source.is_endless  # type: ignore[no-any-return]

    @property
    def has_order(self) -> bool:  # type: ignore[override]
        """Whether the order is ours to choose."""
        return self.source.has_order  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        if name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def example(self) -> Batch:
        """Return a whole batch."""
        return self.source.example()  # type: ignore[no-any-return]

    def examine(self, check: Callable[[Tensor | None], None]) -> None:
        """Have targets checked."""
        self.source.examine(check)

    def skip_passes(self, count: int) -> None:
        self.source.skip_passes(count)

    def forget_batches(self) -> None:
        self.parts.clear()

    def restart(self) -> None:
        self.parts.clear()
        share_random_state()
        self.source.restart()

    def on_epoch_begin(self) -> None:
        share_random_state()
        self.source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.source.on_epoch_end()


def _of_arrays(source: ArraySource, seed: int | None, note: Callable[..., None]) -> Iterator[Batch]:
    num_samples, batch_size = source.num_samples, source.batch_size
    order = None
    if seed is not None and source.has_order:
        order = shuffled(num_samples, batch_size, source.shuffle, seed)
    for start in range(0, num_samples, batch_size):
        sizes = sizes_of(min(batch_size, num_samples - start))
        rows = rows_of(sizes)
        place = slice(start + rows.start, start + rows.stop)
        chosen = place if order is None else order[place]
        own = each(partial(take, chosen=chosen), (source.x, source.y, source.weight))
        note(sizes)
        yield each(partial(move, device=source.device), own)


def _of_dataset(
    source: DatasetSource, seed: int | None, note: Callable[..., None]
) -> Iterator[Batch]:
    batches = source.index_batches(seed)
    all_sizes = [sizes_of(len(batch)) for batch in batches]
    own = [batch[rows_of(sizes)] for batch, sizes in zip(batches, all_sizes, strict=True)]
    for sizes, item in zip(all_sizes, source.load(own), strict=True):
        note(sizes)
        yield source.batch_of(item)


def _of_batches(source: Source, seed: int | None, note: Callable[..., None]) -> Iterator[Batch]:
    for batch in source.batches(seed):
        sizes = sizes_of(len(batch[0]))
        note(sizes)
        yield each(itemgetter(rows_of(sizes)), batch)


# --- DataLoaders --------------------------------------------------------------------------------


def _is_plain(loader: DataLoader[Any]) -> bool:
    """Tell whether all samples are taken, in order or shuffled, by torch's own samplers."""
    samplers = (SequentialSampler, RandomSampler)
    return type(loader.batch_sampler) is BatchSampler and type(loader.sampler) in samplers


_LOADER_OPTIONS = (
    "num_workers",
    "collate_fn",
    "pin_memory",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
)


class _LoaderParts(PartSource):
    """A DataLoader's batches, of which each process loads its own samples alone."""

    def __init__(self, source: LoaderSource):
        super().__init__(source, self._load)
        loader: Any = source.iterable
        self._sampler = _PartSampler(loader.batch_sampler)
        given = {name: getattr(loader, name) for name in _LOADER_OPTIONS}
        self._loader: Any = DataLoader(loader.dataset, batch_sampler=self._sampler, **given)
        self._begun: Iterator[Any] | None = None
        self._first: Any = None

    def example(self) -> Batch:
        """Return our part of the first batch of the next pass."""
        if self._begun is None:
            iterator = iter(self._loader)  # which draws the order; a second look might draw anew
            self._first = next(iterator, None)
            if self._first is None:
                raise self.source.emptiness()
            self._begun = chain([self._first], iterator)
        return self.source.batch_of(self._first)  # type: ignore[no-any-return]

    def skip_passes(self, count: int) -> None:
        if count:
            self._begun = None

    def _load(self, source: Any, seed: int | None, note: Callable[..., None]) -> Iterator[Batch]:
        begun, self._begun = self._begun, None
        if begun is None:
            self._sampler.sizes.clear()
        for item in self._loader if begun is None else begun:
            note(self._sampler.sizes.popleft())
            yield source.batch_of(item)


class _PartSampler:
    """Our part of each batch of indices that a sampler draws in the first process."""

    def __init__(self, sampler: Any):
        self._sampler = sampler
        self.sizes: deque[tuple[int, ...]] = deque()

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in process.from_first(lambda: list(self._sampler)):
            sizes = sizes_of(len(batch))
            self.sizes.append(sizes)
            yield batch[rows_of(sizes)]


class OwnSource(PartSource):
    """Batches of data that each process has for itself, as parts of a larger batch.

    A pass ends when no process has batches left; until then, a row of its last batch stands in for
    one that has none.
    """

    def __init__(self, source: Source):
        super().__init__(source, _side_by_side)
        self._num_batches = _largest(source.num_batches)

    @property
    def num_batches(self) -> int | None:  # type: ignore[override]
        """Batches of the longest pass."""
        return self._num_batches

    @property
    def num_samples(self) -> int | None:  # type: ignore[override]
        """Unknown."""
        return None


def _largest(number: int | None) -> int | None:
    numbers = process.numbers_of_all(-1 if number is None else number)
    return None if min(numbers) < 0 else max(numbers)


def _side_by_side(source: Source, seed: int | None, note: Callable[..., None]) -> Iterator[Batch]:
    own = source.batches(seed)
    latest: Batch | None = None
    while True:
        batch = next(own, None)
        sizes = process.numbers_of_all(0 if batch is None else len(batch[0]))
        if not any(sizes):
            return
        latest = batch or latest
        if latest is None:
            latest = source.example()
        note(sizes)
        if batch is not None:
            yield batch
        else:
            yield each(itemgetter(slice(1)), latest)
