import pytest
import torch

from torchseq import metrics


def test_counts_are_integers_by_default() -> None:
    metric = metrics.MeanIoU(num_classes=2)
    assert metric.total_cm.dtype == "int32"
    assert metric([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(1 / 3)
    assert metric.get_config()["dtype"] == "int32"


def test_weights_of_samples_weigh_their_pixels() -> None:
    y_true, y_pred = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 0]])
    metric = metrics.MeanIoU(2, dtype="float32")
    metric.update_state(y_true, y_pred, sample_weight=[1.0, 0.0])
    assert metric.result() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"weights of shape \(3, 1\) for values of shape \(2, 2"):
        metric.update_state(y_true, y_pred, sample_weight=[1.0, 0.0, 1.0])


def test_classes_out_of_range_do_not_count() -> None:
    assert metrics.MeanIoU(num_classes=2)([0, 1, -1, 7], [0, 1, 1, 0]) == pytest.approx(1)


def test_bad_arguments_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="IoU: `target_class_ids` must be below `num_classes`"):
        metrics.IoU(2, [2])
    with pytest.raises(ValueError, match="FBetaScore: `beta` must be a float above 0"):
        metrics.FBetaScore(beta=1)
    with pytest.raises(ValueError, match=r"F1Score: `threshold` must be None or a float in"):
        metrics.F1Score(threshold=1.5)
    with pytest.raises(ValueError, match="F1Score: `average` must be one of"):
        metrics.F1Score(average="mean")
    with pytest.raises(ValueError, match=r"F1Score: data must have the shape \(batch, classes\)"):
        metrics.F1Score().update_state(torch.ones(3), torch.ones(3))
