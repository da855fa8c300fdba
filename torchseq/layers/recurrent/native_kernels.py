"""GRU and LSTM of compiled steps: both passes over time in C++, compiled when first recorded.

What differs from `gru_kernel` and torch's kernels is that a step's products and gates are one loop,
in the folder `native`. In a recorded graph each pass is one operation that the compiler does not
look into.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import islands, native

# What the forward pass keeps for the backward pass, of the size of the outputs each.
_NUM_KEPT = {"gru": 4, "lstm": 5}
_NUM_GATES = {"gru": 3, "lstm": 4}

_PRODUCTS_OF_A_THREAD = 2**21  # some 30 µs; with fewer to wake a thread takes longer


def serves(kernel: str, inputs: Tensor, weights: Sequence[Tensor]) -> bool:
    """Tell whether a step is being recorded in which a kernel may stand, and it can be had."""
    return (
        islands.is_recording()
        and kernel in _NUM_KEPT
        and inputs.device.type == "cpu"
        and weights[0].dtype == torch.float32
        and inputs.numel() > 0
        and _is_worth(kernel, (*inputs.shape, weights[1].shape[1]), torch.get_num_threads())
        and _library(kernel) is not None
    )


def _is_worth(kernel: str, size: tuple[int, ...], threads: int) -> bool:
    """Tell whether a kernel is faster than the others, as measured for decision 008.

    Weights must be packed first, and each thread sums up gradients as large as they. Where they
    are large that pays if it has rows enough; over torch's LSTM, which is oneDNN's, it never does.

    Args:
        kernel: `"gru"` or `"lstm"`.
        size: batch, time, features, units.
        threads: that torch may use.
    """
    batch, time, features, units = size
    weights = units * (features + units)  # of a gate
    if kernel == "lstm":
        return weights <= (2**15 if batch > 1 else 2**14)
    rows = batch / threads
    is_long = rows * time >= (40 if threads == 1 else features + units)
    return weights <= 2**17 or (rows >= 4 and is_long)


def run(
    kernel: str, inputs: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor]
) -> list[Tensor]:
    """Run a kernel over `inputs`.

    Args:
        kernel: `"gru"` or `"lstm"`.
        inputs: (batch, time, features).
        states: hidden state, then for the LSTM the cell state; each (batch, units).
        weights: input and recurrent weights and, if there are biases, two of them; torch's layout.

    Returns:
        The outputs, (batch, time, units), and the last states.
    """
    given = [inputs, *states, *weights]
    keeps = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    outputs, last = _Kernel.apply(kernel, keeps, len(states), *given)  # type: ignore[no-untyped-call]
    return [outputs, outputs[:, -1], last][: 1 + len(states)]


class _Kernel(torch.autograd.Function):
    """Puts one operation for each pass into the graph."""

    @staticmethod
    def forward(
        ctx: Any, kernel: str, keeps: bool, num_states: int, inputs: Tensor, *others: Tensor
    ) -> tuple[Tensor, Tensor]:
        states, weights = list(others[:num_states]), list(others[num_states:])
        outputs, last, kept = torch.ops.torchseq.recurrent(kernel, inputs, states, weights, keeps)
        # Not by save_for_backward: that returns new tensors, which a recording does not know.
        ctx.kept = kept, outputs, inputs, states, weights
        ctx.kernel = kernel
        return outputs.clone(), last  # the caller may write to the outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise NotImplementedError(f"{ctx.kernel}: gradients of gradients are not compiled.")
        wanted = ctx.needs_input_grad[3:]
        found = torch.ops.torchseq.recurrent_backward(ctx.kernel, list(grads), *ctx.kept, wanted[0])
        ctx.kept = None
        pairs = zip(found, wanted, strict=True)
        return None, None, None, *(grad if each else None for grad, each in pairs)


# --- The operations ------------------------------------------------------------------------------

torch.library.define(
    "torchseq::recurrent",
    "(str kernel, Tensor inputs, Tensor[] states, Tensor[] weights, bool keeps)"
    " -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    "torchseq::recurrent_backward",
    "(str kernel, Tensor[] grads, Tensor kept, Tensor outputs, Tensor inputs, Tensor[] states,"
    " Tensor[] weights, bool wants_inputs) -> Tensor[]",
)


@torch.library.impl("torchseq::recurrent", "CPU")
def _forward(
    kernel: str, inputs: Tensor, states: list[Tensor], weights: list[Tensor], keeps: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs, the LSTM's last cell state, and what the backward pass needs."""
    made = _made_forward(kernel, inputs, states, weights, keeps)
    outputs, last, kept = made
    held = [inputs, *_filled(states, 2), *_filled(weights, 4)]
    _call(kernel, "forward", inputs, states, [*held, outputs, last, kept if keeps else None])
    return made


def _made_forward(
    kernel: str, inputs: Tensor, states: list[Tensor], weights: list[Tensor], keeps: bool
) -> tuple[Tensor, Tensor, Tensor]:
    batch, time, _ = inputs.shape
    units = states[0].shape[1]
    outputs = inputs.new_empty(batch, time, units)
    last = inputs.new_empty(batch if len(states) == 2 else 0, units)
    return outputs, last, inputs.new_empty(batch, time if keeps else 0, _NUM_KEPT[kernel], units)


@torch.library.impl("torchseq::recurrent_backward", "CPU")
def _backward(
    kernel: str,
    grads: list[Tensor],
    kept: Tensor,
    outputs: Tensor,
    inputs: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    wants_inputs: bool,
) -> list[Tensor]:
    """Return the gradients with respect to inputs, states and weights."""
    made = _made_backward(kernel, grads, kept, outputs, inputs, states, weights, wants_inputs)
    of_states, of_weights = made[1 : 1 + len(states)], made[1 + len(states) :]
    held = [*_filled(grads[: len(states)], 2), kept, outputs, inputs, *_filled(states, 2)]
    found = [*_filled(of_states, 2), *_filled(of_weights, 4)]
    of_inputs = made[0] if wants_inputs else None
    _call(kernel, "backward", inputs, states, [*held, *weights[:2], of_inputs, *found])
    return made


def _made_backward(
    kernel: str,
    grads: list[Tensor],
    kept: Tensor,
    outputs: Tensor,
    inputs: Tensor,
    states: list[Tensor],
    weights: list[Tensor],
    wants_inputs: bool,
) -> list[Tensor]:
    of_inputs = inputs.new_empty(inputs.shape if wants_inputs else 0)
    others = [given.new_empty(given.shape) for given in (*states, *weights)]
    return [of_inputs, *others]


torch.library.register_fake("torchseq::recurrent")(_made_forward)
torch.library.register_fake("torchseq::recurrent_backward")(_made_backward)

# --- The C++ -------------------------------------------------------------------------------------


@functools.cache
def _library(kernel: str) -> Any:
    """Return the kernel's two functions; None if they cannot be compiled."""
    folder = importlib.resources.files(__package__).joinpath("native")
    names = ("vectors.h", "passes.h", f"{kernel}.cpp")
    found = native.library("".join(folder.joinpath(name).read_text("utf-8") for name in names))
    if found is not None:
        sizes = [ctypes.c_int64] * 5
        found.torchseq_forward.argtypes = [*sizes, *[ctypes.c_void_p] * 10]
        found.torchseq_backward.argtypes = [*sizes, *[ctypes.c_void_p] * 16]
    return found


def _call(
    kernel: str, name: str, inputs: Tensor, states: list[Tensor], tensors: list[Tensor | None]
) -> None:
    """Call one of the functions; a tensor that is None is a null pointer."""
    held = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    places = [None if tensor is None else tensor.data_ptr() for tensor in held]
    batch, time, features, units = *inputs.shape, states[0].shape[1]
    products = batch * time * _NUM_GATES[kernel] * units * (features + units)
    threads = min(torch.get_num_threads(), -(-batch // 4), products // _PRODUCTS_OF_A_THREAD)
    function = getattr(_library(kernel), f"torchseq_{name}")
    function(batch, time, features, units, max(1, threads), *places)


def _filled(tensors: list[Tensor], count: int) -> list[Tensor | None]:
    """Return the tensors, and None for those that a kernel does not have."""
    return [*tensors, *[None] * (count - len(tensors))]
