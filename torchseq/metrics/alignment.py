"""Making targets, predictions, weights and masks of different ranks fit each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base.variable import as_tensor


def match_ranks(first: Tensor, second: Tensor, expand_rank_1: bool = True) -> tuple[Tensor, Tensor]:
    """Bring two tensors whose ranks differ by one to one rank, where a last axis of 1 allows it.

    Args:
        expand_rank_1: add an axis to the one of rank 1 rather than take it off the other.

    Source: Keras's squeeze_or_expand_to_same_rank.
    """
    if first.ndim == second.ndim:
        return first, second
    if first.ndim == second.ndim + 1 and first.shape[-1] == 1:
        if second.ndim == 1 and expand_rank_1:
            return first, second.unsqueeze(-1)
        return first.squeeze(-1), second
    if second.ndim == first.ndim + 1 and second.shape[-1] == 1:
        if first.ndim == 1 and expand_rank_1:
            return first.unsqueeze(-1), second
        return first, second.squeeze(-1)
    return first, second


def masked_weight(sample_weight: Any, mask: Tensor | None, dtype: torch.dtype) -> Any:
    """Return the weights with 0 for masked entries; None if there are neither weights nor mask."""
    if mask is None:
        return sample_weight
    weight = mask.to(dtype)
    if sample_weight is None:
        return weight
    given = as_tensor(sample_weight).to(device=weight.device, dtype=dtype)
    weight, given = match_ranks(weight, given)
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
