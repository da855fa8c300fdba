"""Pooling to a given size, over one to three spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Shape
from torchseq.layers import geometry
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer

_Function = Callable[..., Any]

_MAXIMA: dict[int, _Function] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}
_MEANS: dict[int, _Function] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


class _AdaptivePooling(Layer):
    """What these layers share; a subclass says how many spatial axes it has."""

    rank: int
    functions: dict[int, _Function]

    def __init__(
        self,
        output_size: int | Sequence[int],
        data_format: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        if not arguments.is_integer(output_size) and not isinstance(output_size, list | tuple):
            raise TypeError(
                f"{type(self).__name__}: `output_size` must be an integer or a tuple of "
                f"{self.rank} integers; got output_size={output_size!r}."
            )
        self.output_size = arguments.integer_tuple(self, "output_size", output_size, self.rank)
        self.data_format = geometry.data_format_of(self, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Tensor) -> Tensor:
        """Pool as many windows as asked for; they overlap where the sizes ask for it."""
        inputs = geometry.channels_first(inputs, self.data_format)
        outputs = self.functions[self.rank](inputs, self.output_size)
        return geometry.as_format(outputs, self.data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with `output_size` for the spatial sizes."""
        _, channels = geometry.split_shape(input_shape, self.data_format)
        return geometry.join_shape(input_shape[0], self.output_size, channels, self.data_format)


class _AdaptiveMaxPooling(_AdaptivePooling):
    functions = _MAXIMA


class _AdaptiveAveragePooling(_AdaptivePooling):
    functions = _MEANS
    casts_integers = True


class AdaptiveAveragePooling1D(_AdaptiveAveragePooling):
    """Takes the means of windows of steps that fill a given size.

    Window `i` of `n` goes from `floor(i * size / n)` up to `ceil((i + 1) * size / n)`.

    Args:
        output_size: number of windows.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, steps, channels)` -> `(batch, output_size, channels)`; channels second with
        channels_first.

    Raises:
        TypeError: if `output_size` is no integer and no tuple.
        ValueError: if it has another length or an entry that is not positive.

    Source: keras.layers.AdaptiveAveragePooling1D.
    """

    rank = 1


class AdaptiveAveragePooling2D(_AdaptiveAveragePooling):
    """Takes the means of windows of height and width that fill a given size.

    Window `i` of `n` goes from `floor(i * size / n)` up to `ceil((i + 1) * size / n)`.

    Args:
        output_size: numbers of windows along height and width; one integer for both.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, *output_size, channels)`; channels second
        with channels_first.

    Raises:
        TypeError: if `output_size` is no integer and no tuple.
        ValueError: if it has another length or an entry that is not positive.

    Source: keras.layers.AdaptiveAveragePooling2D.
    """

    rank = 2


class AdaptiveAveragePooling3D(_AdaptiveAveragePooling):
    """Takes the means of windows of depth, height and width that fill a given size.

    Window `i` of `n` goes from `floor(i * size / n)` up to `ceil((i + 1) * size / n)`.

    Args:
        output_size: numbers of windows along depth, height and width; one integer for all.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *output_size, channels)`; channels
        second with channels_first.

    Raises:
        TypeError: if `output_size` is no integer and no tuple.
        ValueError: if it has another length or an entry that is not positive.

    Source: keras.layers.AdaptiveAveragePooling3D.
    """

    rank = 3


class AdaptiveMaxPooling1D(_AdaptiveMaxPooling):
    """Takes the maxima of windows of steps that fill a given size.

    Window `i` of `n` goes from `floor(i * size / n)` up to `ceil((i + 1) * size / n)`.

    Args:
        output_size: number of windows.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, steps, channels)` -> `(batch, output_size, channels)`; channels second with
        channels_first.

    Raises:
        TypeError: if `output_size` is no integer and no tuple.
        ValueError: if it has another length or an entry that is not positive.

    Source: keras.layers.AdaptiveMaxPooling1D.
    """

    rank = 1


class AdaptiveMaxPooling2D(_AdaptiveMaxPooling):
    """Takes the maxima of windows of height and width that fill a given size.

    Window `i` of `n` goes from `floor(i * size / n)` up to `ceil((i + 1) * size / n)`.

    Args:
        output_size: numbers of windows along height and width; one integer for both.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, *output_size, channels)`; channels second
        with channels_first.

    Raises:
        TypeError: if `output_size` is no integer and no tuple.
        ValueError: if it has another length or an entry that is not positive.

    Source: keras.layers.AdaptiveMaxPooling2D.
    """

    rank = 2


class AdaptiveMaxPooling3D(_AdaptiveMaxPooling):
    """Takes the maxima of windows of depth, height and width that fill a given size.

    Window `i` of `n` goes from `floor(i * size / n)` up to `ceil((i + 1) * size / n)`.

    Args:
        output_size: numbers of windows along depth, height and width; one integer for all.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *output_size, channels)`; channels
        second with channels_first.

    Raises:
        TypeError: if `output_size` is no integer and no tuple.
        ValueError: if it has another length or an entry that is not positive.

    Source: keras.layers.AdaptiveMaxPooling3D.
    """

    rank = 3
