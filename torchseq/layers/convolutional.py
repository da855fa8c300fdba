"""What all convolutions share: a window that moves over one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from torchseq.base import arguments
from torchseq.base.types import Config, Identifier, Shape
from torchseq.layers import geometry
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer
from torchseq.layers.rows import RowConv1d

_MODULES: dict[int, type[nn.Module]] = {1: RowConv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_WEIGHT_OPTIONS = ("initializer", "regularizer", "constraint")


class Convolutional(Layer):
    """What convolutions of all kinds and ranks share: the window, and the options of the weights.

    A subclass says how many spatial axes it has (`rank`), which weights its options are for
    (`weight_roles`), makes the torch modules in `build`, and applies them in `_convolve`.
    """

    rank: int
    weight_roles: tuple[str, ...] = ("kernel", "bias")
    paddings: tuple[str, ...] = geometry.PADDINGS
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
            f"{role}_{kind}": options.pop(f"{role}_{kind}")
            for role in self.weight_roles
            for kind in _WEIGHT_OPTIONS
        }
        super().__init__(**options)
        self.kernel_size = arguments.integer_tuple(self, "kernel_size", kernel_size, self.rank)
        self.strides = arguments.integer_tuple(self, "strides", strides, self.rank)
        self.padding = geometry.padding_of(self, padding, self.paddings)
        self.data_format = geometry.data_format_of(self, data_format)
        self.dilation_rate = arguments.integer_tuple(
            self, "dilation_rate", dilation_rate, self.rank
        )
        self.resolve(activation=activation, **weight_options)
        self.use_bias = use_bias
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
        windows = zip(self.kernel_size, self.strides, self.dilation_rate, strict=True)
        if self.padding == "causal":
            margins = [((kernel - 1) * dilation, 0) for kernel, _, dilation in windows]
        else:
            sizes, _ = geometry.split_shape(tuple(inputs.shape), self.data_format)
            margins = [
                geometry.same_padding(size or 0, *window)
                for size, window in zip(sizes, windows, strict=True)
            ]
        return geometry.pad(inputs, margins, self.data_format)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute `activation(convolution(inputs, kernel) + bias)`."""
        if self._pads_first:
            inputs = self._padded(inputs)
        outputs = self._convolve(geometry.channels_first(inputs, self.data_format))
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
