"""How often predictions are right.

The functions return a float per sample, as in Keras. The classes count the matches themselves,
which saves a conversion.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import settings
from torchseq.base.dtypes import torch_dtype
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor
from torchseq.losses.loss import align_ranks
from torchseq.metrics.alignment import check_same_shape
from torchseq.metrics.averages import MeanOfFunction


def _as_floats(matches: Tensor) -> Tensor:
    return matches.to(torch_dtype(settings.floatx()))


def _equal_matches(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = align_ranks(as_tensor(y_true), as_tensor(y_pred))
    check_same_shape("accuracy", y_true, y_pred)
    return torch.eq(y_true.to(y_pred.dtype), y_pred)


def _binary_matches(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    y_true, y_pred = align_ranks(as_tensor(y_true), as_tensor(y_pred))
    check_same_shape("binary_accuracy", y_true, y_pred)
    return torch.eq(y_true, y_pred > threshold)


def _categorical_matches(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    check_same_shape(
        "categorical_accuracy",
        y_true,
        y_pred,
        " For integer targets use sparse_categorical_accuracy.",
    )
    if y_true.dtype is torch.bool:  # of which torch takes no argmax
        y_true = y_true.byte()
    return torch.eq(y_true.argmax(-1), y_pred.argmax(-1))


def _sparse_matches(y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true.squeeze(-1)
    predicted = y_pred.argmax(-1)
    check_same_shape(
        "sparse_categorical_accuracy",
        y_true,
        predicted,
        " For one-hot targets use categorical_accuracy.",
    )
    matches = torch.eq(y_true, predicted)
    return matches.squeeze(-1) if matches.ndim > 1 else matches


def _sparse_top_k_matches(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Tensor:
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    targets = y_true.reshape(-1, 1)
    scores = y_pred.reshape(-1, y_pred.shape[-1])
    if from_sorted_ids:
        matches = torch.eq(targets, scores[:, :k]).any(1)
    else:
        # A target that ties with the k-th highest score is a hit, as in Keras.
        lowest = scores.topk(k).values[:, -1:]
        matches = (scores.gather(1, targets.long()) >= lowest).squeeze(1)
    return matches.reshape(y_true.shape)


def _top_k_matches(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    return _sparse_top_k_matches(as_tensor(y_true).argmax(-1), y_pred, k)


def accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Return 1.0 where target and prediction are equal, else 0.0."""
    return _as_floats(_equal_matches(y_true, y_pred))


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Tensor:
    """Return 1.0 where `prediction > threshold` equals the target, 0 or 1, else 0.0."""
    return _as_floats(_binary_matches(y_true, y_pred, threshold))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Return 1.0 where one-hot target and prediction are highest at the same class, else 0.0.

    Examples:
        >>> categorical_accuracy([[0.0, 1.0], [0.0, 1.0]], [[0.2, 0.8], [0.6, 0.4]])
        tensor([1., 0.])
    """
    return _as_floats(_categorical_matches(y_true, y_pred))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Tensor:
    """Return 1.0 where the prediction is highest at the target's class, else 0.0.

    Shapes:
        `(batch, ...)` or `(batch, ..., 1)` and `(batch, ..., classes)` -> `(batch, ...)`
    """
    return _as_floats(_sparse_matches(y_true, y_pred))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Tensor:
    """Return 1.0 where the one-hot target's class is among the `k` highest, else 0.0."""
    return _as_floats(_top_k_matches(y_true, y_pred, k))


def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Tensor:
    """Return 1.0 where the target's class is among the `k` highest, else 0.0.

    Args:
        from_sorted_ids: `y_pred` holds classes, the likeliest first, and not scores.
    """
    return _as_floats(_sparse_top_k_matches(y_true, y_pred, k, from_sorted_ids))


class _Accuracy(MeanOfFunction):
    """What the accuracies share."""

    direction = "max"


class Accuracy(_Accuracy):
    """Share of predictions that equal their target.

    Source: keras.metrics.Accuracy.
    """

    def __init__(self, name: str | None = "accuracy", dtype: Any = None):
        super().__init__(_equal_matches, name, dtype)


class BinaryAccuracy(_Accuracy):
    """Share of predictions on the right side of `threshold`.

    Source: keras.metrics.BinaryAccuracy.
    """

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ):
        super().__init__(_binary_matches, name, dtype, threshold=threshold)


class CategoricalAccuracy(_Accuracy):
    """Share of samples whose prediction is highest at their one-hot target's class.

    Source: keras.metrics.CategoricalAccuracy.
    """

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None):
        super().__init__(_categorical_matches, name, dtype)


class SparseCategoricalAccuracy(_Accuracy):
    """Share of samples whose prediction is highest at their target's class, an integer.

    Source: keras.metrics.SparseCategoricalAccuracy.
    """

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(_sparse_matches, name, dtype)


class TopKCategoricalAccuracy(_Accuracy):
    """Share of samples whose one-hot target's class is among the `k` highest predictions.

    Source: keras.metrics.TopKCategoricalAccuracy.
    """

    def __init__(
        self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None
    ):
        super().__init__(_top_k_matches, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(_Accuracy):
    """Share of samples whose target's class, an integer, is among the `k` highest predictions.

    Args:
        from_sorted_ids: predictions are classes, the likeliest first, and not scores.

    Source: keras.metrics.SparseTopKCategoricalAccuracy.
    """

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ):
        super().__init__(_sparse_top_k_matches, name, dtype, k=k, from_sorted_ids=from_sorted_ids)

    def get_config(self) -> Config:
        config = super().get_config()
        if not config["from_sorted_ids"]:
            del config["from_sorted_ids"]  # as Keras writes it
        return config
