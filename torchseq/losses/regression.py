"""Losses for targets that are quantities, or vectors with a direction.

All functions take targets and predictions of one shape, align (N,) with (N, 1), and return the
mean over the last axis. Other shapes that Keras would broadcast along the last axis are errors.

Source: keras.losses.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base import settings
from torchseq.losses.loss import NamedLoss, has_mean_form, paired


def _mean_of_squares(y_true: Tensor, y_pred: Tensor) -> Tensor:
    y_true, y_pred = paired("mean_squared_error", y_true, y_pred)
    return F.mse_loss(y_pred, y_true)


@has_mean_form(_mean_of_squares)
def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `mean((y_true - y_pred)²)` over the last axis."""
    y_true, y_pred = paired("mean_squared_error", y_true, y_pred)
    return F.mse_loss(y_pred, y_true, reduction="none").mean(-1)


def _mean_of_distances(y_true: Tensor, y_pred: Tensor) -> Tensor:
    y_true, y_pred = paired("mean_absolute_error", y_true, y_pred)
    return F.l1_loss(y_pred, y_true)


@has_mean_form(_mean_of_distances)
def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `mean(abs(y_true - y_pred))` over the last axis."""
    y_true, y_pred = paired("mean_absolute_error", y_true, y_pred)
    return F.l1_loss(y_pred, y_true, reduction="none").mean(-1)


def mean_absolute_percentage_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `100 * mean(abs((y_true - y_pred) / y_true))` over the last axis."""
    y_true, y_pred = paired("mean_absolute_percentage_error", y_true, y_pred)
    ratio = (y_true - y_pred) / y_true.abs().clamp(min=settings.epsilon())
    return 100.0 * ratio.abs().mean(-1)


def mean_squared_logarithmic_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `mean((log(y_true + 1) - log(y_pred + 1))²)` over the last axis.

    Values below epsilon count as epsilon.
    """
    y_true, y_pred = paired("mean_squared_logarithmic_error", y_true, y_pred)
    epsilon = settings.epsilon()
    difference = (y_pred.clamp(min=epsilon) + 1.0).log() - (y_true.clamp(min=epsilon) + 1.0).log()
    return difference.square().mean(-1)


def _mean_of_huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    y_true, y_pred = paired("huber", y_true, y_pred)
    return F.huber_loss(y_pred, y_true, delta=delta)


@has_mean_form(_mean_of_huber)
def huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """Return the mean of `error² / 2` for errors up to `delta`, and of a straight line beyond."""
    y_true, y_pred = paired("huber", y_true, y_pred)
    return F.huber_loss(y_pred, y_true, reduction="none", delta=delta).mean(-1)


def log_cosh(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `mean(log(cosh(y_pred - y_true)))` over the last axis."""
    y_true, y_pred = paired("log_cosh", y_true, y_pred)
    error = y_pred - y_true
    return (error + F.softplus(-2.0 * error) - math.log(2.0)).mean(-1)


def poisson(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `mean(y_pred - y_true * log(y_pred))` over the last axis."""
    y_true, y_pred = paired("poisson", y_true, y_pred)
    return (y_pred - y_true * (y_pred + settings.epsilon()).log()).mean(-1)


def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """Return minus the cosine of the angle between vectors along `axis`: -1 if they agree."""
    y_true, y_pred = paired("cosine_similarity", y_true, y_pred)
    return -(_unit_length(y_true, axis) * _unit_length(y_pred, axis)).sum(axis)


def _unit_length(x: Tensor, axis: int) -> Tensor:
    # A zero vector stays zero: its reciprocal length is cut off, as in Keras.
    squares = x.square().sum(axis, keepdim=True)
    return x * torch.rsqrt(squares).clamp(max=1.0 / settings.epsilon())


class MeanSquaredError(NamedLoss):
    """`mean((y_true - y_pred)²)`.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.MeanSquaredError.

    Examples:
        >>> MeanSquaredError()(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]]))
        tensor(2.)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: Any = None,
    ):
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(NamedLoss):
    """`mean(abs(y_true - y_pred))`.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.MeanAbsoluteError.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_error",
        dtype: Any = None,
    ):
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(NamedLoss):
    """`100 * mean(abs((y_true - y_pred) / y_true))`.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.MeanAbsolutePercentageError.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: Any = None,
    ):
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(NamedLoss):
    """`mean((log(y_true + 1) - log(y_pred + 1))²)`.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.MeanSquaredLogarithmicError.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ):
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class Huber(NamedLoss):
    """Squared error for small errors, absolute error for large ones.

    Args:
        delta: where one becomes the other.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.Huber. Keras's config lacks `delta`; ours has it if it is not 1.
    """

    _unsaved = (("delta", 1.0),)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ):
        super().__init__(huber, reduction, name, dtype, delta=delta)


class LogCosh(NamedLoss):
    """`mean(log(cosh(y_pred - y_true)))`.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.LogCosh.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "log_cosh",
        dtype: Any = None,
    ):
        super().__init__(log_cosh, reduction, name, dtype)


class Poisson(NamedLoss):
    """`mean(y_pred - y_true * log(y_pred))`.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.Poisson.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "poisson",
        dtype: Any = None,
    ):
        super().__init__(poisson, reduction, name, dtype)


class CosineSimilarity(NamedLoss):
    """Minus the cosine of the angle between target and prediction.

    Args:
        axis: along which the vectors lie.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.CosineSimilarity. Keras's config lacks `axis`; ours has it if it is not -1.
    """

    _unsaved = (("axis", -1),)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ):
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)
