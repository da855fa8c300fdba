"""Transposed convolutions of one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from torchseq.base import arguments
from torchseq.base.types import Identifier, Shape
from torchseq.layers.convolutional import Convolutional
from torchseq.layers.defaults import with_defaults
from torchseq.layers.rows import RowConvTranspose1d

_MODULES: dict[int, type[nn.Module]] = {
    1: RowConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


class _ConvTranspose(Convolutional):
    """Transposed convolution of any rank."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
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
        self.output_padding = self._read_output_padding(output_padding)
        self._refuse_strides_with_dilation()

    def _read_output_padding(self, value: Any) -> tuple[int, ...] | None:
        if value is None:
            return None
        entries = arguments.integer_tuple(self, "output_padding", value, self.rank, minimum=0)
        if any(entry >= stride for entry, stride in zip(entries, self.strides, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: `output_padding` must be below `strides` on each axis; "
                f"got output_padding={value!r}, strides={self.strides}."
            )
        return entries

    def build(self, input_shape: Shape) -> None:
        """Make the torch transposed convolution."""
        channels = self._read_channels(input_shape)
        margins = [self._margins(axis) for axis in range(self.rank)]
        # torch cuts off as much at both ends, and gives some of the end back.
        given_back = [max(before - after, 0) for before, after in margins]
        self._cuts = tuple(max(after - before, 0) for before, after in margins)
        self.convolution = self.torch_module(
            _MODULES[self.rank],
            channels,
            self.filters,
            self.kernel_size,
            stride=self.strides,
            padding=tuple(before for before, _ in margins),
            output_padding=tuple(given_back),
            dilation=self.dilation_rate,
            bias=self.use_bias,
        )
        kernel_axes = (*range(2, self.rank + 2), 1, 0)  # torch keeps (channels, filters, *spatial)
        self.expose("kernel", self.convolution, "weight", axes=kernel_axes)
        if self.use_bias:
            self.expose("bias", self.convolution, "bias")

    def _margins(self, axis: int) -> tuple[int, int]:
        """Return what to cut off before and after all cells that the kernel reaches.

        After may be negative: cells that no window reaches, which hold the bias alone.
        """
        extent = (self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1
        total = extent - self._excess(axis)
        if self.padding == "valid":
            return 0, total
        before = max(total // 2, 0)  # an odd cell goes at the end, as in "same" padding
        return before, total - before

    def _excess(self, axis: int) -> int:
        """Return by how much the output is longer than `(size - 1) * stride`."""
        extent = (self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1
        stride = self.strides[axis]
        if self.output_padding is None:
            return stride if self.padding == "same" else max(extent, stride)
        base = extent % 2 if self.padding == "same" else extent
        return base + self.output_padding[axis]

    def _convolve(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.convolution(inputs)
        for axis, cut in enumerate(self._cuts, start=2):
            if cut:
                outputs = outputs.narrow(axis, 0, outputs.shape[axis] - cut)
        return outputs

    def _output_size(self, axis: int, size: int) -> int:
        return (size - 1) * self.strides[axis] + self._excess(axis)


class Conv1DTranspose(_ConvTranspose):
    """1D transposed convolution: spreads each step over a window, and adds the windows up.

    Args:
        filters: number of output channels.
        kernel_size: length of the window, in steps.
        strides: steps from one window to the next, in the output.
        padding: `"valid"` (all that the windows reach) or `"same"` (`steps * stride` steps).
        output_padding: steps to add at the end, below `strides`; None lets `padding` decide.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
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
        ValueError: if a size is not positive, `output_padding` is not below `strides`, strides and
            dilation are both above 1, or nothing is left of the output.

    Source: keras.layers.Conv1DTranspose.
    """

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """2D transposed convolution: spreads each cell over a window, and adds the windows up.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the window; one integer for both.
        strides: steps of the window in the output, along height and width.
        padding: `"valid"` (all that the windows reach) or `"same"` (`size * stride` cells).
        output_padding: cells to add at the end, below `strides`; None lets `padding` decide.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        dilation_rate: distance between the window's cells.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        kernel_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        kernel_constraint, bias_constraint: projection of the weight after each update.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, filters)`; channels
        second with channels_first.

    Raises:
        ValueError: if a size is not positive, `output_padding` is not below `strides`, strides and
            dilation are both above 1, or nothing is left of the output.

    Source: keras.layers.Conv2DTranspose.
    """

    rank = 2
    __init__ = with_defaults(_ConvTranspose.__init__, strides=(1, 1), dilation_rate=(1, 1))


class Conv3DTranspose(_ConvTranspose):
    """3D transposed convolution: spreads each cell over a window, and adds the windows up.

    Args:
        filters: number of output channels.
        kernel_size: depth, height and width of the window; one integer for all.
        strides: steps of the window in the output, along each axis.
        padding: `"valid"` (all that the windows reach) or `"same"` (`size * stride` cells).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        output_padding: cells to add at the end, below `strides`; None lets `padding` decide.
        dilation_rate: distance between the window's cells.
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
        ValueError: if a size is not positive, `output_padding` is not below `strides`, strides and
            dilation are both above 1, or nothing is left of the output.

    Source: keras.layers.Conv3DTranspose.
    """

    rank = 3

    def __init__(  # Keras has the fifth and sixth arguments the other way round in 3D
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: int | Sequence[int] | None = None,
        dilation_rate: int | Sequence[int] = (1, 1, 1),
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
            filters,
            kernel_size,
            strides,
            padding,
            output_padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            **layer_options,
        )
