"""Pooling over windows of one to three spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Shape
from torchseq.layers import geometry, rows
from torchseq.layers.defaults import with_defaults
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer

_MAXIMA: dict[int, Callable[..., Any]] = {1: rows.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEANS: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class _Pooling(Layer):
    """What pooling layers of all ranks share; a subclass says how many spatial axes it has."""

    rank: int

    def __init__(
        self,
        pool_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(name=name, **layer_options)
        self.pool_size = arguments.integer_tuple(self, "pool_size", pool_size, self.rank)
        steps = self.pool_size if strides is None else strides
        self.strides = arguments.integer_tuple(self, "strides", steps, self.rank)
        self.padding = geometry.padding_of(self, padding)
        self.data_format = geometry.data_format_of(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def _check_shape(self, shape: Shape) -> None:
        super()._check_shape(shape)
        self.compute_output_shape(shape)  # the window must fit

    def call(self, inputs: Tensor) -> Tensor:
        """Pool each window."""
        inputs = geometry.channels_first(inputs, self.data_format)
        outputs = self._pool_same(inputs) if self.padding == "same" else self._pool(inputs)
        return geometry.as_format(outputs, self.data_format)

    def _pool(self, inputs: Tensor, **options: Any) -> Tensor:
        """Return torch's pooling with this window and these steps; channels are second."""
        raise NotImplementedError

    def _pool_same(self, inputs: Tensor) -> Tensor:
        """Pool as if cells that do not count lay around the input, and copy none of it.

        torch adds as many cells before as after. One more after is had by its `ceil_mode`, which
        lets the last window reach over the end; where the windows are one step apart, by one more
        on both sides, with the first window dropped.
        """
        padding, first = [], [slice(None), slice(None)]
        for size, window, stride in zip(
            inputs.shape[2:], self.pool_size, self.strides, strict=True
        ):
            before, after = geometry.same_padding(size, window, stride)
            padding.append(after if stride == 1 else before)
            first.append(slice(padding[-1] - before, None))
        return self._pool(inputs, padding=tuple(padding), ceil_mode=True)[tuple(first)]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape.

        Raises:
            ValueError: if the window does not fit the input.
        """
        spatial, channels = geometry.split_shape(input_shape, self.data_format)
        outputs = tuple(
            geometry.window_count(*sizes, self.padding)
            for sizes in zip(spatial, self.pool_size, self.strides, strict=True)
        )
        geometry.check_fits(self, input_shape, outputs, "window")
        return geometry.join_shape(input_shape[0], outputs, channels, self.data_format)


class _MaxPooling(_Pooling):
    def _pool(self, inputs: Tensor, **options: Any) -> Tensor:
        return _MAXIMA[self.rank](inputs, self.pool_size, self.strides, **options)  # type: ignore[no-any-return]


class _AveragePooling(_Pooling):
    casts_integers = True

    def _pool(self, inputs: Tensor, **options: Any) -> Tensor:
        is_missing = self.rank == 3 and inputs.dtype.itemsize < 4 and inputs.device.type == "cpu"
        cells = inputs.float() if is_missing else inputs  # torch lacks it in 16 bits
        means: Tensor = _MEANS[self.rank](
            cells, self.pool_size, self.strides, count_include_pad=False, **options
        )
        return means.to(inputs.dtype)

    def _pool_same(self, inputs: Tensor) -> Tensor:
        sizes = zip(inputs.shape[2:], self.pool_size, strict=True)
        if self.rank < 3 or all(size >= window for size, window in sizes):
            return super()._pool_same(inputs)
        # torch's avg_pool3d refuses windows larger than the input, whatever the padding.
        ones = inputs.new_ones((1, 1, *inputs.shape[2:]))
        sums, counts = (
            self._pool(geometry.pad_same(cells, self.pool_size, self.strides, (1,) * self.rank))
            for cells in (inputs, ones)
        )
        return sums / counts


class MaxPooling1D(_MaxPooling):
    """Takes the largest entry of each window of steps.

    Args:
        pool_size: length of the window, in steps.
        strides: steps from one window to the next; `pool_size` by default.
        padding: `"valid"` (none) or `"same"` (`ceil(steps / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        name: unique by default.

    Shapes:
        `(batch, steps, channels)` -> `(batch, new_steps, channels)`; channels second with
        channels_first.

    Raises:
        ValueError: if a size is not positive or the window does not fit.

    Source: keras.layers.MaxPooling1D.
    """

    rank = 1
    __init__ = with_defaults(_Pooling.__init__, pool_size=2)


class MaxPooling2D(_MaxPooling):
    """Takes the largest entry of each window of height and width.

    Args:
        pool_size: height and width of the window; one integer for both.
        strides: steps of the window; `pool_size` by default.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        name: unique by default.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if a size is not positive or the window does not fit.

    Source: keras.layers.MaxPooling2D.
    """

    rank = 2
    __init__ = with_defaults(_Pooling.__init__, pool_size=(2, 2))


class MaxPooling3D(_MaxPooling):
    """Takes the largest entry of each window of depth, height and width.

    Args:
        pool_size: depth, height and width of the window; one integer for all.
        strides: steps of the window; `pool_size` by default.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        name: unique by default.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *new_sizes, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if a size is not positive or the window does not fit.

    Source: keras.layers.MaxPooling3D.
    """

    rank = 3
    __init__ = with_defaults(_Pooling.__init__, pool_size=(2, 2, 2))


class AveragePooling1D(_AveragePooling):
    """Takes the mean of each window of steps; cells that padding adds do not count.

    Args:
        pool_size: length of the window, in steps.
        strides: steps from one window to the next; `pool_size` by default.
        padding: `"valid"` (none) or `"same"` (`ceil(steps / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        name: unique by default.

    Shapes:
        `(batch, steps, channels)` -> `(batch, new_steps, channels)`; channels second with
        channels_first.

    Raises:
        ValueError: if a size is not positive or the window does not fit.

    Source: keras.layers.AveragePooling1D. Its torch backend counts the edge twice where "same"
        padding is uneven; its other backends do as this layer does.
    """

    rank = 1


class AveragePooling2D(_AveragePooling):
    """Takes the mean of each window of height and width; cells that padding adds do not count.

    Args:
        pool_size: height and width of the window; one integer for both.
        strides: steps of the window; `pool_size` by default.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        name: unique by default.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if a size is not positive or the window does not fit.

    Source: keras.layers.AveragePooling2D. Its torch backend counts the edge twice where "same"
        padding is uneven; its other backends do as this layer does.
    """

    rank = 2


class AveragePooling3D(_AveragePooling):
    """Takes the mean of each window of depth, height and width; added cells do not count.

    Args:
        pool_size: depth, height and width of the window; one integer for all.
        strides: steps of the window; `pool_size` by default.
        padding: `"valid"` (none) or `"same"` (`ceil(size / stride)` windows).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        name: unique by default.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *new_sizes, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if a size is not positive or the window does not fit.

    Source: keras.layers.AveragePooling3D. Its torch backend counts the edge twice where "same"
        padding is uneven; its other backends do as this layer does.
    """

    rank = 3
