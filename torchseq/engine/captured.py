"""A step captured as a CUDA graph: Python launches one thing, and the device runs all kernels."""

from __future__ import annotations

import functools
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
            What the step returned, in memory that the next call of any graph overwrites.
        """
        for kept, given in zip(self._batch, tensors[-len(self._batch) :], strict=True):
            kept.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._outputs


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
        self._device = device
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, function: Callable[[], None]) -> None:
        """Call a function twice where it will be captured: libraries load, kernels get chosen."""
        with torch.cuda.device(self._device):
            before = torch.cuda.current_stream()
            self._stream.wait_stream(before)
            with torch.cuda.stream(self._stream):
                function()
                # A capture that fails can leave torch's generators unusable: better to fail here.
                with _waits_forbidden():
                    function()
            before.wait_stream(self._stream)

    def capture(self, function: Callable[[], None]) -> None:
        """Note the kernels that a function launches."""
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(
                self._graph,
                pool=_pool(self._device),
                stream=self._stream,
                capture_error_mode="thread_local",  # threads that fetch data may use the device
            ),
        ):
            function()

    def replay(self) -> None:
        """Run the kernels, in the order of the stream that is current."""
        self._graph.replay()


@contextmanager
def _waits_forbidden() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@functools.cache
def _pool(device: torch.device) -> Any:
    """Return the memory that all graphs of a device share: none leaves anything there."""
    return torch.cuda.graph_pool_handle()
