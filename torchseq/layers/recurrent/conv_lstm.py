"""LSTM whose inputs and states are images: convolutions take the place of matrices.

Source: keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base import arguments, dtypes
from torchseq.base.types import Config, Identifier, Shape
from torchseq.layers import geometry
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.recurrent.gated import GatedCell
from torchseq.layers.recurrent.rnn import RNN

_FUNCTIONS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class ConvLSTMCell(GatedCell):
    """One step of ConvLSTM.

    Args:
        rank: number of spatial axes.
        filters: number of output channels.
        kernel_size: sizes of the window; one integer for all.
        strides: steps of the window over the input; the one over the state moves by 1.
        padding: `"valid"` or `"same"`, for the input; for the state it is "same".
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the cells of the window over the input.
        activation: of the candidate and the output; None leaves them as they are.
        recurrent_activation: of the input, forget and output gates.
        unit_forget_bias: let the forget gate's bias start at 1.
        **options: those of all cells, and of `Layer`.

    Raises:
        ValueError: if a size is not positive, or strides and dilation are both above 1.

    Source: keras.src.layers.rnn.conv_lstm.ConvLSTMCell.
    """

    num_gates = 4  # input, forget, candidate, output
    draws_seed_first = True
    state_size = (-1, -1)  # the shapes depend on the input's; see get_initial_state

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Identifier = "tanh",
        recurrent_activation: Identifier = "sigmoid",
        unit_forget_bias: bool = True,
        **options: Any,
    ):
        super().__init__(**options)
        self.rank = rank
        self.filters = arguments.positive_integer(self.owner, "filters", filters)
        self.kernel_size = arguments.integer_tuple(self.owner, "kernel_size", kernel_size, rank)
        self.strides = arguments.integer_tuple(self.owner, "strides", strides, rank)
        self.padding = geometry.padding_of(self.owner, padding)
        self.data_format = geometry.data_format_of(self.owner, data_format)
        self.dilation_rate = arguments.integer_tuple(
            self.owner, "dilation_rate", dilation_rate, rank
        )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{self.owner}: `strides` and `dilation_rate` cannot both be above 1; "
                f"got strides={self.strides}, dilation_rate={self.dilation_rate}."
            )
        self.resolve(
            activation=activation,
            recurrent_activation=recurrent_activation,
        )
        self.unit_forget_bias = unit_forget_bias

    def build(self, input_shape: Shape) -> None:
        """Make the weights for images of known size."""
        violation = InputSpec(ndim=self.rank + 2).violation(input_shape)
        if violation or None in input_shape[1:]:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): the input of one step must have "
                f"{self.rank + 2} axes, all but the batch of known size; got shape "
                f"{tuple(input_shape)}."
            )
        channels_axis = -1 if self.data_format == "channels_last" else -1 - self.rank
        self.input_spec = InputSpec(
            ndim=self.rank + 2, axes={channels_axis: input_shape[channels_axis]}
        )
        self._state_shape = tuple(size or 0 for size in self.step_shape(input_shape)[1:])
        channels = geometry.split_shape(input_shape, self.data_format)[1] or 0
        gates = self.num_gates * self.filters
        self.weight_ih = self.parameter(gates, channels, *self.kernel_size)
        self.weight_hh = self.parameter(gates, self.filters, *self.kernel_size)
        axes = (*range(2, self.rank + 2), 1, 0)  # torch keeps (filters, channels, *spatial)
        self.expose("kernel", self, "weight_ih", axes=axes)
        self.expose("recurrent_kernel", self, "weight_hh", axes=axes)
        if self.use_bias:
            self.bias = self.parameter(gates)
            self.expose("bias", self, "bias")
            if self.unit_forget_bias:
                self.forget_one(self.filters)

    def project(self, inputs: Tensor, training: bool) -> Tensor:
        is_one_step = inputs.ndim == self.rank + 2
        inputs = inputs.unsqueeze(0) if is_one_step else inputs  # (time, batch, ...)
        masks = self.get_dropout_mask(inputs[0]) if training else None
        inputs, groups = self._under_masks(inputs, masks)
        time = inputs.shape[0]
        images = inputs.flatten(0, 1)
        if self.padding == "same":
            images = geometry.pad_same(images, self.kernel_size, self.strides, self.dilation_rate)
        bias = self.bias.tensor if self.use_bias else None
        projected = _FUNCTIONS[self.rank](
            images, self.weight_ih, bias, self.strides, 0, self.dilation_rate, groups
        )
        outputs: Tensor = projected if is_one_step else projected.unflatten(0, (time, -1))
        return outputs

    def step(
        self, projected: Tensor, states: list[Tensor], training: bool
    ) -> tuple[Tensor, list[Tensor]]:
        hidden, cell_state = states
        masks = self.get_recurrent_dropout_mask(hidden) if training else None
        images, groups = self._under_masks(hidden.unsqueeze(0), masks)
        ones = (1,) * self.rank
        images = geometry.pad_same(images[0], self.kernel_size, ones, ones)
        sums = projected + _FUNCTIONS[self.rank](images, self.weight_hh, groups=groups)
        parts = sums.chunk(4, dim=1)  # 4 x (batch, filters, *spatial)
        write, forget, candidate, read = (
            geometry.as_format(part, self.data_format) for part in parts
        )
        kept = self.recurrent_activation(forget) * cell_state
        cell_state = kept + self.recurrent_activation(write) * self.activation(candidate)
        output = self.recurrent_activation(read) * self.activation(cell_state)
        return output, [output, cell_state]

    def _under_masks(self, inputs: Tensor, masks: list[Tensor] | None) -> tuple[Tensor, int]:
        """Return (time, batch, channels, *spatial) and the number of groups to convolve it in.

        Each gate sees the inputs under its own mask, so the masked inputs are stacked along the
        channels and each group of them meets the part of the kernel that is its gate's.
        """
        parts = [inputs] if masks is None else [inputs * mask for mask in masks]
        images = [geometry.channels_first(part.flatten(0, 1), self.data_format) for part in parts]
        stacked = images[0] if len(images) == 1 else torch.cat(images, dim=1)
        return stacked.unflatten(0, inputs.shape[:2]), len(images)

    def num_masks(self) -> int:
        """Return how many masks a sequence has: each gate its own."""
        return self.num_gates

    def step_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output and of both states for inputs of one step."""
        spatial, _ = geometry.split_shape(input_shape, self.data_format)
        options = zip(spatial, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        outputs = tuple(
            geometry.window_count(size, kernel, stride, self.padding, dilation)
            for size, kernel, stride, dilation in options
        )
        geometry.check_fits(self.owner, input_shape, outputs, "kernel")
        return geometry.join_shape(input_shape[0], outputs, self.filters, self.data_format)

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Return two states of zeros for a batch."""
        dtype = dtypes.torch_dtype(self.compute_dtype)
        batch = 0 if batch_size is None else batch_size
        return [
            torch.zeros(batch, *self._state_shape, dtype=dtype, device=self.device) for _ in "hc"
        ]


class _ConvLSTM(RNN):
    """What ConvLSTM layers of all ranks share; a subclass says how many spatial axes it has.

    Goes step by step; the convolution over the inputs runs once for all steps.
    """

    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
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
        **layer_options: Any,
    ):
        cell = ConvLSTMCell(
            self.rank,
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            recurrent_activation,
            unit_forget_bias,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            name="conv_lstm_cell",
            owner=type(self).__name__,
            dtype=layer_options.get("dtype"),
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            activity_regularizer=activity_regularizer,
            **layer_options,
        )
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def _first_states(self, sequences: Tensor, given: Any) -> list[Any]:
        shape = tuple(sequences.shape)
        if (
            given is None
            and self.cell.step_shape(shape[:1] + shape[2:])[1:] != self.cell._state_shape
        ):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): its input must have images of the "
                f"size that the layer was built for, {tuple(self._build_shape)}, since its first "
                f"states have that; got an input of shape {shape}. Give `initial_state=` for "
                "others."
            )
        return super()._first_states(sequences, given)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape, followed by the states' with return_state."""
        batch, time, *step = input_shape
        state = self.cell.step_shape((batch, *step))
        output = (batch, time, *state[1:]) if self.return_sequences else state
        return (output, state, state) if self.return_state else output

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = {"activity_regularizer": None, **super().get_config()}
        del config["cell"]
        return config


_OF_THE_CELL = (
    "filters",
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
    "activation",
    "recurrent_activation",
    "use_bias",
    "unit_forget_bias",
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
    setattr(_ConvLSTM, _name, property(operator.attrgetter(f"cell.{_name}")))


class ConvLSTM1D(_ConvLSTM):
    """ConvLSTM over sequences of signals: an LSTM with 1D convolutions for matrices.

    Args:
        filters, kernel_size, ...: as for `ConvLSTM2D`, along one axis.

    Shapes:
        `(batch, time, length, channels)` -> `(batch, new_length, filters)`, with the time axis
        second with return_sequences; channels before the length with channels_first.

    Raises:
        ValueError: as for `ConvLSTM2D`.

    Source: keras.layers.ConvLSTM1D.
    """

    rank = 1


class ConvLSTM2D(_ConvLSTM):
    """ConvLSTM over sequences of images: an LSTM with 2D convolutions for matrices.

    Goes step by step; the convolution over the inputs runs once for all steps.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the window; one integer for both.
        strides: steps of the window over the inputs; the one over the state moves by 1.
        padding: `"valid"` or `"same"`, for the inputs; for the state it is "same".
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the cells of the window over the inputs.
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
        **layer_options: those of `Layer`, `unroll` and `zero_output_for_mask`.

    Shapes:
        `(batch, time, height, width, channels)` -> `(batch, new_height, new_width, filters)`, with
        the time axis second with return_sequences; channels before height with channels_first.

    Raises:
        ValueError: if a size is not positive, strides and dilation are both above 1, the kernel
            does not fit, or a size other than the batch's and time's is not known.

    Source: keras.layers.ConvLSTM2D.
    """

    rank = 2


class ConvLSTM3D(_ConvLSTM):
    """ConvLSTM over sequences of volumes: an LSTM with 3D convolutions for matrices.

    Args:
        filters, kernel_size, ...: as for `ConvLSTM2D`, along three axes.

    Shapes:
        `(batch, time, depth, height, width, channels)` ->
        `(batch, new_depth, new_height, new_width, filters)`, with the time axis second with
        return_sequences; channels before the spatial axes with channels_first.

    Raises:
        ValueError: as for `ConvLSTM2D`.

    Source: keras.layers.ConvLSTM3D.
    """

    rank = 3
