"""Metrics that are the mean of a loss for classes or probabilities."""

from __future__ import annotations

from typing import Any

from torchseq import losses
from torchseq.metrics.averages import MeanOfLoss


class BinaryCrossentropy(MeanOfLoss):
    """Mean cross-entropy of targets that are 0 or 1.

    Args:
        from_logits: predictions are logits.
        label_smoothing: how far to move targets towards 0.5, in [0, 1].

    Source: keras.metrics.BinaryCrossentropy.
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__(
            losses.binary_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )


class CategoricalCrossentropy(MeanOfLoss):
    """Mean cross-entropy of one-hot targets.

    Args:
        from_logits: predictions are logits.
        label_smoothing: how far to move targets towards equal probabilities, in [0, 1].
        axis: along which the classes lie.

    Source: keras.metrics.CategoricalCrossentropy.
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ):
        super().__init__(
            losses.categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(MeanOfLoss):
    """Mean cross-entropy of targets that are class numbers.

    Args:
        from_logits: predictions are logits.
        ignore_class: the value of that class is 0; it still counts as a sample.
        axis: along which the classes lie.

    Source: keras.metrics.SparseCategoricalCrossentropy.
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(
            losses.sparse_categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


class KLDivergence(MeanOfLoss):
    """Mean of `y_true * log(y_true / y_pred)`, summed over the last axis.

    Source: keras.metrics.KLDivergence.
    """

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None):
        super().__init__(losses.kl_divergence, name, dtype)


class Poisson(MeanOfLoss):
    """Mean of `y_pred - y_true * log(y_pred)`.

    Source: keras.metrics.Poisson.
    """

    def __init__(self, name: str | None = "poisson", dtype: Any = None):
        super().__init__(losses.poisson, name, dtype)


class Hinge(MeanOfLoss):
    """Mean of `max(1 - y_true * y_pred, 0)`; targets are -1 or 1, or 0 or 1.

    Source: keras.metrics.Hinge.
    """

    def __init__(self, name: str | None = "hinge", dtype: Any = None):
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(MeanOfLoss):
    """Mean of `max(1 - y_true * y_pred, 0)²`; targets are -1 or 1, or 0 or 1.

    Source: keras.metrics.SquaredHinge.
    """

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None):
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(MeanOfLoss):
    """Mean of `max(negative - positive + 1, 0)` for one-hot targets.

    Source: keras.metrics.CategoricalHinge.
    """

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None):
        super().__init__(losses.categorical_hinge, name, dtype)
