import pytest
import torch

from torchseq import metrics


def test_ties_at_the_kth_place_are_hits() -> None:
    metric = metrics.SparseTopKCategoricalAccuracy(k=2)
    assert metric([0, 1, 2], torch.full((3, 3), 0.3)) == 1


def test_sorted_classes_instead_of_scores() -> None:
    metric = metrics.SparseTopKCategoricalAccuracy(k=1, from_sorted_ids=True)
    assert metric([2, 1], [[1, 0, 3], [1, 2, 3]]) == 0.5
    assert metric.get_config()["from_sorted_ids"]


def test_targets_of_one_axis_are_aligned_and_not_broadcast() -> None:
    metric = metrics.BinaryAccuracy()
    metric.update_state(torch.tensor([1.0, 0.0]), torch.tensor([[0.9], [0.8]]))
    assert metric.result() == 0.5


@pytest.mark.parametrize(
    ("metric", "y_true", "advice"),
    [
        (metrics.SparseCategoricalAccuracy, torch.eye(3), "use categorical_accuracy"),
        (metrics.CategoricalAccuracy, torch.arange(3), "use sparse_categorical_accuracy"),
        (metrics.BinaryAccuracy, torch.eye(2), "must have the same shape"),
        (metrics.Accuracy, torch.eye(2), "must have the same shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    metric: type[metrics.Metric], y_true: torch.Tensor, advice: str
) -> None:
    with pytest.raises(ValueError, match=advice):
        metric().update_state(y_true, torch.rand(3, 3))
