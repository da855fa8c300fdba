"""SimpleRNN, LSTM and GRU: `RNN` over their cells, on torch's fused kernels where these fit.

Source: keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU.
"""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Config, Identifier, Shape
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.recurrent import fused
from torchseq.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from torchseq.layers.recurrent.gated import DenseCell, GatedCell
from torchseq.layers.recurrent.rnn import RNN


class _CellLayer(RNN):
    """A recurrent layer that makes its cell itself, and runs on a fused kernel where one does."""

    def __init__(self, cell: GatedCell, use_cudnn: bool | str = "auto", **options: Any):
        super().__init__(cell, **options)
        self.use_cudnn = arguments.one_of(self, "use_cudnn", use_cudnn, ("auto", True, False))
        self.input_spec = InputSpec(ndim=3)
        if use_cudnn is True and not self._is_fused(training=True):
            raise ValueError(
                f"{type(self).__name__}: `use_cudnn=True` must go with options that torch's fused "
                f"kernel has; got {self._options_in_words()}. Use `use_cudnn='auto'`."
            )

    def _options_in_words(self) -> str:
        names = ("activation", "recurrent_activation", "reset_after", "recurrent_dropout")
        values = {name: getattr(self.cell, name) for name in names if hasattr(self.cell, name)}
        shown = {name: getattr(value, "__name__", value) for name, value in values.items()}
        return ", ".join(f"{name}={value}" for name, value in shown.items())

    def _check_shape(self, shape: Shape) -> None:
        super()._check_shape(shape)
        if shape[1] == 0:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): its input must have at least one "
                f"time step; got an input of shape {shape}."
            )

    def _is_fused(self, training: bool) -> bool:
        cell = self.cell
        if not isinstance(cell, DenseCell) or self.use_cudnn is False:
            return False
        drops_state = training and cell.recurrent_dropout > 0
        return cell.fused_kernel is not None and not drops_state

    def run(
        self, sequences: Tensor, states: list[Any], mask: Tensor | None, training: bool
    ) -> tuple[Tensor, list[Any]]:
        if not self._is_fused(training):
            return super().run(sequences, states, mask, training)
        cell = self.cell
        if self.go_backwards:
            sequences = sequences.flip(1)
            mask = None if mask is None else mask.flip(1)
        drop = cell.get_dropout_mask(sequences[:, 0]) if training else None
        if drop is not None:
            sequences = sequences * drop[0].unsqueeze(1)
        weights = cell.fused_weights()
        if mask is None:
            outputs, last = fused.run(cell.fused_kernel, sequences, states, weights)
            # The last state saves the backward pass a gradient of all outputs, of zeros mostly.
            return (outputs if self.return_sequences else last[0].unsqueeze(1)), last
        wanted = fused.Wanted(
            all_steps=self.return_sequences,
            cell_state=self.return_state or self.stateful,
            zeros=self.zero_output_for_mask,
        )
        return fused.run_masked(cell.fused_kernel, sequences, states, weights, mask, wanted)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = {"activity_regularizer": None, **super().get_config()}
        return {key: value for key, value in config.items() if key not in ("cell", "use_cudnn")}


_OF_THE_CELL = (
    "units",
    "activation",
    "recurrent_activation",
    "use_bias",
    "unit_forget_bias",
    "reset_after",
    "seed",
    "dropout",
    "recurrent_dropout",
    "kernel_initializer",
    "recurrent_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "recurrent_regularizer",
    "bias_regularizer",
    "kernel_constraint",
    "recurrent_constraint",
    "bias_constraint",
)

for _name in _OF_THE_CELL:
    setattr(_CellLayer, _name, property(operator.attrgetter(f"cell.{_name}")))


class SimpleRNN(_CellLayer):
    """Recurrent layer: `state = activation(x @ kernel + state @ recurrent_kernel + bias)`.

    Runs on torch's fused kernel with activation "tanh" or "relu", with any mask. Step by step go:
    another activation, `recurrent_dropout` in training, `use_cudnn=False`.

    Args:
        units: size of the output and of the state.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        kernel_initializer, recurrent_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: has no effect, as in Keras.
        kernel_constraint, recurrent_constraint, bias_constraint: projection after each update.
        dropout: fraction of the inputs to drop, the same at all steps of a sequence.
        recurrent_dropout: fraction of the hidden state to drop, the same at all steps.
        return_sequences: return the outputs of all steps; else the last one's.
        return_state: return the last state as well.
        go_backwards: process the steps from the last to the first; outputs come in that order.
        stateful: start each batch in the state in which the one before ended.
        unroll: accepted for Keras's sake; the result is the same.
        seed: integer that fixes the sequence of dropout masks; torch's random stream by default.
        **layer_options: those of `Layer`, `zero_output_for_mask`, `input_length` beside
            `input_dim`, and `use_cudnn`.

    Shapes:
        `(batch, time, features)` -> `(batch, units)`, or `(batch, time, units)` with
        return_sequences; a tuple of that and the state with return_state.

    Raises:
        ValueError: if `units` is not a positive integer, a fraction is outside [0, 1], the input
            has not 3 axes, or a stateful layer meets another batch size.

    Source: keras.layers.SimpleRNN.
    """

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
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **layer_options: Any,
    ):
        cell = SimpleRNNCell(
            units,
            activation,
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
            **_cell_options(self, "simple_rnn_cell", layer_options),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            **layer_options,
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments; Keras leaves out the seed, and reads it."""
        config = super().get_config()
        if self.seed is None:  # with one, files have a stream for it
            del config["seed"]
        return config


class LSTM(_CellLayer):
    """Long short-term memory layer.

    Runs on torch's fused kernel with its default activations, with any mask. Step by step go: other
    activations, `recurrent_dropout` in training, `use_cudnn=False`.

    Args:
        units: size of the output and of both states.
        activation: of the candidate and the output; None leaves them as they are.
        recurrent_activation: of the input, forget and output gates.
        use_bias: learn a bias and add it.
        kernel_initializer, recurrent_initializer, bias_initializer: name, config or callable.
        unit_forget_bias: let the forget gate's bias start at 1.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        kernel_constraint, recurrent_constraint, bias_constraint: projection after each update.
        dropout: fraction of the inputs to drop, the same at all steps of a sequence.
        recurrent_dropout: fraction of the hidden state to drop, the same at all steps.
        seed: integer that fixes the sequence of dropout masks; torch's random stream by default.
        return_sequences: return the outputs of all steps; else the last one's.
        return_state: return the last hidden state and cell state as well.
        go_backwards: process the steps from the last to the first; outputs come in that order.
        stateful: start each batch in the states in which the one before ended.
        unroll: accepted for Keras's sake; the result is the same.
        use_cudnn: False goes step by step; True raises where no fused kernel fits.
        **layer_options: those of `Layer`, `zero_output_for_mask`, and `input_length` beside
            `input_dim`.

    Shapes:
        `(batch, time, features)` -> `(batch, units)`, or `(batch, time, units)` with
        return_sequences; a tuple of that and both states with return_state.

    Raises:
        ValueError: if `units` is not a positive integer, a fraction is outside [0, 1], the input
            has not 3 axes, or a stateful layer meets another batch size.

    Source: keras.layers.LSTM.
    """

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
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        **layer_options: Any,
    ):
        cell = LSTMCell(
            units,
            activation,
            recurrent_activation,
            use_bias,
            kernel_initializer,
            recurrent_initializer,
            bias_initializer,
            unit_forget_bias,
            kernel_regularizer,
            recurrent_regularizer,
            bias_regularizer,
            kernel_constraint,
            recurrent_constraint,
            bias_constraint,
            dropout,
            recurrent_dropout,
            seed,
            **_cell_options(self, "lstm_cell", layer_options),
        )
        super().__init__(
            cell,
            use_cudnn,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **layer_options,
        )


class GRU(_CellLayer):
    """Gated recurrent unit layer.

    Runs on torch's fused kernel with its default activations, with any mask. Step by step go: other
    activations, `reset_after=False`, `recurrent_dropout` in training, `use_cudnn=False`.

    Args:
        units: size of the output and of the state.
        activation: of the candidate; None leaves it as it is.
        recurrent_activation: of the update and reset gates.
        use_bias: learn a bias and add it.
        kernel_initializer, recurrent_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        kernel_constraint, recurrent_constraint, bias_constraint: projection after each update.
        dropout: fraction of the inputs to drop, the same at all steps of a sequence.
        recurrent_dropout: fraction of the hidden state to drop, the same at all steps.
        seed: integer that fixes the sequence of dropout masks; torch's random stream by default.
        return_sequences: return the outputs of all steps; else the last one's.
        return_state: return the last state as well.
        go_backwards: process the steps from the last to the first; outputs come in that order.
        stateful: start each batch in the state in which the one before ended.
        unroll: accepted for Keras's sake; the result is the same.
        reset_after: reset the hidden state after it went through its matrix, as torch and cuDNN
            do, with a bias of its own; else before.
        use_cudnn: False goes step by step; True raises where no fused kernel fits.
        **layer_options: those of `Layer`, `zero_output_for_mask`, and `input_length` beside
            `input_dim`.

    Shapes:
        `(batch, time, features)` -> `(batch, units)`, or `(batch, time, units)` with
        return_sequences; a tuple of that and the state with return_state.

    Raises:
        ValueError: if `units` is not a positive integer, a fraction is outside [0, 1], the input
            has not 3 axes, or a stateful layer meets another batch size.

    Source: keras.layers.GRU.
    """

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
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        recurrent_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        **layer_options: Any,
    ):
        cell = GRUCell(
            units,
            activation,
            recurrent_activation,
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
            reset_after,
            seed,
            **_cell_options(self, "gru_cell", layer_options),
        )
        super().__init__(
            cell,
            use_cudnn,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **layer_options,
        )


def _cell_options(layer: RNN, name: str, layer_options: dict[str, Any]) -> dict[str, Any]:
    """Return the layer options that are the cell's too; `implementation` is taken out."""
    return {
        "name": name,
        "owner": type(layer).__name__,
        "dtype": layer_options.get("dtype"),
        "trainable": layer_options.get("trainable", True),
        "implementation": layer_options.pop("implementation", None),
    }
