"""Metrics that add up values: their sum, their mean, and the mean of a function's values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchseq import losses
from torchseq.base import registry
from torchseq.base.modes import gradless
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor
from torchseq.losses.loss import align_ranks
from torchseq.metrics.alignment import check_weight, masked_weight
from torchseq.metrics.metric import Metric, divide_no_nan

_TOTAL, _COUNT = "_state_0_total", "_state_1_count"


class Sum(Metric):
    """Sum of all values, each times its weight.

    Source: keras.metrics.Sum.
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", dtype=self.dtype, name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values of any shape; `sample_weight` is of their shape or of fewer axes."""
        with torch.no_grad():
            values, _ = _weigh(as_tensor(values), sample_weight, self._torch_dtype, torch.sum)
            self.total.tensor.add_(values.sum())

    def result(self) -> Tensor:
        return self.total.value.clone()


class Mean(Metric):
    """Mean of all values, weighted: `sum(weight * value) / sum(weight)`, and 0 if there are none.

    The values of one sample are averaged first; the mean is over samples.

    Examples:
        >>> metric = Mean()
        >>> metric.update_state([1.0, 3.0, 5.0, 7.0], sample_weight=[1, 1, 0, 0])
        >>> float(metric.result())
        2.0

    Source: keras.metrics.Mean.
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", dtype=self.dtype, name="total")
        self.count = self.add_variable((), "zeros", dtype=self.dtype, name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values, samples first; `sample_weight` is of their shape or of fewer axes."""
        gradless(self._add, as_tensor(values), sample_weight)

    def _add(self, values: Tensor, sample_weight: Any) -> None:
        total, count = self._state(_TOTAL), self._state(_COUNT)
        size = values.shape[0] if values.ndim else 1
        if sample_weight is None and getattr(values, "_keras_mask", None) is None:
            total.add_(self._sum_of_samples(values, size))
            count.add_(size)
            return
        values, weight = _weigh(values, sample_weight, self._torch_dtype, torch.mean)
        total.add_(values.sum())
        count.add_(size if weight is None else weight.sum())

    def _sum_of_samples(self, values: Tensor, size: int) -> Tensor:
        is_bool = values.dtype is torch.bool  # a count takes half as long as a sum
        total = torch.count_nonzero(values) if is_bool else values.sum(dtype=self._torch_dtype)
        per_sample = values.numel() // size if size else 1
        return total if per_sample == 1 else total / per_sample

    def result(self) -> Tensor:
        return divide_no_nan(self.total.value, self.count.value)


def _weigh(
    values: Tensor,
    sample_weight: Any,
    dtype: torch.dtype,
    reduce_axes: Callable[..., Tensor],
) -> tuple[Tensor, Tensor | None]:
    """Return one weighted value per sample, and the weights broadcast to the values, if any."""
    mask = getattr(values, "_keras_mask", None)
    values = values.to(dtype)
    weight: Tensor | None = None
    if sample_weight is not None:
        weight = as_tensor(sample_weight).to(device=values.device, dtype=dtype)
        weight = masked_weight(weight, mask, dtype)
        values, weight = align_ranks(values, weight)
        rank = weight.ndim
        if values.ndim > rank:
            values = reduce_axes(values, dim=tuple(range(rank, values.ndim)))
        check_weight(tuple(weight.shape), tuple(values.shape))
        weight = weight.broadcast_to(values.shape)
        values = values * weight
        if rank > 1:
            weight = reduce_axes(weight, dim=tuple(range(1, rank)))
    if values.ndim > 1:
        values = reduce_axes(values, dim=tuple(range(1, values.ndim)))
    return values, weight


class MeanMetricWrapper(Mean):
    """Mean of a function's values.

    Args:
        fn: `fn(y_true, y_pred, **kwargs)` -> a value per sample.
        name: key in logs and history; unique by default.
        kwargs: passed on to `fn`.

    Source: keras.metrics.MeanMetricWrapper.
    """

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ):
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        if type(self).direction is None and _is_loss(fn):
            self.direction = "min"

    def update_state(  # type: ignore[override]  # as in Keras
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch; entries that the mask of `y_pred` excludes do not count."""
        gradless(self._add_values, y_true, y_pred, sample_weight)

    def _add_values(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        mask = getattr(y_pred, "_keras_mask", None)
        values = as_tensor(self._fn(y_true, y_pred, **self._fn_kwargs))
        if mask is not None:
            sample_weight = masked_weight(sample_weight, mask, self._torch_dtype)
        self._add(values, sample_weight)

    def get_config(self) -> Config:
        inner = {"fn": self._fn, **self._fn_kwargs}
        return {**super().get_config(), **registry.serialize(inner)}

    @classmethod
    def from_config(cls, config: Config) -> Any:
        return cls(**registry.deserialize(config))


class MeanOfFunction(MeanMetricWrapper):
    """Base of the built-in means: the function is the class's, its options are the metric's."""

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ):
        super().__init__(fn, name, dtype, **kwargs)
        for argument, value in kwargs.items():
            setattr(self, argument, value)

    def get_config(self) -> Config:
        return {"name": self.name, "dtype": self.dtype, **self._fn_kwargs}


class MeanOfLoss(MeanOfFunction):
    """Mean of a loss function's values."""

    direction = "min"


def _is_loss(function: Any) -> bool:
    if inspect.isfunction(function):
        return getattr(losses, function.__name__, None) is function
    return isinstance(function, losses.Loss)
