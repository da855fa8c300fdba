"""Layers that make the spatial axes longer, by repeating cells or by interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base import arguments
from torchseq.layers import geometry
from torchseq.layers.resizing import SpatialResizing

INTERPOLATIONS = ("bicubic", "bilinear", "lanczos3", "lanczos5", "nearest")


class _UpSampling(SpatialResizing):
    """Up-sampling by whole factors."""

    factors: tuple[int, ...]

    def call(self, inputs: Tensor) -> Tensor:
        """Repeat each cell along each spatial axis."""
        first, sizes = self._first_axis, [-1] * (inputs.ndim + self.rank)
        for axis, factor in enumerate(self.factors):
            inputs = inputs.unsqueeze(first + 2 * axis + 1)
            sizes[first + 2 * axis + 1] = factor
        outputs = inputs.expand(sizes)  # (..., size, factor, size, factor, ...)
        for axis in range(self.rank):  # the first flattening copies, the others are views
            outputs = outputs.flatten(first + axis, first + axis + 1)
        return outputs

    def _new_size(self, axis: int, size: int) -> int:
        return size * self.factors[axis]


class UpSampling1D(_UpSampling):
    """Repeats each step.

    Args:
        size: how often.

    Shapes:
        `(batch, steps, channels)` -> `(batch, steps * size, channels)`

    Raises:
        TypeError: if `size` is no integer.
        ValueError: if it is not positive.

    Source: keras.layers.UpSampling1D.
    """

    rank = 1

    def __init__(self, size: int = 2, **layer_options: Any):
        super().__init__(**layer_options)
        if not arguments.is_integer(size):
            raise TypeError(f"UpSampling1D: `size` must be an integer; got size={size!r}.")
        self.size = arguments.positive_integer(self, "size", size)
        self.factors = (self.size,)


class UpSampling2D(_UpSampling):
    """Makes images larger, by repeating rows and columns or by interpolation.

    Args:
        size: factors for height and width; one integer for both.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.
        interpolation: `"nearest"` (repeats), `"bilinear"`, `"bicubic"`, `"lanczos3"` or
            `"lanczos5"`. Cells have their values at their centers.

    Shapes:
        `(batch, height, width, channels)` -> `(batch, new_height, new_width, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if a factor is not positive or `interpolation` is none of these.

    Source: keras.layers.UpSampling2D on its torch backend, where bicubic is torch's, with factor
        −0.75; the others have −0.5. Lanczos, which that backend lacks, is as on the others.
    """

    rank = 2

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.size = self.factors = arguments.integer_tuple(self, "size", size, self.rank)
        self.interpolation = str(
            arguments.one_of(self, "interpolation", str(interpolation).lower(), INTERPOLATIONS)
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Return the larger images, in the input's dtype."""
        if self.interpolation == "nearest":
            return super().call(inputs)
        images = geometry.channels_first(inputs, self.data_format)
        if not images.is_floating_point():
            images = images.to(torch.float32)
        if self.interpolation.startswith("lanczos"):
            images = _resample(images, self.factors, radius=int(self.interpolation[-1]))
        else:
            sizes = zip(images.shape[2:], self.factors, strict=True)
            new_sizes = [size * factor for size, factor in sizes]
            images = F.interpolate(images, new_sizes, mode=self.interpolation, align_corners=False)
        if not inputs.is_floating_point():
            limits = torch.iinfo(inputs.dtype)
            images = images.round().clamp(limits.min, limits.max).to(inputs.dtype)
        return geometry.as_format(images, self.data_format)


def _resample(images: Tensor, factors: tuple[int, ...], radius: int) -> Tensor:
    """Interpolate height and width by Lanczos's kernel."""
    rows, columns = (
        _lanczos_weights(size, factor, radius, images.device).to(images.dtype)
        for size, factor in zip(images.shape[2:], factors, strict=True)
    )
    return rows @ images @ columns.T  # (batch, channels, new_height, new_width)


def _lanczos_weights(size: int, factor: int, radius: int, device: torch.device) -> Tensor:
    """Return the weight of each of `size` cells in each of `size * factor`; rows add up to one."""
    old = torch.arange(size, dtype=torch.float64, device=device)
    new = (torch.arange(size * factor, dtype=torch.float64, device=device) + 0.5) / factor - 0.5
    distance = new[:, None] - old
    weights = torch.sinc(distance) * torch.sinc(distance / radius)
    weights = weights.masked_fill(distance.abs() > radius, 0.0)
    return weights / weights.sum(1, keepdim=True)  # at the edges, cells are missing


class UpSampling3D(_UpSampling):
    """Repeats each cell along depth, height and width.

    Args:
        size: how often along each axis; one integer for all.
        data_format: `"channels_last"` or `"channels_first"`; the default layout if None.

    Shapes:
        `(batch, depth, height, width, channels)` -> `(batch, *new_sizes, channels)`; channels
        second with channels_first.

    Raises:
        ValueError: if a factor is not positive.

    Source: keras.layers.UpSampling3D.
    """

    rank = 3

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2, 2),
        data_format: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.data_format = geometry.data_format_of(self, data_format)
        self.size = self.factors = arguments.integer_tuple(self, "size", size, self.rank)
