"""Convolutions of one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchseq.base import arguments
from torchseq.base.types import Identifier, Shape
from torchseq.layers import geometry
from torchseq.layers.convolutional import Convolutional
from torchseq.layers.defaults import with_defaults


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
