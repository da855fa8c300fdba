"""Convolutions that treat each channel on its own: depthwise, and depthwise then pointwise.

Longer than 300 lines because Keras's arguments, forty of them, are listed and explained.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from torchseq.base import arguments
from torchseq.base.types import Identifier, Shape
from torchseq.layers.convolutional import Convolutional
from torchseq.layers.defaults import with_defaults
from torchseq.layers.rows import RowConv1d

_POINTWISE: dict[int, type[nn.Module]] = {1: RowConv1d, 2: nn.Conv2d}


def _depthwise_to_keras(weight: Tensor, multiplier: int) -> Tensor:
    """Return torch's (channels * multiplier, 1, *spatial) as (*spatial, channels, multiplier)."""
    split: Tensor = weight.squeeze(1).unflatten(0, (-1, multiplier))
    return split.permute(*range(2, split.ndim), 0, 1)


def _depthwise_to_torch(kernel: Tensor) -> Tensor:
    """Return Keras's (*spatial, channels, multiplier) as (channels * multiplier, 1, *spatial)."""
    last = kernel.ndim - 1
    return kernel.permute(last - 1, last, *range(last - 1)).flatten(0, 1).unsqueeze(1)


class _PerChannel(Convolutional):
    """What both have: a convolution with `depth_multiplier` filters for each channel."""

    depth_multiplier: int

    def _expose_depthwise(self, name: str, module: nn.Module) -> None:
        self.expose(
            name,
            module,
            "weight",
            to_keras=functools.partial(_depthwise_to_keras, multiplier=self.depth_multiplier),
            to_torch=_depthwise_to_torch,
            options="depthwise",
        )

    def _make_depthwise(self, channels: int, bias: bool) -> nn.Module:
        filters = channels * self.depth_multiplier
        module: nn.Module = self._make_convolution(channels, filters, groups=channels, bias=bias)
        return module


class _DepthwiseConv(_PerChannel):
    """Depthwise convolution of any rank."""

    weight_roles = ("depthwise", "bias")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
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
            depthwise_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
            **layer_options,
        )
        self.depth_multiplier = arguments.positive_integer(
            self, "depth_multiplier", depth_multiplier
        )

    def build(self, input_shape: Shape) -> None:
        """Make the torch convolution, with a group for each channel."""
        channels = self._read_channels(input_shape)
        self.convolution = self._make_depthwise(channels, self.use_bias)
        self._expose_depthwise("kernel", self.convolution)
        if self.use_bias:
            self.expose("bias", self.convolution, "bias")

    def _output_channels(self, channels: int | None) -> int | None:
        return None if channels is None else channels * self.depth_multiplier


class DepthwiseConv1D(_DepthwiseConv):
    """1D convolution of each channel with filters of its own.

    Args:
        kernel_size: length of the window, in steps.
        strides: steps from one window to the next.
        padding: `"valid"` (none) or `"same"` (`ceil(steps / stride)` windows).
        depth_multiplier: number of filters, and of output channels, for each channel.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        depthwise_initializer, bias_initializer: name, config or callable.
        depthwise_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        depthwise_constraint, bias_constraint: projection of the weight after each update.

    Shapes:
        `(batch, steps, channels)` -> `(batch, new_steps, channels * depth_multiplier)`; channels
        second with channels_first.

    Raises:
        ValueError: if a size is not positive or the kernel does not fit.

    Source: keras.layers.DepthwiseConv1D.
    """

    rank = 1


class DepthwiseConv2D(_DepthwiseConv):
    """2D convolution of each channel with filters of its own.

    Args:
        kernel_size: height and width of the window; one integer for both.
        strides: steps of the window along height and width.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        depth_multiplier: number of filters, and of output channels, for each channel.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        depthwise_initializer, bias_initializer: name, config or callable.
        depthwise_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        depthwise_constraint, bias_constraint: projection of the weight after each update.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, channels *
        depth_multiplier)`; channels second with channels_first.

    Raises:
        ValueError: if a size is not positive or the kernel does not fit.

    Source: keras.layers.DepthwiseConv2D.
    """

    rank = 2
    __init__ = with_defaults(_DepthwiseConv.__init__, strides=(1, 1), dilation_rate=(1, 1))


class _SeparableConv(_PerChannel):
    """Depthwise convolution, then a mix of the channels at each place; of any rank."""

    weight_roles = ("depthwise", "pointwise", "bias")

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        depth_multiplier: int = 1,
        activation: Identifier = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = "glorot_uniform",
        pointwise_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier = None,
        pointwise_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
        pointwise_constraint: Identifier = None,
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
            depthwise_initializer=depthwise_initializer,
            pointwise_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            depthwise_regularizer=depthwise_regularizer,
            pointwise_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            depthwise_constraint=depthwise_constraint,
            pointwise_constraint=pointwise_constraint,
            bias_constraint=bias_constraint,
            **layer_options,
        )
        self.filters = arguments.positive_integer(self, "filters", filters)
        self.depth_multiplier = arguments.positive_integer(
            self, "depth_multiplier", depth_multiplier
        )

    def build(self, input_shape: Shape) -> None:
        """Make the two torch convolutions."""
        channels = self._read_channels(input_shape)
        self.depthwise = self._make_depthwise(channels, bias=False)
        self.pointwise = self.torch_module(
            _POINTWISE[self.rank],
            channels * self.depth_multiplier,
            self.filters,
            1,
            bias=self.use_bias,
        )
        self._expose_depthwise("depthwise_kernel", self.depthwise)
        self.expose(
            "pointwise_kernel",
            self.pointwise,
            "weight",
            axes=(*range(2, self.rank + 2), 1, 0),  # torch keeps (filters, channels, *spatial)
            options="pointwise",
        )
        if self.use_bias:
            self.expose("bias", self.pointwise, "bias")

    def _convolve(self, inputs: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(inputs))  # type: ignore[no-any-return]


class SeparableConv1D(_SeparableConv):
    """1D convolution of each channel on its own, then a mix of the channels at each step.

    Args:
        filters: number of output channels.
        kernel_size: length of the window, in steps.
        strides: steps from one window to the next.
        padding: `"valid"` (none) or `"same"` (`ceil(steps / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        depth_multiplier: number of filters for each channel, before the mix.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        depthwise_initializer, pointwise_initializer, bias_initializer: name, config or callable.
        depthwise_regularizer, pointwise_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        depthwise_constraint, pointwise_constraint, bias_constraint: projection of the weight after
            each update.

    Shapes:
        `(batch, steps, channels)` -> `(batch, new_steps, filters)`; channels second with
        channels_first.

    Raises:
        ValueError: if a size is not positive or the kernel does not fit.

    Source: keras.layers.SeparableConv1D.
    """

    rank = 1


class SeparableConv2D(_SeparableConv):
    """2D convolution of each channel on its own, then a mix of the channels at each place.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the window; one integer for both.
        strides: steps of the window along height and width.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        depth_multiplier: number of filters for each channel, before the mix.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        depthwise_initializer, pointwise_initializer, bias_initializer: name, config or callable.
        depthwise_regularizer, pointwise_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        depthwise_constraint, pointwise_constraint, bias_constraint: projection of the weight after
            each update.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, filters)`; channels
        second with channels_first.

    Raises:
        ValueError: if a size is not positive or the kernel does not fit.

    Source: keras.layers.SeparableConv2D.
    """

    rank = 2
    __init__ = with_defaults(_SeparableConv.__init__, strides=(1, 1), dilation_rate=(1, 1))
