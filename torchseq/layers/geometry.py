"""Kernel, stride and padding arithmetic, and channels-first views; no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchseq.base import arguments, settings
from torchseq.base.types import Shape

PADDINGS = ("valid", "same")


def data_format_of(owner: Any, value: str | None) -> str:
    """Return the layout asked for, or the default one.

    Raises:
        ValueError: for anything but `"channels_last"`, `"channels_first"` and None.
    """
    if value is None:
        return settings.image_data_format()
    allowed = ("channels_last", "channels_first")
    return str(arguments.one_of(owner, "data_format", str(value).lower(), allowed))


def padding_of(owner: Any, value: str, allowed: tuple[str, ...] = PADDINGS) -> str:
    """Return the padding's name in lower case.

    Raises:
        ValueError: if it is not one of `allowed`.
    """
    return str(arguments.one_of(owner, "padding", str(value).lower(), allowed))


def channels_first(inputs: Tensor, data_format: str) -> Tensor:
    """Return a view with the channels second; no copy: torch calls its memory channels-last."""
    if data_format == "channels_first":
        return inputs
    last = inputs.ndim - 1
    return inputs.permute(0, last, *range(1, last))  # (batch, channels, *spatial)


def as_format(outputs: Tensor, data_format: str) -> Tensor:
    """Return a channels-first tensor in the layer's layout; a view as well."""
    if data_format == "channels_first":
        return outputs
    return outputs.permute(0, *range(2, outputs.ndim), 1)  # (batch, *spatial, channels)


def split_shape(shape: Shape, data_format: str) -> tuple[Shape, int | None]:
    """Return a shape's spatial sizes and its number of channels."""
    if data_format == "channels_last":
        return shape[1:-1], shape[-1]
    return shape[2:], shape[1]


def join_shape(batch: int | None, spatial: Shape, channels: int | None, data_format: str) -> Shape:
    """Return the shape with these sizes in the layer's layout."""
    if data_format == "channels_last":
        return (batch, *spatial, channels)
    return (batch, channels, *spatial)


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return the cells to add before and after, so that `ceil(size / stride)` windows fit.

    An odd number puts the extra cell at the end.
    """
    windows = -(-size // stride)
    total = max((windows - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def window_count(
    size: int | None, kernel: int, stride: int, padding: str, dilation: int = 1
) -> int | None:
    """Return how many windows fit along one axis; None if its size is not known."""
    if size is None:
        return None
    if padding in ("same", "causal"):
        return -(-size // stride)
    return (size - (kernel - 1) * dilation - 1) // stride + 1


def pad_same(
    inputs: Tensor,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    value: float = 0.0,
) -> Tensor:
    """Pad the spatial axes of a channels-first tensor as "same" demands for its sizes."""
    amounts: list[int] = []
    for axis in reversed(range(len(kernel))):  # F.pad wants the last axis first
        size = inputs.shape[2 + axis]
        amounts += same_padding(size, kernel[axis], strides[axis], dilation[axis])
    return F.pad(inputs, amounts, value=value) if any(amounts) else inputs


def pad(inputs: Tensor, margins: Sequence[tuple[int, int]], data_format: str) -> Tensor:
    """Put zeros before and after each spatial axis of a tensor in a layer's layout."""
    amounts = [0, 0] if data_format == "channels_last" else []
    for before, after in reversed(margins):  # F.pad wants the last axis first
        amounts += [before, after]
    return F.pad(inputs, amounts) if any(amounts) else inputs


def check_fits(owner: Any, input_shape: Shape, output_spatial: Shape, what: str) -> None:
    """Raise ValueError if no window fits the input."""
    if any(size is not None and size <= 0 for size in output_spatial):
        raise ValueError(
            f"{arguments.owner_name(owner)}: its {what} must fit into the input; got an input of "
            f"shape {tuple(input_shape)}, which gives an output of spatial sizes "
            f"{tuple(output_spatial)}. Use a larger input, a smaller {what}, or padding='same'."
        )
