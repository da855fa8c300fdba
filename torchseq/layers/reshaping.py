"""Layers that change the shape and keep the entries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Shape
from torchseq.layers import geometry
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer


class Flatten(Layer):
    """Joins all axes but the first, in channels-last order.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, *sizes)` -> `(batch, product of sizes)`; `(batch,)` -> `(batch, 1)`

    Source: keras.layers.Flatten.
    """

    def __init__(self, data_format: str | None = None, **layer_options: Any):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.input_spec = InputSpec(min_ndim=1)
        self._channels_first = self.data_format == "channels_first"

    def call(self, inputs: Tensor) -> Tensor:
        """Return the flattened tensor; a view of the input where its memory allows one."""
        if inputs.ndim < 2:
            return inputs.reshape(-1, 1)
        if self._channels_first and inputs.ndim > 2:
            inputs = inputs.movedim(1, -1)
        return inputs.flatten(1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return `(batch, product of the other sizes)`."""
        sizes = input_shape[1:]
        known = [size for size in sizes if size is not None]
        flat = math.prod(known) if len(known) == len(sizes) else None
        return (input_shape[0], flat)


class Reshape(Layer):
    """Gives each sample another shape.

    Args:
        target_shape: sizes without the batch axis; one may be -1, which takes what is left.

    Shapes:
        `(batch, *sizes)` -> `(batch, *target_shape)`

    Raises:
        ValueError: if two sizes are -1, or the numbers of entries differ.

    Source: keras.layers.Reshape.
    """

    def __init__(self, target_shape: int | Sequence[int], **layer_options: Any):
        super().__init__(**layer_options)
        entries: tuple[Any, ...] = (
            tuple(target_shape) if isinstance(target_shape, Iterable) else (target_shape,)
        )
        if not all(arguments.is_integer(entry) and entry >= -1 for entry in entries):
            raise ValueError(
                "Reshape: `target_shape` must be a tuple of integers, each at least -1; got "
                f"target_shape={target_shape!r}."
            )
        if entries.count(-1) > 1:
            raise ValueError(
                "Reshape: at most one entry of `target_shape` may be -1; got "
                f"target_shape={target_shape!r}."
            )
        self.target_shape = tuple(int(entry) for entry in entries)
        self.built = True

    def _check_shape(self, shape: Shape) -> None:
        super()._check_shape(shape)
        self.compute_output_shape(shape)  # the entries must fit

    def call(self, inputs: Tensor) -> Tensor:
        """Return the input in the target shape; a view where its memory allows one."""
        if inputs.numel() == 0:  # a -1 could be anything
            return inputs.reshape(self.compute_output_shape(tuple(inputs.shape)))  # type: ignore[arg-type]
        return inputs.reshape(inputs.shape[0], *self.target_shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the target shape behind the batch axis, its -1 worked out if possible."""
        sizes = input_shape[1:]
        if any(size is None for size in sizes):
            return (input_shape[0], *(None if e == -1 else e for e in self.target_shape))
        count = math.prod(size for size in sizes if size is not None)
        known = math.prod(entry for entry in self.target_shape if entry != -1)
        if (count != known) if -1 not in self.target_shape else (known == 0 or count % known):
            raise ValueError(
                f"Layer {self.name!r} (Reshape): `target_shape` must hold as many entries as a "
                f"sample; got target_shape={self.target_shape} for samples of shape {sizes}."
            )
        return (input_shape[0], *(count // known if e == -1 else e for e in self.target_shape))


class Permute(Layer):
    """Puts the axes of each sample into another order.

    Args:
        dims: the axes in their new order; the first behind the batch axis is 1.

    Shapes:
        `(batch, *sizes)` -> `(batch, *sizes in the new order)`; a view.

    Raises:
        ValueError: unless `dims` holds each number from 1 to its length once.

    Source: keras.layers.Permute.
    """

    def __init__(self, dims: Sequence[int], **layer_options: Any):
        super().__init__(**layer_options)
        entries = tuple(dims) if isinstance(dims, Iterable) else ()
        if not entries or set(entries) != set(range(1, len(entries) + 1)):
            raise ValueError(
                "Permute: `dims` must hold each number from 1 to its length once; got "
                f"dims={dims!r}. The batch axis, 0, stays and is left out."
            )
        self.dims = tuple(int(entry) for entry in entries)
        self.input_spec = InputSpec(ndim=len(entries) + 1)

    def call(self, inputs: Tensor) -> Tensor:
        """Return a view with the axes in their new order."""
        return inputs.permute(0, *self.dims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the sizes in their new order."""
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))


class RepeatVector(Layer):
    """Makes a sequence of each vector: `n` times the same step.

    Args:
        n: number of steps.

    Shapes:
        `(batch, features)` -> `(batch, n, features)`; a view, whose steps share their memory.

    Raises:
        TypeError: if `n` is no integer.
        ValueError: if it is not positive.

    Source: keras.layers.RepeatVector.
    """

    def __init__(self, n: int, **layer_options: Any):
        super().__init__(**layer_options)
        if not arguments.is_integer(n):
            raise TypeError(f"RepeatVector: `n` must be an integer; got n={n!r}.")
        self.n = arguments.positive_integer(self, "n", n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Tensor) -> Tensor:
        """Return a view with a new axis of `n` equal entries."""
        return inputs.unsqueeze(1).expand(-1, self.n, -1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return `(batch, n, features)`."""
        return (input_shape[0], self.n, input_shape[1])
