"""Cross-entropies and divergence, as functions.

Where the last layer ended in softmax or sigmoid, its logits are at hand (`base/logits.py`) and the
loss is computed from them: fewer kernels, and exact where probabilities round to 0 or 1. Keras
clips probabilities to [epsilon, 1 - epsilon], so that such a loss is at most 16.118 and has no
gradient beyond; the same bounds, put on the logarithms or logits, keep value and gradient Keras's.

Labels out of range are looked for once per `fit`, not here.

Source: keras.losses.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base import logits, settings
from torchseq.base.variable import as_tensor
from torchseq.losses.loss import (
    cast,
    has_mean_form,
    paired,
    reduce_weighted_values,
    takes_labels,
)


class _Bounds(NamedTuple):
    """What Keras clips probabilities to, as the dtype rounds it, and what it means for others."""

    low: float
    high: float
    log_low: float
    log_high: float
    logit_low: float
    logit_high: float


_bounds_of: dict[tuple[torch.dtype, float], _Bounds] = {}


def _bounds(dtype: torch.dtype) -> _Bounds:
    epsilon = settings.epsilon()
    found = _bounds_of.get((dtype, epsilon))
    if found is None:
        low, high = _rounded(epsilon, dtype), _rounded(1.0 - epsilon, dtype)
        found = _Bounds(
            low=low,
            high=high,
            log_low=math.log(low),
            log_high=math.log(high),
            logit_low=math.log(low) - math.log1p(-low),
            logit_high=math.log(high) - math.log1p(-high) if high < 1.0 else math.inf,
        )
        _bounds_of[dtype, epsilon] = found
    return found


def _rounded(value: float, dtype: torch.dtype) -> float:
    """Return a number in (0, 1] as `dtype` keeps it, without a tensor."""
    info = torch.finfo(dtype)
    step = 2.0 ** math.floor(math.log2(value)) * info.eps
    step = max(step, info.tiny * info.eps)  # below the normal numbers steps are equal
    return round(value / step) * step


# --- categorical --------------------------------------------------------------------------------


def _categorical_targets(
    owner: str, y_true: Any, y_pred: Any, label_smoothing: float, axis: int
) -> tuple[Tensor, Tensor]:
    if isinstance(axis, bool):
        raise ValueError(f"{owner}: `axis` must be an integer; got axis={axis!r}.")
    y_true, y_pred = paired(owner, y_true, y_pred, broadcast=False)
    if y_pred.ndim and y_pred.shape[-1] == 1:
        warnings.warn(
            f"{owner}: y_pred must have more than one class; got shape {tuple(y_pred.shape)}. "
            "Use binary_crossentropy for two classes and one output.",
            SyntaxWarning,
            stacklevel=3,
        )
    if label_smoothing:
        # Keras counts classes on the last axis, whatever `axis` is.
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[-1]
    return y_true, y_pred


def _log_probabilities(y_pred: Tensor, from_logits: bool, axis: int) -> Tensor:
    """Return the logarithms of normalized predictions, clipped unless they are logits."""
    if from_logits:
        return F.log_softmax(y_pred, axis)
    bounds = _bounds(y_pred.dtype)
    known = _softmax_logits(y_pred, axis)
    if known is not None:
        return F.log_softmax(known, axis).clamp(bounds.log_low, bounds.log_high)
    normalized = y_pred / y_pred.sum(axis, keepdim=True)
    return normalized.clamp(bounds.low, bounds.high).log()


def _softmax_logits(y_pred: Tensor, axis: int) -> Tensor | None:
    if axis != -1 and axis != y_pred.ndim - 1:
        return None
    known = logits.recall(y_pred, "softmax")
    # Under autocast the softmax is float32 and its input is not.
    return known if known is None or known.dtype is y_pred.dtype else known.to(y_pred.dtype)


def _mean_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    y_true, y_pred = _categorical_targets(
        "categorical_crossentropy", y_true, y_pred, label_smoothing, axis
    )
    log_probabilities = _log_probabilities(y_pred, from_logits, axis)
    # One kernel for the products, their sums and the sum of these.
    total = torch.dot(y_true.reshape(-1), log_probabilities.reshape(-1))
    return total * (-y_pred.shape[axis] / y_pred.numel())


@has_mean_form(_mean_categorical_crossentropy)
def categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return `-sum(y_true * log(y_pred))` along `axis`.

    Args:
        y_true: probabilities of the classes, such as one-hot rows.
        y_pred: predicted probabilities, which are normalized; or logits.
        from_logits: whether `y_pred` holds logits.
        label_smoothing: how far targets are moved toward equal probabilities, in [0, 1].
        axis: the classes.

    Raises:
        ValueError: if the shapes differ.
    """
    y_true, y_pred = _categorical_targets(
        "categorical_crossentropy", y_true, y_pred, label_smoothing, axis
    )
    return -(y_true * _log_probabilities(y_pred, from_logits, axis)).sum(axis)


def _mean_sparse_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    if ignore_class is None:
        labels, y_pred = _labels("sparse_categorical_crossentropy", y_true, y_pred, axis)
        return _sparse_crossentropy(labels, y_pred, from_logits, axis).mean()
    values = sparse_categorical_crossentropy(y_true, y_pred, from_logits, ignore_class, axis)
    return reduce_weighted_values(values, mask=values._keras_mask)  # type: ignore[attr-defined]


@has_mean_form(_mean_sparse_categorical_crossentropy)
@takes_labels
def sparse_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Return `-log(y_pred[y_true])` along `axis`.

    Args:
        y_true: class numbers; an axis of size 1 in place of the classes is dropped.
        y_pred: predicted probabilities, which are normalized; or logits.
        from_logits: whether `y_pred` holds logits.
        ignore_class: a class number whose entries are masked.
        axis: the classes.

    Raises:
        ValueError: if the shapes differ by more than the classes.
    """
    labels, y_pred = _labels("sparse_categorical_crossentropy", y_true, y_pred, axis)
    if ignore_class is None:
        return _sparse_crossentropy(labels, y_pred, from_logits, axis)
    is_valid = labels != ignore_class
    values = _sparse_crossentropy(torch.where(is_valid, labels, 0), y_pred, from_logits, axis)
    values = torch.where(is_valid, values, 0.0)
    values._keras_mask = is_valid  # type: ignore[attr-defined]
    return values


def _labels(owner: str, y_true: Any, y_pred: Any, axis: int) -> tuple[Tensor, Tensor]:
    """Return class numbers as int64 in the shape of the predictions without their classes."""
    if not isinstance(y_pred, Tensor):
        y_pred = as_tensor(y_pred)
    if not isinstance(y_true, Tensor):
        y_true = as_tensor(y_true).to(y_pred.device)
    if y_true.dtype is not torch.int64:
        y_true = y_true.long()
    labels = y_true
    if labels.ndim == y_pred.ndim and labels.ndim and labels.shape[axis] == 1:
        labels = labels.squeeze(axis)
    expected = list(y_pred.shape)
    del expected[axis]
    if list(labels.shape) != expected:
        raise ValueError(
            f"{owner}: targets must be class numbers, in the shape of the predictions without "
            f"their axis {axis}; got y_true of shape {tuple(y_true.shape)} and y_pred of shape "
            f"{tuple(y_pred.shape)}. For one-hot targets use categorical_crossentropy."
        )
    return labels, y_pred


def _sparse_crossentropy(labels: Tensor, y_pred: Tensor, from_logits: bool, axis: int) -> Tensor:
    if from_logits:
        return _crossentropy_of_logits(labels, y_pred, axis)
    bounds = _bounds(y_pred.dtype)
    known = _softmax_logits(y_pred, axis)
    if known is not None:
        values = _crossentropy_of_logits(labels, known, axis)
        return values.clamp(-bounds.log_high, -bounds.log_low)
    chosen = y_pred.gather(axis, labels.unsqueeze(axis)).squeeze(axis)
    return -(chosen / y_pred.sum(axis)).clamp(bounds.low, bounds.high).log()


def _crossentropy_of_logits(labels: Tensor, z: Tensor, axis: int) -> Tensor:
    # torch wants the classes second.
    if z.ndim == 1 or axis in (1, 1 - z.ndim):
        return F.cross_entropy(z, labels, reduction="none")
    if axis in (-1, z.ndim - 1):
        flat = F.cross_entropy(z.flatten(0, -2), labels.flatten(), reduction="none")
        return flat.view(labels.shape)
    return F.cross_entropy(z.movedim(axis, 1), labels, reduction="none")


def categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return `-sum(alpha * (1 - y_pred)^gamma * y_true * log(y_pred))` along `axis`.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis: see `categorical_crossentropy`.
        alpha: weight, a number or one for each class.
        gamma: how much entries that are predicted well count less.

    Raises:
        ValueError: if the shapes differ.
    """
    y_true, y_pred = _categorical_targets(
        "categorical_focal_crossentropy", y_true, y_pred, label_smoothing, axis
    )
    if from_logits:
        y_pred = torch.softmax(y_pred, axis)
    bounds = _bounds(y_pred.dtype)
    normalized = y_pred / y_pred.sum(axis, keepdim=True)
    clipped = normalized.clamp(bounds.low, bounds.high)
    weight = alpha if isinstance(alpha, float | int) else as_tensor(alpha).to(y_pred)
    return -((1.0 - clipped) ** gamma * weight * y_true * clipped.log()).sum(axis)


def categorical_generalized_cross_entropy(y_true: Tensor, y_pred: Tensor, q: float) -> Tensor:
    """Return `(1 - p^q) / q`, where p is the predicted probability of the true class.

    Args:
        y_true: class numbers.
        y_pred: predicted probabilities.
        q: in (0, 1); near 0 it is the cross-entropy, at 1 the absolute error.

    Source: keras.losses.categorical_generalized_cross_entropy; Zhang and Sabuncu, 2018,
        arXiv:1805.07836. Targets of shape (N, 1) are one class each; Keras pairs them all.
    """
    labels, y_pred = _labels("categorical_generalized_cross_entropy", y_true, y_pred, -1)
    chosen = y_pred.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return (1 - chosen**q) / q


takes_labels(categorical_generalized_cross_entropy)


# --- binary -------------------------------------------------------------------------------------


def _binary_targets(
    owner: str, y_true: Any, y_pred: Any, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    y_true, y_pred = paired(owner, y_true, y_pred, broadcast=False)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return y_true, y_pred


def _binary_crossentropy(
    y_true: Tensor, y_pred: Tensor, from_logits: bool, reduction: str = "none"
) -> Tensor:
    if y_pred.dtype.itemsize < 4:  # in 16 bits 1 - epsilon is 1, whose complement has no logarithm
        y_true, wide = y_true.float(), cast(y_pred, torch.float32)
        return _binary_crossentropy(y_true, wide, from_logits, reduction).to(y_pred.dtype)
    if from_logits:
        return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction=reduction)
    known = logits.recall(y_pred, "sigmoid")
    bounds = _bounds(y_pred.dtype)
    if known is not None:
        if known.dtype is not y_pred.dtype:  # under autocast
            known = known.to(y_pred.dtype)
        clipped = known.clamp(bounds.logit_low, bounds.logit_high)
        return F.binary_cross_entropy_with_logits(clipped, y_true, reduction=reduction)
    clipped = y_pred.clamp(bounds.low, bounds.high)
    # Not F.binary_cross_entropy, for which NaN is an error, and on a GPU one that ends the process.
    values = (y_true - 1.0) * (-clipped).log1p() - y_true * clipped.log()
    return values.mean() if reduction == "mean" else values


def _mean_binary_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    y_true, y_pred = _binary_targets("binary_crossentropy", y_true, y_pred, label_smoothing)
    return _binary_crossentropy(y_true, y_pred, from_logits, reduction="mean")


@has_mean_form(_mean_binary_crossentropy)
def binary_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return the mean of `-y_true * log(y_pred) - (1 - y_true) * log(1 - y_pred)` along `axis`.

    Args:
        y_true: 0 or 1, or probabilities.
        y_pred: predicted probabilities, or logits.
        from_logits: whether `y_pred` holds logits.
        label_smoothing: how far targets are moved toward 0.5, in [0, 1].
        axis: over which the mean goes.

    Raises:
        ValueError: if the shapes differ.
    """
    y_true, y_pred = _binary_targets("binary_crossentropy", y_true, y_pred, label_smoothing)
    return _binary_crossentropy(y_true, y_pred, from_logits).mean(axis)


def binary_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return the binary cross-entropy times `(1 - p)^gamma`, p the probability of the true class.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis: see `binary_crossentropy`.
        apply_class_balancing: weigh class 1 by `alpha` and class 0 by `1 - alpha`.
        alpha: see above.
        gamma: how much entries that are predicted well count less.

    Raises:
        ValueError: if the shapes differ.
    """
    y_true, y_pred = _binary_targets("binary_focal_crossentropy", y_true, y_pred, label_smoothing)
    if from_logits:
        y_pred = torch.sigmoid(y_pred)
    crossentropy = _binary_crossentropy(y_true, y_pred, from_logits=False)
    of_true_class = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    values = (1.0 - of_true_class) ** gamma * crossentropy
    if apply_class_balancing:
        values = (y_true * alpha + (1 - y_true) * (1 - alpha)) * values
    return values.mean(axis)


# --- divergence ---------------------------------------------------------------------------------


def kl_divergence(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `sum(y_true * log(y_true / y_pred))` over the last axis, both clipped to [1e-7, 1]."""
    y_true, y_pred = paired("kl_divergence", y_true, y_pred)
    y_true = y_true.clamp(settings.epsilon(), 1.0)
    y_pred = y_pred.clamp(settings.epsilon(), 1.0)
    return (y_true * (y_true / y_pred).log()).sum(-1)
