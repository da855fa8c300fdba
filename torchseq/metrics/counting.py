"""Counting true and false positives and negatives at one or many thresholds.

A prediction is positive if it is above a threshold; a target, if it is not 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, settings
from torchseq.base.variable import as_tensor
from torchseq.losses.loss import align_ranks
from torchseq.metrics.alignment import check_same_shape, check_weight
from torchseq.metrics.metric import Metric

KINDS = ("true_positives", "false_positives", "true_negatives", "false_negatives")
BELOW_ALL = -1e10  # the threshold with `top_k`, and the score of what is not among the k highest


class ConfusionMetric(Metric):
    """Adds up entries of confusion matrices, one matrix for each threshold.

    Args:
        states: entry, such as `"true_positives"` -> name of the variable that adds it up.
        thresholds: in ascending order, or a single one.
        name, dtype: as in `Metric`.
        top_k: only the `top_k` highest predictions of a sample may be positive.
        class_id: only this entry of the last axis counts.
        is_even: the thresholds divide [0, 1] into equal parts.
    """

    _thresholds: Tensor

    def __init__(
        self,
        states: dict[str, str],
        thresholds: list[float],
        name: str | None = None,
        dtype: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        is_even: bool | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.top_k = top_k
        self.class_id = class_id
        if is_even is None:
            is_even = is_evenly_spaced(thresholds)
        self._is_even = is_even
        self._has_margins = thresholds[0] < 0 or thresholds[-1] > 1
        self._kinds = tuple(states)
        self._variable_names = tuple(states.values())
        self._single_threshold = thresholds[0] if len(thresholds) == 1 else None
        values = torch.tensor(thresholds, dtype=dtypes.torch_dtype(settings.floatx()))
        self.register_buffer("_thresholds", values.to(settings.device()), persistent=False)
        self._state_names: tuple[str, ...] = ()

    def _make_state(self, *shape: int) -> None:
        for variable_name in self._variable_names:
            setattr(self, variable_name, self.add_variable(shape, "zeros", name=variable_name))
        self._state_names = tuple(self.aggregations)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Args:
            y_true: zeros and ones, or anything that is 0 or not.
            y_pred: of the same shape.
            sample_weight: of the same shape, or without the last axes.
        """
        with torch.no_grad():
            y_pred, y_true = align_ranks(as_tensor(y_pred), as_tensor(y_true))
            if y_true.shape != y_pred.shape:
                check_same_shape(
                    type(self).__name__, y_true, y_pred, " Integer targets need one-hot encoding."
                )
            if self.top_k is not None:
                y_pred = _only_highest(y_pred, self.top_k)
            if self.class_id is not None:
                y_true, y_pred = self._of_class(y_true), self._of_class(y_pred)
            if sample_weight is None and self._single_threshold is not None:
                counts = self._count(y_true, y_pred, self._single_threshold)
            else:
                weight = None if sample_weight is None else self._weight(sample_weight, y_true)
                counts = self._count_weighted(y_true, y_pred, weight)
            for state_name, count in zip(self._state_names, counts, strict=True):
                self._state(state_name).add_(count)

    def _of_class(self, values: Tensor) -> Tensor:
        if values.ndim == 1:
            raise ValueError(
                f"{type(self).__name__}: with `class_id`, predictions must have the shape "
                f"(batch, ..., classes); got {tuple(values.shape)}."
            )
        return values[..., self.class_id, None]

    def _weight(self, sample_weight: Any, y_true: Tensor) -> Tensor:
        states_dtype = self._thresholds.dtype
        weight = as_tensor(sample_weight).to(y_true.device, states_dtype).unsqueeze(-1)
        weight = align_ranks(y_true, weight, expand_rank_1=False)[1]
        # Keras fails where more axes are missing, or aligns the weights with the last axes.
        weight = weight.reshape(*weight.shape, *[1] * (y_true.ndim - weight.ndim))
        check_weight(tuple(weight.shape), tuple(y_true.shape))
        return weight.broadcast_to(y_true.shape)

    def _count(self, y_true: Tensor, y_pred: Tensor, threshold: float) -> list[Tensor]:
        """Count at one threshold: all four entries follow from three counts."""
        predicted = y_pred > threshold
        hits = torch.count_nonzero(torch.logical_and(y_true, predicted))
        counts = []
        for kind in self._kinds:
            if kind == "true_positives":
                counts.append(hits)
            elif kind == "false_positives":
                counts.append(torch.count_nonzero(predicted) - hits)
            elif kind == "false_negatives":
                counts.append(torch.count_nonzero(y_true) - hits)
            else:
                either = torch.count_nonzero(torch.logical_or(y_true, predicted))
                counts.append(y_true.numel() - either)
        return counts

    def _count_weighted(
        self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, keep_labels: bool = False
    ) -> list[Tensor]:
        """Sum weights at each threshold: (thresholds,), or with labels (thresholds, labels)."""
        dtype = self._thresholds.dtype
        y_pred = y_pred.to(dtype)
        is_positive = y_true != 0
        weight = torch.ones_like(y_pred) if weight is None else weight
        if not keep_labels:
            y_pred, is_positive = y_pred.reshape(-1), is_positive.reshape(-1)
            weight = weight.reshape(-1)
        positives = weight.masked_fill(~is_positive, 0)
        negatives = weight.masked_fill(is_positive, 0)
        count = _count_by_buckets if self._is_even else _count_by_comparison
        entries = count(y_pred, positives, negatives, self._thresholds, self._has_margins)
        return [entries[KINDS.index(kind)] for kind in self._kinds]


def _count_by_comparison(
    y_pred: Tensor, positives: Tensor, negatives: Tensor, thresholds: Tensor, has_margins: bool
) -> tuple[Tensor, ...]:
    del has_margins  # nothing special about them here
    shape = (-1, *[1] * y_pred.ndim)
    predicted = y_pred > thresholds.reshape(shape)  # (thresholds, batch, ...)
    return (
        (predicted * positives).sum(1),
        (predicted * negatives).sum(1),
        (~predicted * negatives).sum(1),
        (~predicted * positives).sum(1),
    )


def _count_by_buckets(
    y_pred: Tensor, positives: Tensor, negatives: Tensor, thresholds: Tensor, has_margins: bool
) -> tuple[Tensor, ...]:
    """Sort predictions into the intervals between thresholds, then sum from the highest down."""
    num_thresholds = len(thresholds)
    # Without nan_to_num, a NaN would index out of bounds, which on a GPU ends the process.
    position = y_pred.clamp(0, 1).nan_to_num(0) * (num_thresholds - 1)
    bucket = position.ceil().long()  # 0: above no threshold; n: above the first n
    if has_margins:
        bucket = bucket.clamp(min=1)  # the first threshold is below 0
    sums = []
    for weights in (positives, negatives):
        in_bucket = weights.new_zeros(num_thresholds + 1, *weights.shape[1:])
        in_bucket.scatter_add_(0, bucket, weights)
        sums.append(in_bucket[1:].flip(0).cumsum(0).flip(0))
    hits, false_alarms = sums
    return hits, false_alarms, negatives.sum(0) - false_alarms, positives.sum(0) - hits


def _only_highest(y_pred: Tensor, k: int) -> Tensor:
    kept = torch.zeros_like(y_pred, dtype=torch.bool).scatter_(-1, y_pred.topk(k).indices, True)
    return y_pred.masked_fill(~kept, BELOW_ALL)


def is_evenly_spaced(thresholds: list[float]) -> bool:
    """Tell whether at least three thresholds divide [0, 1] into equal parts."""
    if len(thresholds) < 3:
        return False
    return bool(np.allclose(thresholds, np.linspace(0, 1, len(thresholds)), atol=1e-7))


def parse_thresholds(owner: Any, thresholds: Any, default: float = 0.5) -> list[float]:
    """Return one or several thresholds as a list.

    Raises:
        ValueError: if one is outside [0, 1].
    """
    if thresholds is None:
        return [default]
    found = list(thresholds) if isinstance(thresholds, list | tuple) else [thresholds]
    return [arguments.fraction(owner, "thresholds", each) for each in found]
