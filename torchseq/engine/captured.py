"""A step captured as a CUDA graph: Python launches one thing, and the device runs all kernels."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Captured:
    """Replays a step on a copy of each batch, which lies always in the same memory.

    To be warmed up, then captured, then called.

    Args:
        run: takes a batch's tensors; all else that it reads and writes must lie on the device and
            stay where it is.
        batch: of the sizes and dtypes of all batches to come.
        device: a CUDA device.

    Raises:
        ValueError: for another device.
    """

    def __init__(
        self, run: Callable[[list[Tensor]], Sequence[Tensor]], batch: Sequence[Tensor], device: Any
    ):
        self._graph = CudaGraph(device)
        self._batch = [tensor.to(device, copy=True) for tensor in batch]
        self._run = run
        self._outputs: Sequence[Tensor] = ()

    def warm_up(self) -> None:
        """Take steps as they are taken when captured.

        Raises:
            Exception: what a step raises; also where it makes the host wait for the device.
        """
        self._graph.warm_up(self._step)
        self._outputs = ()  # which lie elsewhere than those to come

    def capture(self) -> None:
        """Note a step's kernels, without running them."""
        self._graph.capture(self._step)

    def _step(self) -> None:
        self._outputs = self._run(self._batch)

    def __call__(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Take a step.

        Args:
            tensors: as a compiled graph is given them, the batch's last; all others are where they
                were when the step was captured.

        Returns:
            Copies of what the step returned: its own memory the next call of any graph overwrites.
        """
        for kept, given in zip(self._batch, tensors[-len(self._batch) :], strict=True):
            kept.copy_(given, non_blocking=True)
        self._graph.replay()
        return [output.clone() for output in self._outputs]


class CudaGraph:
    """A CUDA graph on a device.

    Args:
        device: where all that it runs takes place.

    Raises:
        ValueError: if that is no CUDA device.
    """

    def __init__(self, device: torch.device):
        if device.type != "cuda":
            raise ValueError(f"a CUDA graph needs a model on a CUDA device; got one on {device}")
        self._place = _Place.on(device)
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, function: Callable[[], None]) -> None:
        """Call a function twice where it will be captured: libraries load, kernels get chosen."""
        stream = self._place.stream
        with torch.cuda.device(self._place.device):
            before = torch.cuda.current_stream()
            stream.wait_stream(before)
            try:
                with torch.cuda.stream(stream):
                    function()
                    # A capture that fails can leave torch's generators unusable: better here.
                    with _waits_forbidden():
                        function()
            finally:  # who puts back what a failed step wrote must come after its kernels
                before.wait_stream(stream)

    def capture(self, function: Callable[[], None]) -> None:
        """Note the kernels that a function launches."""
        with torch.cuda.device(self._place.device):
            before = torch.cuda.current_stream()
            try:
                with torch.cuda.graph(
                    self._graph,
                    pool=self._place.pool,
                    stream=self._place.stream,
                    capture_error_mode="thread_local",  # threads that fetch data may use the device
                ):
                    function()
            finally:
                torch.cuda.set_stream(before)  # torch leaves its own where a capture fails

    def replay(self) -> None:
        """Run the kernels, in the order of the stream that is current."""
        self._graph.replay()


class _Place:
    """What all living graphs of a device share: a stream to capture on, and memory.

    They run one after the other and none leaves anything in the memory. torch frees a pool with its
    last graph, so this ends with that as well, and the next graph makes another.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)  # memory freed on one stream serves that one alone
        self.pool = torch.cuda.graph_pool_handle()

    @classmethod
    def on(cls, device: torch.device) -> _Place:
        """Return that of a device."""
        place = _living.get(device)
        if place is None:
            place = _living[device] = cls(device)
        return place


_living: weakref.WeakValueDictionary[torch.device, _Place] = weakref.WeakValueDictionary()


@contextmanager
def _waits_forbidden() -> Iterator[None]:
    """Raise where the host waits for a device; in other threads as well, for this short time."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
