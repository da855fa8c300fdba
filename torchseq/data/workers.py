"""Fetches the batches of a PyDataset ahead of their use, in threads or processes."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from typing import Any

import torch

from torchseq.base import seeds

_held: dict[str, Any] = {}  # what a worker process fetches from


def fetch(
    dataset: Any,
    indices: Iterable[int],
    workers: int,
    use_processes: bool,
    queue_size: int,
    seed: int,
) -> Iterator[Any]:
    """Yield `dataset[index]` for each index, in their order; what a worker raises is raised here.

    Args:
        dataset: gives a batch by its index; each process gets a copy.
        indices: maybe without end.
        workers: how many threads or processes.
        use_processes: processes instead of threads.
        queue_size: batches that are fetched ahead at most.
        seed: what the random numbers of a process are a function of, together with the index.
    """
    executor, task = _executor(dataset, workers, use_processes, seed)
    waiting = iter(indices)
    pending: deque[Future[Any]] = deque()
    try:
        pending.extend(executor.submit(task, index) for index in islice(waiting, queue_size))
        while pending:
            item = pending.popleft().result()
            pending.extend(executor.submit(task, index) for index in islice(waiting, 1))
            yield item
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _executor(
    dataset: Any, workers: int, use_processes: bool, seed: int
) -> tuple[Executor, Callable[[int], Any]]:
    if use_processes:
        return ProcessPoolExecutor(workers, initializer=_hold, initargs=(dataset, seed)), _get
    return ThreadPoolExecutor(workers, "PyDataset"), dataset.__getitem__


def _hold(dataset: Any, seed: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training process's to answer
    torch.set_num_threads(1)  # threads of a parent do not survive a fork
    _held.update(dataset=dataset, seed=seed)


def _get(index: int) -> Any:
    # Forked processes have equal generators: without this they would all draw the same.
    seeds.set_random_seed((_held["seed"] + index) % 2**32)
    return _held["dataset"][index]
