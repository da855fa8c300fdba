"""Metrics of how far predicted and true regions overlap: intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import settings
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor
from torchseq.metrics.alignment import check_same_shape, check_weight
from torchseq.metrics.metric import Metric

_PRESENT = 1e-9  # a class with a union below is absent from data and predictions


class IoU(Metric):
    """Mean over classes of intersection over union of predicted and true entries.

    Args:
        num_classes: number of classes; entries of other classes do not count.
        target_class_ids: the classes whose mean is wanted.
        ignore_class: targets of this class do not count.
        sparse_y_true, sparse_y_pred: classes are numbers, not one-hot vectors or scores.
        axis: along which the vectors lie.

    Raises:
        ValueError: if a class of `target_class_ids` is not below `num_classes`.

    Source: keras.metrics.IoU. Counts are of dtype "int" by default, as in Keras.
    """

    direction = "max"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(name=name, dtype=dtype or "int")
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        if max(self.target_class_ids) >= num_classes:
            raise ValueError(
                f"{type(self).__name__}: `target_class_ids` must be below `num_classes`; got "
                f"target_class_ids={self.target_class_ids}, num_classes={num_classes}."
            )
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_variable(
            (num_classes, num_classes), "zeros", dtype=self.dtype, name="total_confusion_matrix"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of classes, or of vectors."""
        with torch.no_grad():
            y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
            if not self.sparse_y_true:
                y_true = y_true.argmax(self.axis)
            if not self.sparse_y_pred:
                y_pred = y_pred.argmax(self.axis)
            true, predicted = y_true.reshape(-1).long(), y_pred.reshape(-1).long()
            check_same_shape(type(self).__name__, true, predicted)
            counts = (true >= 0) & (true < self.num_classes)
            counts &= (predicted >= 0) & (predicted < self.num_classes)
            if self.ignore_class is not None:
                counts &= true != self.ignore_class
            weight = self._weight(1 if sample_weight is None else sample_weight, y_true)
            # An entry that does not count goes to the first cell with weight 0: leaving it out
            # would make the shape depend on the data, for which the device would have to wait.
            cell = (true * self.num_classes + predicted).masked_fill(~counts, 0)
            weight = weight.masked_fill(~counts, 0)
            self.total_cm.tensor.view(-1).scatter_add_(0, cell, weight)

    def _weight(self, sample_weight: Any, y_true: Tensor) -> Tensor:
        weight = as_tensor(sample_weight).to(y_true.device, self._torch_dtype)
        if weight.numel() not in (1, y_true.numel()):  # of samples, where Keras wants pixels
            weight = weight.reshape(*weight.shape, *[1] * (y_true.ndim - weight.ndim))
            check_weight(tuple(weight.shape), tuple(y_true.shape))
            weight = weight.broadcast_to(y_true.shape)
        return weight.reshape(-1).broadcast_to(y_true.numel())

    def result(self) -> Tensor:
        matrix = self.total_cm.value
        hits = matrix.diagonal()
        union = matrix.sum(0) + matrix.sum(1) - hits
        hits = hits[self.target_class_ids].float()
        union = union[self.target_class_ids].float()
        is_present = union > _PRESENT
        shares = (hits / (union + settings.epsilon())).masked_fill(~is_present, 0)
        return shares.sum() / (is_present.sum() + settings.epsilon())

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }


class BinaryIoU(IoU):
    """Intersection over union where predictions are above or below a threshold.

    Args:
        target_class_ids: the classes, 0 or 1 or both, whose mean is wanted.
        threshold: from which on a prediction is of class 1.

    Source: keras.metrics.BinaryIoU.
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, as_tensor(y_pred) >= self.threshold, sample_weight)

    def get_config(self) -> Config:
        config = Metric.get_config(self)
        return {
            **config,
            "target_class_ids": self.target_class_ids,
            "threshold": self.threshold,
        }


class MeanIoU(IoU):
    """Mean over all classes of intersection over union.

    Args:
        num_classes, ignore_class, sparse_y_true, sparse_y_pred, axis: see `IoU`.

    Source: keras.metrics.MeanIoU.
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(
            num_classes,
            range(num_classes),
            name,
            dtype,
            ignore_class,
            sparse_y_true,
            sparse_y_pred,
            axis,
        )

    def get_config(self) -> Config:
        config = super().get_config()
        del config["target_class_ids"]
        return config


class OneHotIoU(IoU):
    """Mean over classes of intersection over union, with one-hot targets.

    Args:
        num_classes, target_class_ids, ignore_class, sparse_y_pred, axis: see `IoU`.

    Source: keras.metrics.OneHotIoU.
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )

    def get_config(self) -> Config:
        config = super().get_config()
        del config["sparse_y_true"]
        return config


class OneHotMeanIoU(MeanIoU):
    """Mean over all classes of intersection over union, with one-hot targets.

    Args:
        num_classes, ignore_class, sparse_y_pred, axis: see `IoU`.

    Source: keras.metrics.OneHotMeanIoU.
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> Config:
        config = super().get_config()
        del config["sparse_y_true"]
        return config
