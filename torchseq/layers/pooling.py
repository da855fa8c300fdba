"""Pooling over one to three spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import arguments
from torchseq.base.types import Shape
from torchseq.layers import geometry
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer


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


class MaxPooling2D(_Pooling):
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

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(pool_size, strides, padding, data_format, name, **layer_options)
        self.pool = nn.MaxPool2d(self.pool_size, self.strides)

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the windows' maxima."""
        inputs = geometry.channels_first(inputs, self.data_format)
        if self.padding == "same":
            lowest = -math.inf if inputs.is_floating_point() else torch.iinfo(inputs.dtype).min
            inputs = geometry.pad_same(
                inputs, self.pool_size, self.strides, (1,) * self.rank, value=lowest
            )
        return geometry.as_format(self.pool(inputs), self.data_format)
