"""Metrics of predicted numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq import losses
from torchseq.base import arguments
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor
from torchseq.losses.loss import align_ranks
from torchseq.metrics.alignment import check_same_shape
from torchseq.metrics.averages import Mean, MeanMetricWrapper, MeanOfLoss
from torchseq.metrics.merging import Shapes
from torchseq.metrics.metric import Metric


class MeanSquaredError(MeanOfLoss):
    """Mean of `(y_true - y_pred)²`.

    Source: keras.metrics.MeanSquaredError.
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None):
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanOfLoss):
    """Mean of `|y_true - y_pred|`.

    Source: keras.metrics.MeanAbsoluteError.
    """

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None):
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(MeanOfLoss):
    """Mean of `100 * |y_true - y_pred| / |y_true|`.

    Source: keras.metrics.MeanAbsolutePercentageError.
    """

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanOfLoss):
    """Mean of `(log(y_true + 1) - log(y_pred + 1))²`.

    Source: keras.metrics.MeanSquaredLogarithmicError.
    """

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(MeanOfLoss):
    """Mean of `log(cosh(y_pred - y_true))`.

    Source: keras.metrics.LogCoshError.
    """

    def __init__(self, name: str | None = "logcosh", dtype: Any = None):
        super().__init__(losses.log_cosh, name, dtype)


class RootMeanSquaredError(Mean):
    """Root of the mean of `(y_true - y_pred)²`.

    Source: keras.metrics.RootMeanSquaredError.
    """

    direction = "min"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def update_state(  # type: ignore[override]  # as in Keras
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch."""
        with torch.no_grad():
            y_true = as_tensor(y_true).to(self._torch_dtype)
            y_pred = as_tensor(y_pred).to(self._torch_dtype)
            y_true, y_pred = align_ranks(y_true, y_pred)
            check_same_shape("RootMeanSquaredError", y_true, y_pred)
            self._add((y_pred - y_true).square(), sample_weight)

    def result(self) -> Tensor:
        return super().result().sqrt()


def _cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    return -losses.cosine_similarity(y_true, y_pred, axis=axis)  # the loss has the other sign


class CosineSimilarity(MeanMetricWrapper):
    """Mean of the cosine of the angle between target and prediction: 1 if they agree.

    Args:
        axis: along which the vectors lie.

    Source: keras.metrics.CosineSimilarity. Keras's config lacks `axis`; ours has it unless -1.
    """

    direction = "max"

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1):
        super().__init__(_cosine_similarity, name, dtype, axis=axis)

    def get_config(self) -> Config:
        config = {"name": self.name, "dtype": self.dtype}
        return config if self._fn_kwargs == {"axis": -1} else {**config, **self._fn_kwargs}


class R2Score(Metric):
    """Share of the targets' variance that predictions explain: `1 - residual / total`.

    Args:
        class_aggregation: `"uniform_average"` over outputs, `"variance_weighted_average"`, or
            None for a score per output.
        num_regressors: number of predictors, for the adjusted score; 0 for the plain one.

    Raises:
        ValueError: for other values, or data that is not of the shape (batch, outputs).

    Source: keras.metrics.R2Score. With too few samples for the adjusted score the plain one is
    returned, without Keras's warning, for which the count would have to leave the device.
    """

    direction = "max"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.class_aggregation = arguments.one_of(
            self,
            "class_aggregation",
            class_aggregation,
            (None, "uniform_average", "variance_weighted_average"),
        )
        if num_regressors < 0:
            raise ValueError(
                f"R2Score: `num_regressors` must not be negative; got {num_regressors}."
            )
        self.num_regressors = num_regressors
        self.num_samples = self.add_variable((), "zeros", name="num_samples")
        self._is_built = False

    def build_state(self, shapes: Shapes) -> None:
        """Make the state that another R2Score of these shapes has."""
        self._build(shapes[-1][0], self.num_samples.tensor.device)

    def _build(self, num_outputs: int, device: torch.device) -> None:
        size = (num_outputs,)
        self.squared_sum = self.add_variable(size, "zeros", name="squared_sum")
        self.sum = self.add_variable(size, "zeros", name="sum")
        self.total_mse = self.add_variable(size, "zeros", name="residual")
        self.count = self.add_variable(size, "zeros", name="count")
        self.to(device)
        self._is_built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of shape (batch, outputs)."""
        with torch.no_grad():
            y_true = as_tensor(y_true).to(self._torch_dtype)
            y_pred = as_tensor(y_pred).to(self._torch_dtype)
            y_true, y_pred = align_ranks(y_true, y_pred)
            check_same_shape("R2Score", y_true, y_pred)
            if y_pred.ndim != 2:
                raise ValueError(
                    "R2Score: data must have the shape (batch, outputs); got "
                    f"{tuple(y_pred.shape)}."
                )
            if not self._is_built:
                self._build(y_pred.shape[-1], y_pred.device)
            weight = as_tensor(1 if sample_weight is None else sample_weight).to(y_true)
            if weight.ndim == 1:
                weight = weight.unsqueeze(1)
            weight = weight.broadcast_to(y_true.shape)
            weighted = y_true * weight
            self.sum.tensor.add_(weighted.sum(0))
            self.squared_sum.tensor.add_((y_true * weighted).sum(0))
            self.total_mse.tensor.add_(((y_true - y_pred).square() * weight).sum(0))
            self.count.tensor.add_(weight.sum(0))
            self.num_samples.tensor.add_(y_true.numel())  # of all outputs, as Keras counts

    def result(self) -> Tensor:
        if not self._is_built:
            return self.num_samples.value.clone()
        mean = self.sum.value / self.count.value
        total = self.squared_sum.value - self.sum.value * mean
        scores = 1 - self.total_mse.value / total
        scores = scores.masked_fill(scores.isinf(), 0)
        if self.class_aggregation == "uniform_average":
            score = scores.mean()
        elif self.class_aggregation == "variance_weighted_average":
            score = (total * scores).sum() / total.sum()
        else:
            score = scores
        if self.num_regressors == 0:
            return score
        degrees = self.num_samples.value - self.num_regressors - 1
        adjusted = 1 - (1 - score) * (self.num_samples.value - 1) / degrees
        return torch.where(degrees > 0, adjusted, score)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }
