"""F scores: means of precision and recall."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, settings
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor
from torchseq.metrics.alignment import check_same_shape
from torchseq.metrics.merging import Shapes
from torchseq.metrics.metric import Metric

_F_STATES = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")
_NO_SCORE = 1e-9  # a score this close to 0 is no prediction, as in Keras


class FBetaScore(Metric):
    """Weighted harmonic mean of precision and recall of each class.

    Args:
        average: None for a score per class; `"micro"` counts over all classes, `"macro"` is their
            mean, `"weighted"` weighs them by their number of targets.
        beta: how many times more recall weighs than precision; a float above 0.
        threshold: above it a prediction is positive; None: where it is the highest.

    Raises:
        ValueError: for other values, or data that is not of the shape (batch, classes).

    Source: keras.metrics.FBetaScore.
    """

    direction = "max"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.average = arguments.one_of(
            self, "average", average, (None, "micro", "macro", "weighted")
        )
        if not isinstance(beta, float) or beta <= 0:
            raise ValueError(
                f"{type(self).__name__}: `beta` must be a float above 0; got beta={beta!r}."
            )
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise ValueError(
                f"{type(self).__name__}: `threshold` must be None or a float in (0, 1]; got "
                f"threshold={threshold!r}."
            )
        self.beta = beta
        self.threshold = threshold
        self._state_names: tuple[str, ...] = ()

    def build_state(self, shapes: Shapes) -> None:
        """Make the state that another score of these shapes has."""
        self._build(shapes[0], settings.device())

    def _build(self, shape: tuple[int, ...], device: Any) -> None:
        for name in _F_STATES:
            setattr(self, name, self.add_variable(shape, "zeros", dtype=self.dtype, name=name))
        self._state_names = tuple(self.aggregations)
        self.to(device)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch of shape (batch, classes); `sample_weight` is of shape (batch,)."""
        with torch.no_grad():
            y_true = as_tensor(y_true).to(self._torch_dtype)
            y_pred = as_tensor(y_pred).to(self._torch_dtype)
            check_same_shape(type(self).__name__, y_true, y_pred)
            if y_pred.ndim != 2:
                raise ValueError(
                    f"{type(self).__name__}: data must have the shape (batch, classes); got "
                    f"{tuple(y_pred.shape)}."
                )
            if not self._state_names:
                shape = () if self.average == "micro" else (y_pred.shape[-1],)
                self._build(shape, y_pred.device)
            predicted = self._predicted(y_pred).to(self._torch_dtype)
            weight = 1 if sample_weight is None else as_tensor(sample_weight).to(y_true)[:, None]
            true, predicted_weight = y_true * weight, predicted * weight
            hits = predicted * true
            entries = (hits, predicted_weight - hits, true - hits, true)
            for name, entry in zip(self._state_names, entries, strict=True):
                self._state(name).add_(entry.sum() if self.average == "micro" else entry.sum(0))

    def _predicted(self, y_pred: Tensor) -> Tensor:
        if self.threshold is not None:
            return y_pred > self.threshold
        return (y_pred >= y_pred.amax(-1, keepdim=True)) & (y_pred.abs() > _NO_SCORE)

    def result(self) -> Tensor:
        if not self._state_names:
            return torch.zeros((), dtype=self._torch_dtype)
        hits, false_alarms, misses, targets = map(self._state, self._state_names)
        epsilon = settings.epsilon()
        precision = hits / (hits + false_alarms + epsilon)
        recall = hits / (hits + misses + epsilon)
        beta_squared = self.beta**2
        score = (1 + beta_squared) * precision * recall
        score = score / (beta_squared * precision + recall + epsilon)
        if self.average == "weighted":
            return (score * targets / (targets.sum() + epsilon)).sum()
        return score if self.average is None else score.mean()

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


class F1Score(FBetaScore):
    """Harmonic mean of precision and recall of each class.

    Args:
        average, threshold: see `FBetaScore`.

    Source: keras.metrics.F1Score.
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ):
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> Config:
        config = super().get_config()
        del config["beta"]
        return config
