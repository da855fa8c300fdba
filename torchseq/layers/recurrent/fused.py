"""The ordinary recurrent layers on torch's fused kernels, which run a whole sequence in one call.

They are `torch.lstm`, `torch.gru` and `torch.rnn_*`: what `nn.LSTM`, `nn.GRU` and `nn.RNN` call on
the CPU and for cuDNN. The functions are used, not the modules, because Keras has one bias where
the modules have two parameters, and because `torch.compile` takes no such module.

A mask costs two gathers and no look at its values from the host: each row's valid steps are moved
to the front, whatever their pattern, the kernel runs over all steps, and each time step takes the
output of the last valid step before it. So the number of calls is the same for every length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_FUNCTIONS: dict[str, Any] = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}


def run(
    kernel: str, inputs: Tensor, states: list[Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Run a kernel over `inputs`, (batch, time, features).

    Args:
        kernel: `"lstm"`, `"gru"`, `"rnn_tanh"` or `"rnn_relu"`.
        inputs: the sequences.
        states: hidden state, then for the LSTM the cell state; each `(batch, units)`.
        weights: input and recurrent weights and, if there are biases, two of them; torch's layout.

    Returns:
        The outputs, `(batch, time, units)`, and the last states.
    """
    inputs, states, weights = _in_one_dtype(inputs, states, weights)
    if inputs.is_cuda:
        weights = _in_one_chunk(weights)
    first = [state.unsqueeze(0).contiguous() for state in states]  # (layers, batch, units)
    outputs, *last = _FUNCTIONS[kernel](
        inputs,
        first if kernel == "lstm" else first[0],
        weights,
        len(weights) == 4,  # whether there are biases
        1,  # number of layers
        0.0,  # dropout between layers
        torch.is_grad_enabled(),  # for torch, training is when cuDNN keeps what backward needs
        False,  # bidirectional
        True,  # batch first
    )
    return outputs, [state.squeeze(0) for state in last]


def _in_one_dtype(
    inputs: Tensor, states: list[Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Cast all to autocast's dtype where that rules, else the rest to the weights' dtype."""
    device = inputs.device.type
    dtype = weights[0].dtype
    if device != "meta" and torch.is_autocast_enabled(device) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
    cast = [[tensor.to(dtype) for tensor in group] for group in (states, weights)]
    return inputs.to(dtype), *cast  # type: ignore[return-value]


def _in_one_chunk(weights: Sequence[Tensor]) -> list[Tensor]:
    """Copy the weights behind each other into one piece of memory, as cuDNN wants them.

    torch would do it in each call as well, and warn.
    """
    chunk = torch.cat([weight.flatten() for weight in weights])
    parts = chunk.split([weight.numel() for weight in weights])
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]


def run_masked(
    kernel: str,
    inputs: Tensor,
    states: list[Tensor],
    weights: Sequence[Tensor],
    mask: Tensor,
    needs_all: tuple[bool, bool],
) -> tuple[Tensor, list[Tensor]]:
    """Run a kernel over the steps at which `mask`, (batch, time), is True.

    Args:
        kernel: as for `run`.
        inputs: as for `run`.
        states: as for `run`.
        weights: as for `run`.
        mask: any pattern; rows without any True keep their states.
        needs_all: whether the outputs of all steps are wanted, or the last alone; whether the
            LSTM's last cell state is.

    Returns:
        The outputs, `(batch, time, units)` or `(batch, 1, units)`: at masked steps those of the
        valid step before, or zeros. Then the last states; the cell state's first if not wanted.
    """
    needs_sequence, needs_cell_state = needs_all
    order = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)
    inputs = _at_steps(inputs, order)
    outputs, last = run(kernel, inputs, states, weights)
    num_seen = mask.cumsum(1)  # (batch, time): valid steps so far
    num_valid = num_seen[:, -1:]
    is_empty = num_valid == 0
    final = _at_steps(outputs, (num_valid - 1).clamp(min=0))  # (batch, 1, units)
    hidden = torch.where(is_empty, states[0].to(final.dtype), final[:, 0])
    new_states = [hidden]
    if kernel == "lstm":
        cell_state = states[1].to(last[1].dtype)
        if needs_cell_state:
            gates = _lstm_gates(inputs, states[0], outputs, weights)
            cell_state = _cell_state_after(gates, states[1], num_valid).to(last[1].dtype)
        new_states.append(cell_state)
    if not needs_sequence:
        return final.masked_fill(is_empty[:, :, None], 0), new_states
    outputs = _at_steps(outputs, (num_seen - 1).clamp(min=0))
    return outputs.masked_fill((num_seen == 0)[:, :, None], 0), new_states


def _at_steps(sequences: Tensor, steps: Tensor) -> Tensor:
    """Return the entries at `steps`, (batch, n), of each row's sequence: (batch, n, features)."""
    rows = torch.arange(sequences.shape[0], device=sequences.device)[:, None]
    return sequences[rows, steps]


def _lstm_gates(
    inputs: Tensor, hidden: Tensor, outputs: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return what goes into the LSTM's four gates at all steps, given the hidden states."""
    inputs, (hidden,), weights = _in_one_dtype(inputs, [hidden], weights)
    before = torch.cat([hidden[:, None], outputs[:, :-1]], dim=1)  # (batch, time, units)
    sums = F.linear(inputs, weights[0]) + F.linear(before, weights[1])
    if len(weights) == 4:
        sums = sums + weights[2] + weights[3]
    return sums.chunk(4, dim=-1)


def _cell_state_after(gates: tuple[Tensor, ...], first: Tensor, num_valid: Tensor) -> Tensor:
    """Return the LSTM's cell state after each row's last valid step.

    The kernel tells it only after the last step of all. From the gates it is the sum over steps of
    what the step wrote times all later forget gates; their products are sums of logarithms, none
    above 0, taken from the end so that the recent steps, which count, are exact.
    """
    dtype = torch.promote_types(gates[0].dtype, torch.float32)
    written, forget, candidate = (gate.to(dtype) for gate in gates[:3])
    steps = torch.arange(forget.shape[1], device=forget.device)
    is_valid = (steps < num_valid)[:, :, None]  # (batch, time, 1)
    log_forget = F.logsigmoid(forget).masked_fill(~is_valid, 0)
    from_here = log_forget.flip(1).cumsum(1).flip(1)
    writes = torch.exp(from_here - log_forget) * torch.sigmoid(written) * torch.tanh(candidate)
    kept = torch.exp(from_here[:, 0]) * first.to(dtype)
    return kept + writes.masked_fill(~is_valid, 0).sum(1)
