"""The GRU over a whole sequence on the CPU, with its backward pass written by hand.

torch's own kernel records each step's operations for autograd and multiplies the weights' gradients
together step by step, which makes its backward pass the slowest of torch's recurrent kernels. Here
only what truly depends on the step before runs step by step; all else runs once over all steps.

With `r`, `z` the reset and update gate, `h` the state and `*` per entry:

    n = tanh(x @ W_n + b_n + r * (h @ U_n + c_n));    h' = n + z * (h - n)

The gradient of a loss with respect to the sums inside the gates is, at each step, that with respect
to `h'` times coefficients that are known beforehand.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def fits(inputs: Tensor, weights: Sequence[Tensor]) -> bool:
    """Tell whether the kernel serves: on the CPU, in full precision, outside of transformations."""
    return (
        inputs.device.type == "cpu"
        and weights[0].dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def gru(inputs: Tensor, state: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Run the GRU over `inputs`.

    Args:
        inputs: (batch, time, features).
        state: the first state, (batch, units).
        weights: input and recurrent weights and, if there are biases, two of them; torch's layout,
            in which gates come in the order r, z, n.

    Returns:
        The outputs, (batch, time, units), and the last state, (batch, units).
    """
    outputs = _Gru.apply(inputs, state, *weights)  # type: ignore[no-untyped-call]
    return outputs, outputs[:, -1]


class _Gru(torch.autograd.Function):
    """The two passes; sequences are time-major inside, so that each step is one piece of memory."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        w_input, w_state, *biases = weights
        b_input, b_state = biases or [w_state.new_zeros(len(w_state))] * 2
        batch, time, features = inputs.shape
        units = state.shape[1]
        flat = inputs.transpose(0, 1).reshape(time * batch, features)
        w_gates, w_new = w_input[: 2 * units], w_input[2 * units :]
        b_gates = b_input[: 2 * units] + b_state[: 2 * units]
        gates = torch.addmm(b_gates, flat, w_gates.t()).view(time, batch, 2 * units)
        new = torch.addmm(b_input[2 * units :], flat, w_new.t()).view(time, batch, units)
        hidden = torch.empty_like(new)
        states = new.new_empty(time + 1, batch, units)
        states[0] = state
        _forward_steps()(
            gates, new, hidden, states, w_state[: 2 * units], w_state[2 * units :],
            b_state[2 * units :],
        )  # fmt: skip
        ctx.save_for_backward(flat, gates, new, hidden, states, inputs, state, *weights)
        return states[1:].transpose(0, 1).contiguous()  # a copy: the caller may write to it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, gates, new, hidden, states, inputs, state, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants to differentiate the gradients again
            return _differentiable_backward(ctx, grad, inputs, state, weights)
        w_input, w_state = weights[:2]
        time, batch, units = new.shape
        reset, update = gates.split(units, dim=2)
        slopes = _coefficients(reset, update, new, hidden, states[:-1])
        w_hidden = torch.cat([w_state[2 * units :], w_state[: 2 * units]])  # in the slopes' order
        grad_state = _backward_steps()(grad.transpose(0, 1), slopes, update, w_hidden)
        sums = slopes.view(time * batch, 4 * units)
        of_hidden, of_input = sums[:, : 3 * units], sums[:, units:]
        grad_input = None
        if ctx.needs_input_grad[0]:
            grad_input = (of_input @ w_input).view(time, batch, -1).transpose(0, 1)
        grad_w_state = of_hidden.t() @ states[:-1].view(time * batch, units)
        grads = [of_input.t() @ flat, grad_w_state.roll(-units, 0)]
        if len(weights) == 4:
            bias = sums.sum(0)
            grads += [bias[units:], bias[: 3 * units].roll(-units)]
        return grad_input, grad_state, *grads


def _coefficients(
    reset: Tensor, update: Tensor, new: Tensor, hidden: Tensor, before: Tensor
) -> Tensor:
    """Return the derivatives of the new state, (time, batch, 4, units).

    They are with respect to the four sums `h @ U_n + c_n`, that of the reset gate, that of the
    update gate, and the one inside tanh. The first three belong to `h`, the last three to `x`.
    """
    time, batch, units = new.shape
    aten = torch.ops.aten
    slopes = new.new_empty(time, batch, 4, units)
    of_hidden, of_reset, of_update, of_new = slopes.unbind(2)
    aten.tanh_backward(1 - update, new, grad_input=of_new)
    torch.mul(of_new, reset, out=of_hidden)
    aten.sigmoid_backward(of_new * hidden, reset, grad_input=of_reset)
    aten.sigmoid_backward(before - new, update, grad_input=of_update)
    return slopes


def _differentiable_backward(
    ctx: Any, grad: Tensor, inputs: Tensor, state: Tensor, weights: list[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the gradients by torch's kernel, which autograd can follow."""
    given = [inputs, state, *weights]
    outputs, _ = torch.gru(
        inputs, state.unsqueeze(0), weights, len(weights) == 4, 1, 0.0, True, False, True
    )
    wanted = [tensor for tensor, needed in zip(given, ctx.needs_input_grad, strict=True) if needed]
    found = iter(torch.autograd.grad(outputs, wanted, grad, create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)


# --- Step by step --------------------------------------------------------------------------------
#
# Written in the part of Python that TorchScript has, which runs the loops without the interpreter.


def forward_steps(
    gates: Tensor,
    new: Tensor,
    hidden: Tensor,
    states: Tensor,
    w_gates: Tensor,
    w_new: Tensor,
    b_new: Tensor,
) -> None:
    """Fill `states[1:]`, and the other sequences with what the backward pass needs.

    Args:
        gates: (time, batch, 2 units): the inputs' part of both gates; becomes the gates.
        new: (time, batch, units): the inputs' part of the candidate; becomes the candidate.
        hidden: (time, batch, units), for the state's part of the candidate.
        states: (time + 1, batch, units), of which the first is set.
        w_gates: (2 units, units): the recurrent weights of the gates.
        w_new: (units, units): those of the candidate.
        b_new: (units): its recurrent bias.
    """
    units = states.shape[2]
    resets = gates[:, :, :units].unbind(0)
    updates = gates[:, :, units:].unbind(0)
    both = gates.unbind(0)
    news = new.unbind(0)
    hiddens = hidden.unbind(0)
    after = states.unbind(0)
    w_gates, w_new = w_gates.t(), w_new.t()
    for t in range(len(news)):
        both[t].addmm_(after[t], w_gates).sigmoid_()
        torch.addmm(b_new, after[t], w_new, out=hiddens[t])
        news[t].addcmul_(resets[t], hiddens[t]).tanh_()
        torch.lerp(news[t], after[t], updates[t], out=after[t + 1])


def backward_steps(grad: Tensor, slopes: Tensor, update: Tensor, weights: Tensor) -> Tensor:
    """Turn the coefficients into gradients, last step first.

    Args:
        grad: (time, batch, units), with respect to the outputs.
        slopes: (time, batch, 4, units), as `_coefficients` returns; becomes the gradients.
        update: (time, batch, units), the update gates.
        weights: (3 units, units), the recurrent weights in the order of the slopes.

    Returns:
        The gradient with respect to the first state, (batch, units).
    """
    time, batch, units = update.shape[0], update.shape[1], update.shape[2]
    of_hidden = slopes.view(time, batch, 4 * units)[:, :, : 3 * units].unbind(0)
    of_all = slopes.unbind(0)
    updates = update.unbind(0)
    grads = grad.unbind(0)
    grad_state = torch.zeros_like(updates[0])
    for i in range(time):
        t = time - 1 - i
        grad_state = grad_state + grads[t]
        of_all[t].mul_(grad_state.unsqueeze(1))
        grad_state = torch.mul(grad_state, updates[t]).addmm_(of_hidden[t], weights)
    return grad_state


def _scripted(steps: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function in TorchScript, or as it is where that is gone or has no source code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it favours torch.compile
        try:
            return torch.jit.script(steps)  # type: ignore[no-any-return]
        except (AttributeError, OSError, RuntimeError):
            return steps


@functools.cache
def _forward_steps() -> Callable[..., Any]:
    return _scripted(forward_steps)


@functools.cache
def _backward_steps() -> Callable[..., Any]:
    return _scripted(backward_steps)
