import pytest
import torch

from torchseq import losses, metrics

SHAPES = (4, 3), (4, 3)


def closeness(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    return (y_true - y_pred).abs().mean(-1)


class CamelCase:
    def __call__(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return closeness(y_true, y_pred)


@pytest.mark.parametrize(
    ("identifier", "name", "kind"),
    [
        ("mae", "mae", "MeanAbsoluteError"),
        ("acc", "acc", "CategoricalAccuracy"),
        ("AUC", "AUC", "AUC"),
        ("ce", "ce", "CategoricalCrossentropy"),
        (metrics.MeanAbsoluteError(), "mean_absolute_error", "MeanAbsoluteError"),
        (metrics.Precision, "precision", "Precision"),
        (metrics.Precision(name="p"), "p", "Precision"),
        (closeness, "closeness", "MeanMetricWrapper"),
        (CamelCase(), "camel_case", "MeanMetricWrapper"),
        (losses.MeanSquaredError(), "mean_squared_error", "MeanMetricWrapper"),
        ({"class_name": "MeanSquaredError", "config": {"name": "m"}}, "m", "MeanSquaredError"),
    ],
)
def test_names_in_the_history(identifier: object, name: str, kind: str) -> None:
    metric = metrics.resolve(identifier, *SHAPES)
    assert (metric.name, type(metric).__name__) == (name, kind)
    metric.update_state(torch.eye(3), torch.rand(3, 3))
    assert metric.result().isfinite()


def test_losses_as_metrics_are_better_when_lower() -> None:
    for identifier in (losses.mean_squared_error, losses.MeanSquaredError()):
        assert metrics.resolve(identifier, *SHAPES).direction == "min"
    assert metrics.resolve(closeness, *SHAPES).direction is None


@pytest.mark.parametrize(
    ("identifier", "nearest"), [("acuracy", "'accuracy'"), ("Precison", "'Precision'|'precision'")]
)
def test_unknown_names_raise_with_the_nearest(identifier: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"is not a known name. Nearest: .*({nearest})"):
        metrics.resolve(identifier, *SHAPES)


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="got None"):
        metrics.resolve(None, *SHAPES)
    with pytest.raises(TypeError, match="got 3"):
        metrics.resolve(3, *SHAPES)
