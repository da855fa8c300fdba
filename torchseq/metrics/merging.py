"""Making one state of those that several metrics, or the processes of a job, have added up.

`merge` adds what other metric objects saw. `all_reduce_states` and `merged_states` do the same
over the processes of `torch.distributed`: every process must call them, with metrics of the same
kinds in the same order. A metric whose state is made by its first batch may not have any on a
process that saw none, so the processes first tell each other the shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
import torch.distributed as distributed
from torch import Tensor

from torchseq.base import process

States: TypeAlias = list[tuple[Tensor, str]]
Shapes: TypeAlias = list[tuple[int, ...]]

AGGREGATIONS = ("sum", "mean", "only_first_replica")


@torch.no_grad()
def merge(metric: Any, others: Sequence[Any]) -> None:
    """Add the states of other metrics of the same kind to a metric's.

    Raises:
        ValueError: if one is of another class, or its state has other shapes.
    """
    owner = type(metric).__name__
    for other in others:
        if type(other) is not type(metric):
            raise ValueError(
                f"{owner}: `merge_state` takes metrics of the same class; got a "
                f"{type(other).__name__}."
            )
        _fit(metric, _shapes(other))
    all_states = [[tensor for tensor, _ in other.states()] for other in others]
    for index, (tensor, aggregation) in enumerate(metric.states()):
        # One that has seen no batch may be without its last states: these count as zeros.
        given = [states[index] for states in all_states if index < len(states)]
        if aggregation == "only_first_replica":
            continue
        for value in given:
            tensor.add_(value.to(tensor.device))
        if aggregation == "mean":
            tensor.div_(len(others) + 1)


def all_reduce_states(metrics: Iterable[Any], group: Any = None) -> None:
    """Replace the states of metrics by those of all processes together, in place.

    Does nothing where `torch.distributed` is not initialized, or has one process.

    Args:
        metrics: those of this process; what has no `states()` is left alone.
        group: of processes; all by default.
    """
    if _is_alone(group):
        return
    known = _of_agreed_shapes(metrics, group)
    _reduce([state for metric in known for state in metric.states()], group)


@contextmanager
def merged_states(metrics: Iterable[Any], group: Any = None) -> Iterator[None]:
    """Give metrics the states of all processes for a while, to read results; then their own.

    Args:
        metrics, group: see `all_reduce_states`.
    """
    if _is_alone(group):
        yield
        return
    known = _of_agreed_shapes(metrics, group)
    states = [state for metric in known for state in metric.states()]
    own = [tensor.clone() for tensor, _ in states]
    _reduce(states, group)
    try:
        yield
    finally:
        for (tensor, _), before in zip(states, own, strict=True):
            tensor.copy_(before)


def _is_alone(group: Any) -> bool:
    return not process.are_several() or distributed.get_world_size(group) == 1


def _of_agreed_shapes(metrics: Iterable[Any], group: Any) -> list[Any]:
    known = [metric for metric in metrics if hasattr(metric, "states")]
    of_processes: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(of_processes, [_shapes(metric) for metric in known], group)
    for shapes_of_metrics in of_processes:
        for metric, shapes in zip(known, shapes_of_metrics, strict=True):
            _fit(metric, shapes)
    return known


def _shapes(metric: Any) -> Shapes:
    return [tuple(tensor.shape) for tensor, _ in metric.states()]


def _fit(metric: Any, shapes: Shapes) -> None:
    """Make the state that another of its kind has, or check that they are the same."""
    if len(shapes) > len(metric.states()):
        metric.build_state(shapes)
    own = _shapes(metric)
    if shapes != own[: len(shapes)]:
        raise ValueError(
            f"{type(metric).__name__}: states can be merged if their shapes are the same; got "
            f"{own} and {shapes}. Make both metrics with the same arguments, and give them "
            "batches with the same number of outputs."
        )


@torch.no_grad()
def _reduce(states: States, group: Any) -> None:
    """Sum the tensors over the processes, in one transfer for each dtype."""
    kinds = dict.fromkeys((tensor.dtype, tensor.device) for tensor, _ in states)
    for kind in kinds:
        of_kind = [state for state in states if (state[0].dtype, state[0].device) == kind]
        parts = [_own_part(*state, group).reshape(-1) for state in of_kind]
        together = torch.cat(parts)
        distributed.all_reduce(together, group=group)
        sizes = [part.numel() for part in parts]
        for (tensor, _), total in zip(of_kind, together.split(sizes), strict=True):
            tensor.copy_(total.reshape(tensor.shape))


def _own_part(tensor: Tensor, aggregation: str, group: Any) -> Tensor:
    if aggregation == "mean":
        return tensor / distributed.get_world_size(group)
    if aggregation == "only_first_replica" and distributed.get_rank(group) > 0:
        return torch.zeros_like(tensor)
    return tensor
