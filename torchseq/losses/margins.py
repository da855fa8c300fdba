"""Losses that want the right class ahead of the others by a margin.

Source: keras.losses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.losses.loss import NamedLoss, paired


def _signed(y_true: Tensor) -> Tensor:
    """Return labels of 0 and 1 as -1 and 1; others, if there is any, as they are."""
    is_binary = ((y_true == 0) | (y_true == 1)).all()
    return torch.where(is_binary, 2.0 * y_true - 1.0, y_true)


def _positive_part(x: Tensor) -> Tensor:
    # Not relu: at 0, which a perfect prediction hits, Keras's gradient is a half.
    return torch.maximum(x, x.new_zeros(()))


def hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `mean(max(1 - y_true * y_pred, 0))` over the last axis; labels are ±1, or 0 and 1."""
    y_true, y_pred = paired("hinge", y_true, y_pred)
    return _positive_part(1.0 - _signed(y_true) * y_pred).mean(-1)


def squared_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `mean(max(1 - y_true * y_pred, 0)²)` over the last axis; labels as for `hinge`."""
    y_true, y_pred = paired("squared_hinge", y_true, y_pred)
    return torch.relu(1.0 - _signed(y_true) * y_pred).square().mean(-1)


def categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `max(1 + largest prediction of a wrong class - that of the true class, 0)`."""
    y_true, y_pred = paired("categorical_hinge", y_true, y_pred)
    of_true = (y_true * y_pred).sum(-1)
    of_others = ((1.0 - y_true) * y_pred).amax(-1)
    return _positive_part(of_others - of_true + 1.0)


class Hinge(NamedLoss):
    """Margin of yes-or-no targets, given as ±1 or as 0 and 1.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.Hinge.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hinge",
        dtype: Any = None,
    ):
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(NamedLoss):
    """Squared margin of yes-or-no targets, given as ±1 or as 0 and 1.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.SquaredHinge.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "squared_hinge",
        dtype: Any = None,
    ):
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(NamedLoss):
    """Margin between the true class and the best of the others.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.CategoricalHinge.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_hinge",
        dtype: Any = None,
    ):
        super().__init__(categorical_hinge, reduction, name, dtype)
