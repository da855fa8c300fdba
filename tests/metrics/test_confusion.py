import pytest
import torch

from torchseq import metrics


def test_default_threshold_on_one_hot_targets() -> None:
    y_true = torch.eye(3)
    y_pred = torch.tensor([[0.6, 0.3, 0.1], [0.4, 0.3, 0.3], [0.1, 0.7, 0.2]])
    assert metrics.Precision()(y_true, y_pred) == 0.5
    assert metrics.Recall()(y_true, y_pred) == pytest.approx(1 / 3)


def test_integer_targets_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Precision: .*\(4,\), y_pred.shape=\(4, 3\)\. Integer"):
        metrics.Precision().update_state(torch.tensor([0, 1, 2, 0]), torch.rand(4, 3))


@pytest.mark.parametrize("thresholds", [1.5, [0.1, -0.1]])
def test_thresholds_outside_zero_and_one_are_refused(thresholds: object) -> None:
    with pytest.raises(ValueError, match=r"Recall: `thresholds` must be in \[0, 1\]"):
        metrics.Recall(thresholds=thresholds)


def test_class_id_needs_classes() -> None:
    with pytest.raises(ValueError, match="with `class_id`"):
        metrics.Recall(class_id=1).update_state(torch.ones(3), torch.ones(3))


def test_nan_predictions_are_negative_and_do_no_harm() -> None:
    y_true, y_pred = torch.ones(3), torch.tensor([float("nan"), 0.9, 0.1])
    assert metrics.TruePositives()(y_true, y_pred) == 1
    assert metrics.AUC()(y_true, y_pred).isfinite()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curve": "LIFT"}, "AUC: `curve` must be one of"),
        ({"summation_method": "x"}, "AUC: `summation_method` must be one of"),
        ({"num_thresholds": 1}, "AUC: `num_thresholds` must be an integer above 1"),
        ({"num_labels": 3}, "AUC: `num_labels` is for multi_label=True only"),
    ],
)
def test_auc_refuses_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.AUC(**options)


def test_auc_of_labels_needs_two_axes() -> None:
    with pytest.raises(ValueError, match=r"multi_label=True, predictions must have the shape"):
        metrics.AUC(multi_label=True).update_state(torch.ones(3), torch.ones(3))
    assert metrics.AUC(multi_label=True).result() == 0


def test_required_rate_is_checked() -> None:
    with pytest.raises(ValueError, match=r"PrecisionAtRecall: `recall` must be in \[0, 1\]"):
        metrics.PrecisionAtRecall(1.5)
