"""Pooling over all of one to three spatial axes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchseq.base.types import Shape
from torchseq.layers import geometry
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer


class _GlobalPooling(Layer):
    """What these layers share; a subclass says how many spatial axes it has."""

    rank: int

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **layer_options: Any
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.keepdims = keepdims
        first = 1 if self.data_format == "channels_last" else 2
        self._axes = tuple(range(first, first + self.rank))
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the batch size and the channels, with ones between if `keepdims`."""
        _, channels = geometry.split_shape(input_shape, self.data_format)
        if not self.keepdims:
            return (input_shape[0], channels)
        return geometry.join_shape(input_shape[0], (1,) * self.rank, channels, self.data_format)


class _GlobalMaxPooling(_GlobalPooling):
    def call(self, inputs: Tensor) -> Tensor:
        """Compute the largest entry of each channel."""
        return inputs.amax(self._axes, keepdim=self.keepdims)


class _GlobalAveragePooling(_GlobalPooling):
    casts_integers = True

    def call(self, inputs: Tensor) -> Tensor:
        """Compute the mean of each channel."""
        return inputs.mean(self._axes, keepdim=self.keepdims)


class GlobalMaxPooling1D(_GlobalMaxPooling):
    """Takes the largest entry of each channel over all steps.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        keepdims: keep the pooled axis, with size 1.

    Shapes:
        `(batch, steps, channels)` -> `(batch, channels)`, or `(batch, 1, channels)` if `keepdims`;
        channels second with channels_first.

    Source: keras.layers.GlobalMaxPooling1D.
    """

    rank = 1


class GlobalMaxPooling2D(_GlobalMaxPooling):
    """Takes the largest entry of each channel over height and width.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        keepdims: keep the pooled axes, with size 1.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, channels)`, or `(batch, 1, 1, channels)` if
        `keepdims`; channels second with channels_first.

    Source: keras.layers.GlobalMaxPooling2D.
    """

    rank = 2


class GlobalMaxPooling3D(_GlobalMaxPooling):
    """Takes the largest entry of each channel over depth, height and width.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        keepdims: keep the pooled axes, with size 1.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, channels)`, or
        `(batch, 1, 1, 1, channels)` if `keepdims`; channels second with channels_first.

    Source: keras.layers.GlobalMaxPooling3D.
    """

    rank = 3


class GlobalAveragePooling1D(_GlobalAveragePooling):
    """Takes the mean of each channel over all steps, or over those that a mask lets count.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        keepdims: keep the pooled axis, with size 1.

    Shapes:
        `(batch, steps, channels)` -> `(batch, channels)`, or `(batch, 1, channels)` if `keepdims`;
        channels second with channels_first.
        The mask is `(batch, steps)`, and ends here.

    Source: keras.layers.GlobalAveragePooling1D, also in that a sample without a step that counts
        gives NaN.
    """

    rank = 1

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the mean over the steps that count."""
        if mask is None:
            return inputs.mean(self._axes, keepdim=self.keepdims)
        counts = mask.bool().unsqueeze(-1 if self.data_format == "channels_last" else 1)
        sums = inputs.masked_fill(~counts, 0).sum(self._axes, keepdim=self.keepdims)
        return sums / counts.sum(self._axes, keepdim=self.keepdims).to(sums.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None: the masked axis is gone."""


class GlobalAveragePooling2D(_GlobalAveragePooling):
    """Takes the mean of each channel over height and width.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        keepdims: keep the pooled axes, with size 1.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, channels)`, or `(batch, 1, 1, channels)` if
        `keepdims`; channels second with channels_first.

    Source: keras.layers.GlobalAveragePooling2D.
    """

    rank = 2


class GlobalAveragePooling3D(_GlobalAveragePooling):
    """Takes the mean of each channel over depth, height and width.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        keepdims: keep the pooled axes, with size 1.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, channels)`, or
        `(batch, 1, 1, 1, channels)` if `keepdims`; channels second with channels_first.

    Source: keras.layers.GlobalAveragePooling3D.
    """

    rank = 3
