"""Metrics of how predictions vary with their targets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import settings
from torchseq.base.variable import as_tensor
from torchseq.losses.loss import align_ranks
from torchseq.metrics.alignment import check_same_shape
from torchseq.metrics.averages import MeanOfFunction


def _paired(owner: str, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    y_pred = as_tensor(y_pred)
    y_true, y_pred = align_ranks(as_tensor(y_true).to(y_pred.dtype), y_pred)
    check_same_shape(owner, y_true, y_pred)
    return y_true, y_pred


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Return the correlation of targets and predictions along `axis`, in [-1, 1].

    NaN where either is constant, as in Keras.
    """
    y_true, y_pred = _paired("pearson_correlation", y_true, y_pred)
    true_part = y_true - y_true.mean(axis, keepdim=True)
    pred_part = y_pred - y_pred.mean(axis, keepdim=True)
    scale = true_part.square().mean(axis).sqrt() * pred_part.square().mean(axis).sqrt()
    return torch.div((true_part * pred_part).mean(axis), scale)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Return Lin's agreement of targets and predictions along `axis`: 1 if they are equal."""
    y_true, y_pred = _paired("concordance_correlation", y_true, y_pred)
    true_mean = y_true.mean(axis, keepdim=True)
    pred_mean = y_pred.mean(axis, keepdim=True)
    true_variance = (y_true - true_mean).square().mean(axis)
    pred_variance = (y_pred - pred_mean).square().mean(axis)
    covariance = ((y_true - true_mean) * (y_pred - pred_mean)).mean(axis)
    shift = (true_mean - pred_mean).squeeze(axis).square()
    scale = true_variance + pred_variance + shift + settings.epsilon()
    return torch.div(2 * covariance, scale)


class _Correlation(MeanOfFunction):
    """What the correlations share."""

    direction = "max"


class PearsonCorrelation(_Correlation):
    """Mean over samples of the correlation along `axis`.

    Source: keras.metrics.PearsonCorrelation.
    """

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(pearson_correlation, name, dtype, axis=axis)


class ConcordanceCorrelation(_Correlation):
    """Mean over samples of Lin's concordance along `axis`.

    Source: keras.metrics.ConcordanceCorrelation.
    """

    def __init__(
        self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1
    ):
        super().__init__(concordance_correlation, name, dtype, axis=axis)
