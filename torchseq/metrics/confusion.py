"""Metrics made of true and false positives and negatives, and of two rates of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Config
from torchseq.metrics.counting import BELOW_ALL, KINDS, ConfusionMetric, parse_thresholds
from torchseq.metrics.metric import divide_no_nan


class _Count(ConfusionMetric):
    """What the four counts share."""

    kind = ""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        self.init_thresholds = thresholds
        self.thresholds = parse_thresholds(self, thresholds)
        super().__init__({self.kind: "accumulator"}, self.thresholds, name, dtype)
        self._make_state(len(self.thresholds))

    def result(self) -> Tensor:
        value = self._state(self._state_names[0]).clone()
        return value[0] if len(self.thresholds) == 1 else value

    def get_config(self) -> Config:
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """Number of positive targets that are predicted so.

    Args:
        thresholds: a number in [0, 1] or several; 0.5 by default.

    Source: keras.metrics.TruePositives.
    """

    kind = "true_positives"


class FalsePositives(_Count):
    """Number of negative targets that are predicted positive.

    Args:
        thresholds: a number in [0, 1] or several; 0.5 by default.

    Source: keras.metrics.FalsePositives.
    """

    kind = "false_positives"


class TrueNegatives(_Count):
    """Number of negative targets that are predicted so.

    Args:
        thresholds: a number in [0, 1] or several; 0.5 by default.

    Source: keras.metrics.TrueNegatives.
    """

    kind = "true_negatives"


class FalseNegatives(_Count):
    """Number of positive targets that are predicted negative.

    Args:
        thresholds: a number in [0, 1] or several; 0.5 by default.

    Source: keras.metrics.FalseNegatives.
    """

    kind = "false_negatives"


class _HitRate(ConfusionMetric):
    """What precision and recall share: hits divided by hits and one kind of errors."""

    direction = "max"
    error = ""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        self.init_thresholds = thresholds
        default = 0.5 if top_k is None else BELOW_ALL
        self.thresholds = parse_thresholds(self, thresholds, default)
        states = {kind: kind for kind in ("true_positives", self.error)}
        super().__init__(states, self.thresholds, name, dtype, top_k, class_id)
        self._make_state(len(self.thresholds))

    def result(self) -> Tensor:
        hits, errors = (self._state(name) for name in self._state_names)
        value = divide_no_nan(hits, hits + errors)
        return value[0] if len(self.thresholds) == 1 else value

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "thresholds": self.init_thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
        }


class Precision(_HitRate):
    """Share of positive predictions that are right.

    Args:
        thresholds: a number in [0, 1] or several; 0.5 by default.
        top_k: only the `top_k` highest predictions of a sample may be positive.
        class_id: only this class counts.

    Source: keras.metrics.Precision.
    """

    error = "false_positives"


class Recall(_HitRate):
    """Share of positive targets that are predicted so.

    Args:
        thresholds: a number in [0, 1] or several; 0.5 by default.
        top_k: only the `top_k` highest predictions of a sample may be positive.
        class_id: only this class counts.

    Source: keras.metrics.Recall.
    """

    error = "false_negatives"


class _RateAtRate(ConfusionMetric):
    """What the four metrics share that give the best of one rate where another is high enough."""

    direction = "max"

    def __init__(
        self,
        required: str,
        value: float,
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: Any,
    ):
        self.value = arguments.fraction(self, required, value)
        setattr(self, required, value)
        self._required = required
        self.num_thresholds = arguments.positive_integer(self, "num_thresholds", num_thresholds)
        steps = max(self.num_thresholds - 1, 1)
        inner = [each / steps for each in range(1, steps)]
        self.thresholds = [0.5] if self.num_thresholds == 1 else [0.0, *inner, 1.0]
        super().__init__(
            {kind: kind for kind in KINDS},
            self.thresholds,
            name,
            dtype,
            class_id=class_id,
            is_even=self.num_thresholds > 1,
        )
        self._make_state(len(self.thresholds))

    def _best(self, wanted: Callable[..., Tensor], required: Callable[..., Tensor]) -> Tensor:
        entries = [self._state(name) for name in self._state_names]
        is_enough = required(*entries) >= self.value
        return wanted(*entries).masked_fill(~is_enough, 0).max()

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "class_id": self.class_id,
            "num_thresholds": self.num_thresholds,
            self._required: self.value,
        }


def _sensitivity(hits: Tensor, false_alarms: Tensor, rejections: Tensor, misses: Tensor) -> Tensor:
    return divide_no_nan(hits, hits + misses)


def _specificity(hits: Tensor, false_alarms: Tensor, rejections: Tensor, misses: Tensor) -> Tensor:
    return divide_no_nan(rejections, rejections + false_alarms)


def _precision(hits: Tensor, false_alarms: Tensor, rejections: Tensor, misses: Tensor) -> Tensor:
    return divide_no_nan(hits, hits + false_alarms)


class SensitivityAtSpecificity(_RateAtRate):
    """Best sensitivity among the thresholds whose specificity is at least `specificity`.

    Args:
        specificity: in [0, 1].
        num_thresholds: how many thresholds, evenly spaced, to try.
        class_id: only this class counts.

    Source: keras.metrics.SensitivityAtSpecificity.
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__("specificity", specificity, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(_sensitivity, _specificity)


class SpecificityAtSensitivity(_RateAtRate):
    """Best specificity among the thresholds whose sensitivity is at least `sensitivity`.

    Args:
        sensitivity: in [0, 1].
        num_thresholds: how many thresholds, evenly spaced, to try.
        class_id: only this class counts.

    Source: keras.metrics.SpecificityAtSensitivity.
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(_specificity, _sensitivity)


class PrecisionAtRecall(_RateAtRate):
    """Best precision among the thresholds whose recall is at least `recall`.

    Args:
        recall: in [0, 1].
        num_thresholds: how many thresholds, evenly spaced, to try.
        class_id: only this class counts.

    Source: keras.metrics.PrecisionAtRecall.
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__("recall", recall, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(_precision, _sensitivity)


class RecallAtPrecision(_RateAtRate):
    """Best recall among the thresholds whose precision is at least `precision`.

    Args:
        precision: in [0, 1].
        num_thresholds: how many thresholds, evenly spaced, to try.
        class_id: only this class counts.

    Source: keras.metrics.RecallAtPrecision.
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__("precision", precision, num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(_sensitivity, _precision)
