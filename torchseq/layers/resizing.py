"""Layers that make the spatial axes longer or shorter: zeros around them, or cut ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Shape
from torchseq.layers import geometry
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer

_Pairs = tuple[tuple[int, int], ...]
_Amounts = int | Sequence[int | Sequence[int]]


class SpatialResizing(Layer):
    """What layers that change the spatial sizes share; a subclass says how many there are."""

    rank: int
    data_format = "channels_last"  # of the layers that do not ask for it

    def __init__(self, **layer_options: Any):
        super().__init__(**layer_options)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def _first_axis(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape with the new spatial sizes."""
        spatial, channels = geometry.split_shape(input_shape, self.data_format)
        sizes = tuple(
            None if size is None else self._new_size(axis, size)
            for axis, size in enumerate(spatial)
        )
        return geometry.join_shape(input_shape[0], sizes, channels, self.data_format)

    def _new_size(self, axis: int, size: int) -> int:
        """Return the size that the spatial axis gets, the first being 0."""
        raise NotImplementedError


def _read_pairs(layer: SpatialResizing, name: str, value: Any) -> _Pairs:
    """Return the amounts before and after each of several axes.

    Raises:
        ValueError: unless `value` is an integer, or has for each axis an integer or two, and none
            is negative.
    """
    entries = (value,) * layer.rank if arguments.is_integer(value) else value
    try:
        pairs = [(entry, entry) if arguments.is_integer(entry) else entry for entry in entries]
        is_right = len(pairs) == layer.rank and all(
            len(pair) == 2 and all(arguments.is_integer(one) and one >= 0 for one in pair)
            for pair in pairs
        )
    except TypeError:  # something has no length
        is_right = False
    if not is_right:
        raise ValueError(
            f"{type(layer).__name__}: `{name}` must be an integer, a tuple of {layer.rank} "
            f"integers, or a tuple of {layer.rank} pairs (before, after), none negative; got "
            f"{name}={value!r}."
        )
    return tuple((int(before), int(after)) for before, after in pairs)


class _ZeroPadding(SpatialResizing):
    """Zeros around the input."""

    pairs: _Pairs

    def call(self, inputs: Tensor) -> Tensor:
        """Return the input with zeros around it."""
        return geometry.pad(inputs, self.pairs, self.data_format)

    def _new_size(self, axis: int, size: int) -> int:
        return size + sum(self.pairs[axis])


class ZeroPadding1D(_ZeroPadding):
    """Adds steps of zeros before and after.

    Args:
        padding: number of steps; an integer for both ends, or (before, after).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, steps, channels)` -> `(batch, new_steps, channels)`; channels second with
        channels_first.

    Raises:
        ValueError: if a number is negative, or there are not two.

    Source: keras.layers.ZeroPadding1D.
    """

    rank = 1

    def __init__(
        self,
        padding: int | Sequence[int] = 1,
        data_format: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.padding = arguments.integer_tuple(self, "padding", padding, 2, minimum=0)
        self.pairs = ((self.padding[0], self.padding[1]),)


class ZeroPadding2D(_ZeroPadding):
    """Adds rows and columns of zeros around images.

    Args:
        padding: an integer for all sides, (height, width), or ((top, bottom), (left, right)).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if `padding` has another form or a number is negative.

    Source: keras.layers.ZeroPadding2D.
    """

    rank = 2

    def __init__(
        self,
        padding: _Amounts = (1, 1),
        data_format: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.padding = self.pairs = _read_pairs(self, "padding", padding)


class ZeroPadding3D(_ZeroPadding):
    """Adds zeros around volumes.

    Args:
        padding: an integer for all sides, an integer for each axis, or (before, after) for each.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *new_sizes, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if `padding` has another form or a number is negative.

    Source: keras.layers.ZeroPadding3D.
    """

    rank = 3

    def __init__(
        self,
        padding: _Amounts = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.padding = self.pairs = _read_pairs(self, "padding", padding)


class _Cropping(SpatialResizing):
    """What is left when the ends are cut off."""

    pairs: _Pairs
    cropping: tuple[Any, ...]

    def _check_shape(self, shape: Shape) -> None:
        super()._check_shape(shape)
        self.compute_output_shape(shape)  # something must be left

    def call(self, inputs: Tensor) -> Tensor:
        """Return what is left; a view."""
        for axis, (before, after) in enumerate(self.pairs, start=self._first_axis):
            if before or after:
                inputs = inputs.narrow(axis, before, inputs.shape[axis] - before - after)
        return inputs

    def _new_size(self, axis: int, size: int) -> int:
        left = size - sum(self.pairs[axis])
        if left <= 0:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): `cropping` must leave something of "
                f"each axis; got cropping={self.cropping} for a spatial axis {axis} of size {size}."
            )
        return left


class Cropping1D(_Cropping):
    """Cuts steps off, before and after.

    Args:
        cropping: number of steps; an integer for both ends, or (before, after).

    Shapes:
        `(batch, steps, channels)` -> `(batch, new_steps, channels)`; a view.

    Raises:
        ValueError: if a number is negative, there are not two, or nothing is left.

    Source: keras.layers.Cropping1D.
    """

    rank = 1

    def __init__(self, cropping: int | Sequence[int] = (1, 1), **layer_options: Any):
        super().__init__(**layer_options)
        self.cropping = arguments.integer_tuple(self, "cropping", cropping, 2, minimum=0)
        self.pairs = ((self.cropping[0], self.cropping[1]),)


class Cropping2D(_Cropping):
    """Cuts rows and columns off images.

    Args:
        cropping: an integer for all sides, (height, width), or ((top, bottom), (left, right)).
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, channels)`, a view;
        channels second with channels_first.

    Raises:
        ValueError: if `cropping` has another form, a number is negative, or nothing is left.

    Source: keras.layers.Cropping2D.
    """

    rank = 2

    def __init__(
        self,
        cropping: _Amounts = ((0, 0), (0, 0)),
        data_format: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.cropping = self.pairs = _read_pairs(self, "cropping", cropping)


class Cropping3D(_Cropping):
    """Cuts the ends off volumes.

    Args:
        cropping: an integer for all sides, an integer for each axis, or (before, after) for each.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *new_sizes, channels)`, a view;
        channels second with channels_first.

    Raises:
        ValueError: if `cropping` has another form, a number is negative, or nothing is left.

    Source: keras.layers.Cropping3D.
    """

    rank = 3

    def __init__(
        self,
        cropping: _Amounts = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.cropping = self.pairs = _read_pairs(self, "cropping", cropping)
