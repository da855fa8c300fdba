"""The ordinary recurrent layers on torch's fused kernels, which run a whole sequence in one call.

They are `torch.lstm`, `torch.gru` and `torch.rnn_*`: what `nn.LSTM`, `nn.GRU` and `nn.RNN` call on
the CPU and for cuDNN. The functions are used, not the modules, because Keras has one bias where
the modules have two parameters, and because `torch.compile` takes no such module.

With a mask each row's valid steps are moved to the front, whatever their pattern, the kernel runs
over all steps, and each time step takes the output of the last valid step up to it. So the number
of calls is the same for every length, and on a GPU the host waits for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchseq.base import islands
from torchseq.layers.recurrent import gru_kernel, native_kernels

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
    if native_kernels.serves(kernel, inputs, weights):
        outputs, *last = native_kernels.run(kernel, inputs, states, weights)
        return outputs, last
    outputs, *last = islands.island(
        lambda given, *others: _run(
            kernel, given, list(others[: len(states)]), list(others[len(states) :])
        ),
        inputs,
        *states,
        *weights,
    )
    return outputs, last


def _run(
    kernel: str, inputs: Tensor, states: list[Tensor], weights: Sequence[Tensor]
) -> list[Tensor]:
    """Return the outputs and the last states."""
    if kernel == "gru" and gru_kernel.fits(inputs, weights):
        return list(gru_kernel.gru(inputs, states[0], weights))
    if inputs.is_cuda:
        if len(weights) == 2:  # cuDNN's memory of weights has biases in any case
            weights = [*weights, *[weights[0].new_zeros(len(weights[0]))] * 2]
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
    return [outputs, *(state.squeeze(0) for state in last)]


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


class Wanted(NamedTuple):
    """What a caller needs of a run over masked sequences; the rest is not computed."""

    all_steps: bool  # the outputs of all steps, or the last one alone
    cell_state: bool  # the LSTM's last cell state
    zeros: bool  # zeros at masked steps, or the output of the step before


def run_masked(
    kernel: str,
    inputs: Tensor,
    states: list[Tensor],
    weights: Sequence[Tensor],
    mask: Tensor,
    wanted: Wanted,
) -> tuple[Tensor, list[Tensor]]:
    """Run a kernel over the steps at which `mask`, (batch, time), is True.

    Args:
        kernel: as for `run`.
        inputs: as for `run`.
        states: as for `run`.
        weights: as for `run`.
        mask: any pattern; rows without any True keep their states.
        wanted: what is needed.

    Returns:
        The outputs, `(batch, time, units)` or `(batch, 1, units)`: at masked steps those of the
        valid step before, or zeros. Then the last states; the LSTM's cell state only if wanted.
    """
    num_seen = mask.cumsum(1)  # (batch, time): valid steps so far
    num_valid = num_seen[:, -1:]
    steps = torch.arange(mask.shape[1], device=mask.device)
    is_padding = steps >= num_valid  # (batch, time), once the valid steps are in front
    are_in_front = _is_known(mask.logical_xor(is_padding))
    if not are_in_front:
        inputs = _at_steps(inputs, torch.argsort((~mask).to(torch.uint8), dim=1, stable=True))
    if kernel == "lstm" and wanted.cell_state:
        inputs, weights = _keeping_cell_state(inputs, weights, is_padding)
    outputs, last = run(kernel, inputs, states, weights)
    is_empty = num_valid == 0
    final = _at_steps(outputs, (num_valid - 1).clamp(min=0))  # (batch, 1, units)
    hidden = torch.where(is_empty, states[0].to(final.dtype), final[:, 0])
    has_output = mask if wanted.zeros else num_seen > 0
    if not wanted.all_steps:
        outputs, has_output = final, has_output[:, -1:]
    elif not (wanted.zeros and are_in_front):
        outputs = _at_steps(outputs, (num_seen - 1).clamp(min=0))
    if not _is_known(has_output):
        outputs = outputs.masked_fill(~has_output[:, :, None], 0)
    return outputs, [hidden, *last[1:]]


def _is_known(condition: Tensor) -> bool:
    """Tell whether a condition holds everywhere, where looking at it costs nothing.

    On a GPU the host would have to wait, and a compiled graph must not depend on values.
    """
    if condition.device.type != "cpu" or islands.is_tracing():
        return False
    return bool(condition.all())


def _at_steps(sequences: Tensor, steps: Tensor) -> Tensor:
    """Return the entries at `steps`, (batch, n), of each row's sequence: (batch, n, features)."""
    rows = torch.arange(sequences.shape[0], device=sequences.device)[:, None]
    return sequences[rows, steps]


_SATURATING = 1e4  # sigmoid of it is 1, and of minus it 0, in every float type


def _keeping_cell_state(
    inputs: Tensor, weights: Sequence[Tensor], is_padding: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return inputs and weights with which an LSTM keeps its cell state at the padding, exactly.

    The kernel tells the cell state after the last step alone. One more feature, 1 at the padding,
    opens the forget gate and closes the input gate; elsewhere it is 0 and changes nothing.
    """
    flags = is_padding[:, :, None].to(inputs.dtype)
    column = torch.zeros_like(weights[0][:, :1])
    write, forget, _, _ = column.chunk(4)
    column = torch.cat([write - _SATURATING, forget + _SATURATING, *column.chunk(4)[2:]])
    widened = torch.cat([weights[0], column], dim=1)
    return torch.cat([inputs, flags], dim=-1), [widened, *weights[1:]]
