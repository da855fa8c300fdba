"""Convolutions of one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from torchseq import activations, constraints, initializers, regularizers
from torchseq.base import arguments
from torchseq.base.types import Config, Identifier, Shape
from torchseq.layers import geometry
from torchseq.layers.defaults import with_defaults
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer

_MODULES: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_WEIGHT_OPTIONS = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}


class Convolutional(Layer):
    """What convolutions of all kinds and ranks share: the window, and the options of the weights.

    A subclass says how many spatial axes it has (`rank`), which weights its options are for
    (`weight_roles`), makes the torch modules in `build`, and applies them in `_convolve`.
    """

    rank: int
    weight_roles: tuple[str, ...] = ("kernel", "bias")
    paddings = geometry.PADDINGS
    casts_integers = True
    _pads_first = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int],
        padding: str,
        data_format: str | None,
        dilation_rate: int | Sequence[int],
        activation: Identifier,
        use_bias: bool,
        **options: Any,
    ):
        weight_options = {
            f"{role}_{kind}": read(options.pop(f"{role}_{kind}"))
            for role in self.weight_roles
            for kind, read in _WEIGHT_OPTIONS.items()
        }
        super().__init__(**options)
        self.kernel_size = arguments.integer_tuple(self, "kernel_size", kernel_size, self.rank)
        self.strides = arguments.integer_tuple(self, "strides", strides, self.rank)
        self.padding = geometry.padding_of(self, padding, self.paddings)
        self.data_format = geometry.data_format_of(self, data_format)
        self.dilation_rate = arguments.integer_tuple(
            self, "dilation_rate", dilation_rate, self.rank
        )
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        for name, value in weight_options.items():
            setattr(self, name, value)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _refuse_strides_with_dilation(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{type(self).__name__}: `strides` and `dilation_rate` cannot both be above 1; "
                f"got strides={self.strides}, dilation_rate={self.dilation_rate}."
            )

    def _read_channels(self, input_shape: Shape) -> int:
        """Return the number of input channels, and demand it of all inputs from now on."""
        violation = InputSpec(ndim=self.rank + 2).violation(input_shape)
        channels = None if violation else geometry.split_shape(input_shape, self.data_format)[1]
        if channels is None:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): its input must have "
                f"{self.rank + 2} axes, the batch axis included, and a known number of channels; "
                f"got shape {tuple(input_shape)} with data_format={self.data_format!r}."
            )
        self.compute_output_shape(input_shape)  # the kernel must fit
        axis = -1 if self.data_format == "channels_last" else 1
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return channels

    def _check_shape(self, shape: Shape) -> None:
        super()._check_shape(shape)
        self.compute_output_shape(shape)  # the kernel must fit

    def _make_convolution(self, channels: int, filters: int, groups: int, bias: bool) -> Any:
        return self.torch_module(
            _MODULES[self.rank],
            channels,
            filters,
            self.kernel_size,
            stride=self.strides,
            padding=self._fixed_padding(),
            dilation=self.dilation_rate,
            groups=groups,
            bias=bias,
        )

    def _fixed_padding(self) -> tuple[int, ...] | int:
        """Return the padding that torch adds itself: what is the same for every input size."""
        self._pads_first = self.padding != "valid"
        if self.padding != "same" or max(self.strides) > 1:
            return 0
        extents = [
            (kernel - 1) * dilation
            for kernel, dilation in zip(self.kernel_size, self.dilation_rate, strict=True)
        ]
        if any(extent % 2 for extent in extents):
            return 0
        self._pads_first = False
        return tuple(extent // 2 for extent in extents)

    def _padded(self, inputs: Tensor) -> Tensor:
        if self.padding == "causal":
            return F.pad(inputs, ((self.kernel_size[0] - 1) * self.dilation_rate[0], 0))
        return geometry.pad_same(inputs, self.kernel_size, self.strides, self.dilation_rate)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute `activation(convolution(inputs, kernel) + bias)`."""
        inputs = geometry.channels_first(inputs, self.data_format)
        outputs = self._convolve(self._padded(inputs) if self._pads_first else inputs)
        return self.activation(geometry.as_format(outputs, self.data_format))  # type: ignore[no-any-return]

    def _convolve(self, inputs: Tensor) -> Tensor:
        """Return the windows' weighted sums, bias included; channels are second."""
        return self.convolution(inputs)  # type: ignore[no-any-return]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape.

        Raises:
            ValueError: if the kernel does not fit the input.
        """
        spatial, channels = geometry.split_shape(input_shape, self.data_format)
        outputs = tuple(
            None if size is None else self._output_size(axis, size)
            for axis, size in enumerate(spatial)
        )
        geometry.check_fits(self, input_shape, outputs, "kernel")
        channels = self._output_channels(channels)
        return geometry.join_shape(input_shape[0], outputs, channels, self.data_format)

    def _output_size(self, axis: int, size: int) -> int | None:
        return geometry.window_count(
            size,
            self.kernel_size[axis],
            self.strides[axis],
            self.padding,
            self.dilation_rate[axis],
        )

    def _output_channels(self, channels: int | None) -> int | None:
        return self.filters  # type: ignore[no-any-return]

    def get_config(self) -> Config:
        """Return the constructor's arguments; an absent activity regularizer too, as Keras does."""
        return {"activity_regularizer": None, **super().get_config()}


class _Conv(Convolutional):
    """Convolution in groups of channels, of any rank."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        **layer_options: Any,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **layer_options,
        )
        self.filters = arguments.positive_integer(self, "filters", filters)
        self.groups = arguments.positive_integer(self, "groups", groups)
        self._refuse_strides_with_dilation()
        if self.filters % self.groups:
            raise ValueError(
                f"{type(self).__name__}: `groups` must divide `filters`; got "
                f"groups={self.groups}, filters={self.filters}. Use a number of filters that "
                f"{self.groups} divides."
            )

    def build(self, input_shape: Shape) -> None:
        """Make the torch convolution."""
        channels = self._read_channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): `groups` must divide the number of "
                f"input channels; got groups={self.groups}, {channels} channels."
            )
        self.convolution = self._make_convolution(
            channels, self.filters, self.groups, self.use_bias
        )
        kernel_axes = (*range(2, self.rank + 2), 1, 0)  # torch keeps (filters, channels, *spatial)
        self.expose("kernel", self.convolution, "weight", axes=kernel_axes)
        if self.use_bias:
            self.expose("bias", self.convolution, "bias")


class Conv1D(_Conv):
    """1D convolution: `activation(convolution(inputs, kernel) + bias)`.

    Args:
        filters: number of output channels.
        kernel_size: length of the window, in steps.
        strides: steps from one window to the next.
        padding: `"valid"` (none), `"same"` (`ceil(steps / stride)` windows) or `"causal"` (as many,
            none of which sees later steps).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        groups: number of groups into which the channels are split.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        kernel_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        kernel_constraint, bias_constraint: projection of the weight after each update.

    Shapes:
        `(batch, steps, channels)` -> `(batch, new_steps, filters)`; channels second with
        channels_first.

    Raises:
        ValueError: if a size is not positive, `groups` does not divide `filters` or the channels,
            strides and dilation are both above 1, or the kernel does not fit.

    Source: keras.layers.Conv1D. Not offered: LoRA.
    """

    rank = 1
    paddings = (*geometry.PADDINGS, "causal")


class Conv2D(_Conv):
    """2D convolution: `activation(convolution(inputs, kernel) + bias)`.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the window; one integer for both.
        strides: steps of the window along height and width.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        groups: number of groups into which the channels are split.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        kernel_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        kernel_constraint, bias_constraint: projection of the weight after each update.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, filters)`; channels
        second with channels_first. Either layout is a view of the other's memory, never a copy.

    Raises:
        ValueError: if a size is not positive, `groups` does not divide `filters` or the channels,
            strides and dilation are both above 1, or the kernel does not fit.

    Source: keras.layers.Conv2D. Not offered: LoRA.
    """

    rank = 2
    __init__ = with_defaults(_Conv.__init__, strides=(1, 1), dilation_rate=(1, 1))


class Conv3D(_Conv):
    """3D convolution: `activation(convolution(inputs, kernel) + bias)`.

    Args:
        filters: number of output channels.
        kernel_size: depth, height and width of the window; one integer for all.
        strides: steps of the window along each axis.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        groups: number of groups into which the channels are split.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        kernel_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        kernel_constraint, bias_constraint: projection of the weight after each update.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *new_sizes, filters)`; channels second
        with channels_first.

    Raises:
        ValueError: if a size is not positive, `groups` does not divide `filters` or the channels,
            strides and dilation are both above 1, or the kernel does not fit.

    Source: keras.layers.Conv3D. Not offered: LoRA.
    """

    rank = 3
    __init__ = with_defaults(_Conv.__init__, strides=(1, 1, 1), dilation_rate=(1, 1, 1))
