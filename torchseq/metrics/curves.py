"""Areas under the curves that precision and recall, or hits and false alarms, draw."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, settings
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor
from torchseq.metrics.counting import (
    KINDS,
    ConfusionMetric,
    is_evenly_spaced,
    parse_thresholds,
)
from torchseq.metrics.merging import Shapes
from torchseq.metrics.metric import divide_no_nan

_CURVES = ("ROC", "PR", "PRGAIN")
_SUMMATIONS = ("interpolation", "majoring", "minoring")


class AUC(ConfusionMetric):
    """Area under a curve that the thresholds draw.

    Args:
        num_thresholds: how many, evenly spaced in [0, 1].
        curve: `"ROC"` (recall over false positive rate), `"PR"` (precision over recall) or
            `"PRGAIN"` (both scaled so that chance is 0).
        summation_method: height of the area between two thresholds: `"interpolation"`,
            `"majoring"` (the higher end) or `"minoring"` (the lower).
        thresholds: instead of `num_thresholds`, numbers in [0, 1].
        multi_label: the mean of an area for each label, rather than one over all entries.
        num_labels: with `multi_label`, if state is to be made before the first batch.
        label_weights: a weight for each label.
        from_logits: predictions are logits.

    Raises:
        ValueError: for other values.

    Source: keras.metrics.AUC.
    """

    direction = "max"
    _label_weights: Tensor | None

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ):
        self.curve = arguments.one_of(self, "curve", str(curve).upper(), _CURVES)
        self.summation_method = arguments.one_of(
            self, "summation_method", str(summation_method).lower(), _SUMMATIONS
        )
        if num_labels and not multi_label:
            raise ValueError(
                f"AUC: `num_labels` is for multi_label=True only; got num_labels={num_labels}."
            )
        if thresholds is None and not (arguments.is_integer(num_thresholds) and num_thresholds > 1):
            raise ValueError(
                "AUC: `num_thresholds` must be an integer above 1; got "
                f"num_thresholds={num_thresholds!r}."
            )
        self._init_thresholds = None if thresholds is None else sorted(thresholds)
        inner, is_even = _inner_thresholds(self, self._init_thresholds, num_thresholds)
        self.num_thresholds = len(inner) + 2
        margin = settings.epsilon()  # so that predictions of 0 and 1 are between the outer two
        self.thresholds = [-margin, *inner, 1 + margin]
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = label_weights
        self.from_logits = from_logits
        super().__init__(
            {kind: kind for kind in KINDS}, self.thresholds, name, dtype, is_even=is_even
        )
        weights = None if label_weights is None else as_tensor(label_weights, self.dtype)
        self.register_buffer("_label_weights", weights, persistent=False)
        if not multi_label:
            self._make_state(self.num_thresholds)
        elif num_labels:
            self._make_state(self.num_thresholds, num_labels)

    def build_state(self, shapes: Shapes) -> None:
        """Make the state that another AUC of these shapes has."""
        self._make_state(*shapes[0])
        self.to(self._thresholds.device)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = as_tensor(y_pred)
        if self.from_logits:
            y_pred = torch.sigmoid(y_pred)
        if self.multi_label and not self._state_names:
            if y_pred.ndim != 2:
                raise ValueError(
                    "AUC: with multi_label=True, predictions must have the shape (batch, labels); "
                    f"got {tuple(y_pred.shape)}."
                )
            self._make_state(self.num_thresholds, y_pred.shape[1])
            self.to(y_pred.device)
        super().update_state(y_true, y_pred, sample_weight)

    def _count_weighted(
        self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None, keep_labels: bool = False
    ) -> list[Tensor]:
        if self._label_weights is not None and not self.multi_label:
            labels = self._label_weights.broadcast_to(y_pred.shape)
            weight = labels if weight is None else weight * labels
        return super()._count_weighted(y_true, y_pred, weight, keep_labels=self.multi_label)

    def result(self) -> Tensor:
        if not self._state_names:
            return torch.zeros((), dtype=self._torch_dtype, device=self._thresholds.device)
        hits, false_alarms, rejections, misses = map(self._state, self._state_names)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolate_pr_auc()
        recall = divide_no_nan(hits, hits + misses)
        if self.curve == "ROC":
            x, y = divide_no_nan(false_alarms, false_alarms + rejections), recall
        elif self.curve == "PR":
            x, y = recall, divide_no_nan(hits, hits + false_alarms)
        else:
            x, y = _gains(hits, false_alarms, rejections, misses)
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2
        elif self.summation_method == "minoring":
            heights = torch.minimum(y[:-1], y[1:])
        else:
            heights = torch.maximum(y[:-1], y[1:])
        return self._mean_of_labels((x[:-1] - x[1:]) * heights)

    def interpolate_pr_auc(self) -> Tensor:
        """Return the area under the PR curve, interpolated by Davis and Goadrich's rule."""
        hits, false_alarms, _, misses = map(self._state, self._state_names)
        return self._mean_of_labels(_interpolated_pr_areas(hits, false_alarms, misses))

    def _mean_of_labels(self, areas: Tensor) -> Tensor:
        by_label = areas.sum(0)
        if not self.multi_label:
            return by_label
        if self._label_weights is None:
            return by_label.mean()
        weights = self._label_weights
        return divide_no_nan((by_label * weights).sum(), weights.sum())

    def get_config(self) -> Config:
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": self.label_weights,
            "from_logits": self.from_logits,
        }
        if self._init_thresholds is not None:
            config["thresholds"] = self._init_thresholds
        return config


def _inner_thresholds(
    owner: Any, thresholds: list[float] | None, num_thresholds: int
) -> tuple[list[float], bool]:
    """Return the thresholds between 0 and 1, and whether they are evenly spaced."""
    if thresholds is None:
        steps = num_thresholds - 1
        return [each / steps for each in range(1, steps)], True
    inner = parse_thresholds(owner, thresholds)
    return inner, is_evenly_spaced([0.0, *inner, 1.0])


def _interpolated_pr_areas(hits: Tensor, false_alarms: Tensor, misses: Tensor) -> Tensor:
    """Return the areas under the PR curve with hits linear in the number of positives.

    Between two thresholds A > B, precision is not linear but `(a + slope * p) / p`, where p is
    the number of positives: its integral has a logarithm.

    Source: Davis and Goadrich, The relationship between precision-recall and ROC curves, 2006.
    """
    positives = hits + false_alarms
    new_hits = hits[:-1] - hits[1:]
    slope = divide_no_nan(new_hits, (positives[:-1] - positives[1:]).clamp(min=0))
    intercept = hits[1:] - slope * positives[1:]
    is_nonzero = (positives[:-1] > 0) & (positives[1:] > 0)
    ratio = divide_no_nan(positives[:-1], positives[1:].clamp(min=0)).masked_fill(~is_nonzero, 1)
    targets = (hits[1:] + misses[1:]).clamp(min=0)
    return divide_no_nan(slope * (new_hits + intercept * ratio.log()), targets)


def _gains(
    hits: Tensor, false_alarms: Tensor, rejections: Tensor, misses: Tensor
) -> tuple[Tensor, Tensor]:
    """Return recall gain and precision gain.

    Source: Flach and Kull, Precision-recall-gain curves, 2015; limits as Keras sets them.
    """
    scale = divide_no_nan(hits + misses, rejections + false_alarms)
    recall_gain = 1 - scale * divide_no_nan(misses, hits)
    precision_gain = 1 - scale * divide_no_nan(false_alarms, hits)
    has_no_hits = hits == 0
    return (
        recall_gain.masked_fill(has_no_hits, 0).clamp(min=0),
        precision_gain.masked_fill(has_no_hits, 1),
    )
