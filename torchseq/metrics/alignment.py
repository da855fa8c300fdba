"""Making weights and masks fit the values that they weigh, and checks of shapes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base.variable import as_tensor
from torchseq.losses.loss import align_ranks


def masked_weight(sample_weight: Any, mask: Tensor | None, dtype: torch.dtype) -> Any:
    """Return the weights with 0 for masked entries; None if there are neither weights nor mask."""
    if mask is None:
        return sample_weight
    weight = mask.to(dtype)
    if sample_weight is None:
        return weight
    given = as_tensor(sample_weight).to(device=weight.device, dtype=dtype)
    weight, given = align_ranks(weight, given)
    # A weight per sample is one for each of its steps, as in losses.
    given = given.reshape(*given.shape, *[1] * (weight.ndim - given.ndim))
    return weight * given


def check_weight(weight_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise unless weights of a shape can weigh values of a shape.

    Raises:
        ValueError: if they cannot.
    """
    sizes = zip(reversed(weight_shape), reversed(shape), strict=False)
    if len(weight_shape) > len(shape) or any(size not in (1, other) for size, other in sizes):
        advice = (
            "" if shape else " The function has made one value of all: have it return one each."
        )
        raise ValueError(
            "sample_weight: weights must have the shape of a metric's values, or of their first "
            f"axes; got weights of shape {weight_shape} for values of shape {shape}.{advice}"
        )


def check_same_shape(owner: str, y_true: Tensor, y_pred: Tensor, advice: str = "") -> None:
    """Raise unless the shapes are equal, where torch would broadcast one to the other.

    Raises:
        ValueError: if they differ.
    """
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{owner}: targets and predictions must have the same shape; got "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}.{advice}"
        )
