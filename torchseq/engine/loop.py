"""Epochs, batches and callbacks; knows no dtype, no device and no graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from torchseq.data.source import Batch
from torchseq.engine import interrupts


def run_batches(
    phase: str,
    batches: Iterable[Batch],
    step: Callable[..., Any],
    callbacks: Any,
    logs: Callable[[], Any],
    should_stop: Callable[[], bool],
    first: int = 0,
    stride: int = 1,
) -> None:
    """Run a step on each batch, with the batch hooks around it that any callback has.

    Args:
        phase: `"train"` or `"test"`, in the hooks' names.
        batches: of one epoch.
        step: called with the entries of a batch.
        callbacks: a CallbackList.
        logs: makes the logs of a batch's end.
        should_stop: asked after each batch.
        first: index of the first batch.
        stride: batches that one of these stands for; hooks are told the index of the last.
    """
    begin = _hook(callbacks, f"on_{phase}_batch_begin")
    end = _hook(callbacks, f"on_{phase}_batch_end")
    if begin is None and end is None:  # nobody is there who could ask to stop
        for batch in batches:
            step(*batch)
            if interrupts.pending[0]:
                interrupts.check()
        return
    for batch in batches:
        if begin is not None:
            begin(first, {})
        step(*batch)
        interrupts.check()
        if end is not None:
            end(first + stride - 1, logs())
        first += stride
        if should_stop():
            return


def run_groups(
    phase: str,
    batches: Iterable[Batch],
    step: Callable[[list[Batch]], Any],
    callbacks: Any,
    logs: Callable[[], Any],
    should_stop: Callable[[], bool],
    first: int,
    size: int,
) -> None:
    """Run a step on groups of batches, with the batch hooks around each.

    Args:
        phase: as of `run_batches`.
        batches: of one epoch.
        step: called with a list of batches.
        callbacks: a CallbackList.
        logs: makes the logs of a group's end.
        should_stop: asked after each group.
        first: index of the first batch.
        size: batches in a group; the last one may have fewer.

    Source: keras.src.trainers.epoch_iterator, whose indices are those of full groups.
    """
    begin = _hook(callbacks, f"on_{phase}_batch_begin")
    end = _hook(callbacks, f"on_{phase}_batch_end")
    remaining = iter(batches)
    while group := list(islice(remaining, size)):
        if begin is not None:
            begin(first, {})
        step(group)
        interrupts.check()
        if end is not None:
            end(first + size - 1, logs())
        first += size
        if should_stop():
            return


def _hook(callbacks: Any, name: str) -> Callable[..., Any] | None:
    return getattr(callbacks, name) if callbacks.wants(name) else None
