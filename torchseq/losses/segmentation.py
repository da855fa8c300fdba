"""Losses for masks: how much of the target a prediction covers.

Source: keras.losses.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchseq.base import settings
from torchseq.losses.loss import NamedLoss, paired


def dice(y_true: Tensor, y_pred: Tensor, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Return `1 - 2 * sum(y_true * y_pred) / (sum(y_true) + sum(y_pred))`.

    Args:
        y_true, y_pred: masks with values in [0, 1].
        axis: over which the sums go; None means all, the batch included.

    Raises:
        ValueError: if the shapes do not go together.
    """
    y_true, y_pred = paired("dice", y_true, y_pred)
    overlap = (y_true * y_pred).sum(axis)
    total = y_true.sum(axis) + y_pred.sum(axis) + settings.epsilon()
    return 1 - 2.0 * overlap / total


def tversky(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: int | tuple[int, ...] | None = None,
) -> Tensor:
    """Return 1 minus the Tversky index, a Dice coefficient that weighs the two kinds of error.

    Args:
        y_true, y_pred: masks with values in [0, 1].
        alpha: weight of what the prediction misses, as Keras has it.
        beta: weight of what it has too much.
        axis: over which the sums go; None means all, the batch included.

    Raises:
        ValueError: if the shapes do not go together.
    """
    y_true, y_pred = paired("tversky", y_true, y_pred)
    overlap = (y_true * y_pred).sum(axis)
    missed = ((1 - y_pred) * y_true).sum(axis)
    excess = (y_pred * (1 - y_true)).sum(axis)
    return 1 - overlap / (overlap + missed * alpha + excess * beta + settings.epsilon())


class Dice(NamedLoss):
    """1 minus the Dice coefficient of two masks.

    Args:
        reduction, name, dtype: see `Loss`.
        axis: over which the sums go; None means all, the batch included.

    Source: keras.losses.Dice.
    """

    _saved = ("axis",)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: int | tuple[int, ...] | None = None,
        dtype: Any = None,
    ):
        super().__init__(dice, reduction, name, dtype, axis=axis)


class Tversky(NamedLoss):
    """1 minus the Tversky index of two masks.

    Args:
        alpha, beta, axis: see `tversky`.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.Tversky; Salehi et al., 2017, arXiv:1706.05721.
    """

    _saved = ("alpha", "beta", "axis")

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: int | tuple[int, ...] | None = None,
        dtype: Any = None,
    ):
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)
