"""Parts of a step that stay as they are when the whole step becomes one compiled graph.

torch's recurrent kernels and some others lose by compilation: taken apart into the operations of
each time step they make graphs of thousands of nodes. As an island such a part is one operation of
the graph, which calls the function as eager execution would, and keeps what its backward pass
needs.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchseq.base.modes import setting


class _Here(threading.local):
    """What holds in a thread: others may train while a step is recorded in this one."""

    islands: list[Any] | None = None  # of the step that is being recorded


_here = _Here()


def is_tracing() -> bool:
    """Tell whether a step is being recorded: nothing may then depend on the values of tensors."""
    return _here.islands is not None or torch.compiler.is_compiling()


def is_recording() -> bool:
    """Tell whether a whole step is being recorded, by `tracing`."""
    return _here.islands is not None


@contextmanager
def tracing() -> Iterator[list[Any]]:
    """Record what runs inside, for a graph of the whole step.

    Yields:
        A list for the step's islands, which the graph needs as long as it lives.
    """
    islands: list[Any] = []
    with setting(_here, "islands", islands):
        yield islands


def island(function: Callable[..., Sequence[Tensor]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """Call a function; while a step is being recorded, as one operation.

    Args:
        function: takes the tensors and returns several; all else it needs is fixed.
        *tensors: what gradients may flow to.

    Returns:
        What the function returned.
    """
    if _here.islands is None:
        return tuple(function(*tensors))
    site = next(_numbers)
    _sites[site] = made = _Site(function)
    _here.islands.append(made)
    outputs: tuple[Tensor, ...] = _Island.apply(site, *tensors)  # type: ignore[no-untyped-call]
    return outputs


@dataclass
class _Layout:
    """What a graph must know of a tensor that it has not got yet."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> _Layout:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)

    def empty(self) -> Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=self.device)


@dataclass(eq=False)
class _Site:
    """One call of a function in a step."""

    function: Callable[..., Sequence[Tensor]]
    outputs: list[_Layout] = field(default_factory=list)
    grads: list[_Layout] = field(default_factory=list)
    wanted: list[bool] = field(default_factory=list)
    kept: Any = None  # inputs and outputs of the last forward pass


_numbers = itertools.count()
_sites: weakref.WeakValueDictionary[int, _Site] = weakref.WeakValueDictionary()


class _Island(torch.autograd.Function):
    """Puts one operation for each direction into the graph."""

    @staticmethod
    def forward(ctx: Any, site: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.site = site
        _sites[site].wanted = list(ctx.needs_input_grad[1:])
        outputs = tuple(torch.ops.torchseq.island(site, list(tensors)))
        # Not by save_for_backward: that returns new tensors, which a recording does not know.
        ctx.kept = list(tensors), list(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wanted = _sites[ctx.site].wanted
        tensors, outputs = ctx.kept
        ctx.kept = None
        found = iter(torch.ops.torchseq.island_backward(ctx.site, list(grads), tensors, outputs))
        return None, *(next(found) if each else None for each in wanted)


@torch.library.custom_op(
    "torchseq::island", mutates_args=(), schema="(int site, Tensor[] tensors) -> Tensor[]"
)
def _forward(site: int, tensors: list[Tensor]) -> list[Tensor]:
    record = _sites[site]
    wanted = record.wanted or [False] * len(tensors)
    leaves = [_leaf(t, w, any(wanted)) for t, w in zip(tensors, wanted, strict=True)]
    with _as_outside(), torch.enable_grad() if any(wanted) else torch.no_grad():
        outputs = list(record.function(*leaves))
    record.kept = (leaves, outputs) if any(wanted) else None
    record.outputs = record.outputs or [_Layout.of(output) for output in outputs]
    return _apart(outputs, tensors)


def _leaf(tensor: Tensor, is_wanted: bool, is_kept: bool) -> Tensor:
    """Return an input to differentiate by.

    Others are copied if backward needs them: of a constant the compiler makes one for each use, and
    takes the memory back after that use.
    """
    if is_wanted:
        return tensor.detach().requires_grad_()
    return tensor.detach().clone() if is_kept else tensor.detach()


def _apart(outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Return outputs that share no memory with an input or with each other."""
    places = {tensor.untyped_storage().data_ptr() for tensor in inputs}
    found = []
    for output in outputs:
        place = output.untyped_storage().data_ptr()
        # Not detach(), which shares the count of writes: torch counts some here that are none.
        found.append(output.detach().clone() if place in places else output.data)
        places.add(place)
    return found


@torch.library.custom_op(
    "torchseq::island_backward",
    mutates_args=(),
    schema="(int site, Tensor[] grads, Tensor[] tensors, Tensor[] outputs) -> Tensor[]",
)
def _backward(
    site: int, grads: list[Tensor], tensors: list[Tensor], outputs: list[Tensor]
) -> list[Tensor]:
    """Return the gradients.

    That it is given what the forward pass had and returned keeps the compiler from overwriting it.
    """
    record = _sites[site]
    leaves, kept = record.kept
    record.kept = None
    pairs = [(o, g) for o, g in zip(kept, grads, strict=True) if o.requires_grad]
    with _as_outside():
        found = torch.autograd.grad(
            [output for output, _ in pairs],
            [leaf for leaf in leaves if leaf.requires_grad],
            [grad for _, grad in pairs],
            allow_unused=True,
            materialize_grads=True,
        )
    record.grads = record.grads or [_Layout.of(grad) for grad in found]
    layouts = zip(found, record.grads, strict=True)
    return [_with_layout(grad, layout) for grad, layout in layouts]


# Inside an operation torch has switched autograd off, as something that is done already.
_INCLUDED = torch._C._dispatch_tls_local_include_set()
_EXCLUDED = torch._C._dispatch_tls_local_exclude_set()


def _as_outside() -> Any:
    return torch._C._ForceDispatchKeyGuard(_INCLUDED, _EXCLUDED)


def _with_layout(tensor: Tensor, layout: _Layout) -> Tensor:
    if tensor.stride() == layout.stride:
        return tensor
    return layout.empty().copy_(tensor)


@_forward.register_fake
def _(site: int, tensors: list[Tensor]) -> list[Tensor]:
    return [layout.empty() for layout in _sites[site].outputs]


@_backward.register_fake
def _(site: int, grads: list[Tensor], tensors: list[Tensor], outputs: list[Tensor]) -> list[Tensor]:
    return [layout.empty() for layout in _sites[site].grads]
