"""The cells of SimpleRNN, LSTM and GRU: one time step each.

They do their work in two parts: `project` for what depends on the inputs alone, which `RNN` does
for all steps at once, and `step` for the rest. Weights are torch's `weight_ih`, `weight_hh` and
`bias` in torch's layout, as the fused kernels take them.

Source: keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq import activations
from torchseq.base import arguments
from torchseq.base.types import Identifier, Shape
from torchseq.layers.recurrent.gated import DenseCell


class SimpleRNNCell(DenseCell):
    """One step of SimpleRNN: `activation(inputs @ kernel + hidden @ recurrent_kernel + bias)`.

    Args:
        units: size of the output and of the state.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        kernel_initializer, recurrent_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalty on the weight.
        kernel_constraint, recurrent_constraint, bias_constraint: projection after each update.
        dropout: fraction of the inputs to drop, the same at all steps of a sequence.
        recurrent_dropout: fraction of the hidden state to drop, the same at all steps.
        seed: integer that fixes the sequence of dropout masks; torch's random stream by default.

    Shapes:
        `(batch, features)`, [`(batch, units)`] -> `(batch, units)`, [`(batch, units)`]

    Raises:
        ValueError: if `units` is not a positive integer or a fraction is outside [0, 1].

    Source: keras.layers.SimpleRNNCell. Fractions outside [0, 1] raise; Keras clips them.
    """

    draws_seed_first = True

    def __init__(
        self,
        units: int,
        activation: Identifier = "tanh",
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        recurrent_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_options: Any,
    ):
        super().__init__(
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **layer_options,
        )
        self.units = arguments.positive_integer(self.owner, "units", units)
        self.resolve(activation=activation)
        self.state_size = self.output_size = self.units

    def build(self, input_shape: Shape) -> None:
        """Make the weights."""
        self.make_weights(input_shape)
        self.expose("kernel", self, "weight_ih", axes=(1, 0))
        self.expose("recurrent_kernel", self, "weight_hh", axes=(1, 0))
        if self.use_bias:
            self.bias = self.parameter(self.units)
            self.expose("bias", self, "bias")

    def step(
        self, projected: Tensor, states: list[Tensor], training: bool
    ) -> tuple[Tensor, list[Tensor]]:
        hidden = states[0]
        masks = self.recurrent_masks(hidden, training)
        output = self.activation(projected + self._linear(hidden, self.weight_hh, None, masks))
        return output, [output]

    @property
    def fused_kernel(self) -> str | None:
        kernels = {activations.tanh: "rnn_tanh", activations.relu: "rnn_relu"}
        return next((kernels[key] for key in kernels if self.activation is key), None)


class LSTMCell(DenseCell):
    """One step of LSTM.

    Args:
        units: size of the output and of both states.
        activation: of the candidate and the output; None leaves them as they are.
        recurrent_activation: of the input, forget and output gates.
        use_bias: learn a bias and add it.
        kernel_initializer, recurrent_initializer, bias_initializer: name, config or callable.
        unit_forget_bias: let the forget gate's bias start at 1.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalty on the weight.
        kernel_constraint, recurrent_constraint, bias_constraint: projection after each update.
        dropout: fraction of the inputs to drop, the same at all steps of a sequence.
        recurrent_dropout: fraction of the hidden state to drop, the same at all steps.
        seed: integer that fixes the sequence of dropout masks; torch's random stream by default.

    Shapes:
        `(batch, features)`, [hidden, cell state] -> `(batch, units)`, [hidden, cell state]

    Raises:
        ValueError: if `units` is not a positive integer or a fraction is outside [0, 1].

    Source: keras.layers.LSTMCell. Fractions outside [0, 1] raise; Keras clips them.
    """

    num_gates = 4  # input, forget, candidate, output: torch's order and Keras's

    def __init__(
        self,
        units: int,
        activation: Identifier = "tanh",
        recurrent_activation: Identifier = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Identifier = None,
        recurrent_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_options: Any,
    ):
        super().__init__(
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **layer_options,
        )
        self.units = arguments.positive_integer(self.owner, "units", units)
        self.resolve(
            activation=activation,
            recurrent_activation=recurrent_activation,
        )
        self.unit_forget_bias = unit_forget_bias
        self.state_size = [self.units, self.units]
        self.output_size = self.units

    def build(self, input_shape: Shape) -> None:
        """Make the weights."""
        self.make_weights(input_shape)
        self.expose("kernel", self, "weight_ih", axes=(1, 0))
        self.expose("recurrent_kernel", self, "weight_hh", axes=(1, 0))
        if self.use_bias:
            self.bias = self.parameter(4 * self.units)
            self.expose("bias", self, "bias")
            if self.unit_forget_bias:
                self.forget_one(self.units)

    def step(
        self, projected: Tensor, states: list[Tensor], training: bool
    ) -> tuple[Tensor, list[Tensor]]:
        hidden, cell_state = states
        masks = self.recurrent_masks(hidden, training)
        sums = projected + self._linear(hidden, self.weight_hh, None, masks)
        write, forget, candidate, read = sums.chunk(4, dim=-1)
        kept = self.recurrent_activation(forget) * cell_state
        cell_state = kept + self.recurrent_activation(write) * self.activation(candidate)
        output = self.recurrent_activation(read) * self.activation(cell_state)
        return output, [output, cell_state]

    @property
    def fused_kernel(self) -> str | None:
        is_plain = (
            self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        )
        return "lstm" if is_plain else None


class GRUCell(DenseCell):
    """One step of GRU.

    Args:
        units: size of the output and of the state.
        activation: of the candidate; None leaves it as it is.
        recurrent_activation: of the update and reset gates.
        use_bias: learn a bias and add it.
        kernel_initializer, recurrent_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalty on the weight.
        kernel_constraint, recurrent_constraint, bias_constraint: projection after each update.
        dropout: fraction of the inputs to drop, the same at all steps of a sequence.
        recurrent_dropout: fraction of the hidden state to drop, the same at all steps.
        reset_after: reset the hidden state after it went through its matrix, as torch and cuDNN
            do, with a bias of its own; else before.
        seed: integer that fixes the sequence of dropout masks; torch's random stream by default.

    Shapes:
        `(batch, features)`, [`(batch, units)`] -> `(batch, units)`, [`(batch, units)`]

    Raises:
        ValueError: if `units` is not a positive integer or a fraction is outside [0, 1].

    Source: keras.layers.GRUCell. Fractions outside [0, 1] raise; Keras clips them.
    """

    num_gates = 3  # torch: reset, update, candidate; Keras: update, reset, candidate

    def __init__(
        self,
        units: int,
        activation: Identifier = "tanh",
        recurrent_activation: Identifier = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        recurrent_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **layer_options: Any,
    ):
        super().__init__(
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **layer_options,
        )
        self.units = arguments.positive_integer(self.owner, "units", units)
        self.resolve(
            activation=activation,
            recurrent_activation=recurrent_activation,
        )
        self.reset_after = reset_after
        self.state_size = self.output_size = self.units

    def build(self, input_shape: Shape) -> None:
        """Make the weights."""
        self.make_weights(input_shape)
        for name, attribute in (("kernel", "weight_ih"), ("recurrent_kernel", "weight_hh")):
            self.expose(name, self, attribute, to_keras=_gru_kernel, to_torch=_gru_weight)
        if self.use_bias:
            size = 3 * self.units
            self.bias = self.parameter(2, size) if self.reset_after else self.parameter(size)
            self.expose("bias", self, "bias", to_keras=_swap_gates, to_torch=_swap_gates)

    def input_bias(self) -> Tensor | None:
        bias = super().input_bias()
        return bias[0] if bias is not None and self.reset_after else bias

    def step(
        self, projected: Tensor, states: list[Tensor], training: bool
    ) -> tuple[Tensor, list[Tensor]]:
        hidden = states[0]
        masks = self.recurrent_masks(hidden, training)
        input_reset, input_update, input_candidate = projected.chunk(3, dim=-1)
        weight, bias = self.weight_hh, None
        if self.reset_after:
            bias = self.bias.tensor[1] if self.use_bias else None
            reset, update, candidate = self._linear(hidden, weight, bias, masks).chunk(3, dim=-1)
        else:
            gate_masks = masks[:2] if masks else None
            gates = self._linear(hidden, weight[: 2 * self.units], None, gate_masks)
            reset, update = gates.chunk(2, dim=-1)
        reset = self.recurrent_activation(input_reset + reset)
        update = self.recurrent_activation(input_update + update)
        if self.reset_after:
            candidate = reset * candidate
        else:
            masked = hidden * masks[2] if masks else hidden
            candidate = F.linear(reset * masked, weight[2 * self.units :])
        candidate = self.activation(input_candidate + candidate)
        output = update * hidden + (1 - update) * candidate
        return output, [output]

    @property
    def fused_kernel(self) -> str | None:
        is_plain = (
            self.reset_after
            and self.activation is activations.tanh
            and self.recurrent_activation is activations.sigmoid
        )
        return "gru" if is_plain else None

    def fused_weights(self) -> list[Tensor]:
        if not self.use_bias:
            return [self.weight_ih, self.weight_hh]
        return [self.weight_ih, self.weight_hh, *self.bias.tensor.unbind(0)]


def _swap_gates(tensor: Tensor) -> Tensor:
    """Swap the first two of three gates on the last axis: torch's order <-> Keras's."""
    first, second, third = tensor.chunk(3, dim=-1)
    return torch.cat([second, first, third], dim=-1)


def _gru_kernel(weight: Tensor) -> Tensor:
    return _swap_gates(weight.t())


def _gru_weight(kernel: Tensor) -> Tensor:
    return _swap_gates(kernel).t()
