import pytest
import torch

from torchseq import metrics


def test_r2_refuses_bad_arguments_and_shapes() -> None:
    with pytest.raises(ValueError, match="R2Score: `class_aggregation` must be one of"):
        metrics.R2Score(class_aggregation="sum")
    with pytest.raises(ValueError, match="`num_regressors` must not be negative"):
        metrics.R2Score(num_regressors=-1)
    with pytest.raises(ValueError, match=r"R2Score: data must have the shape \(batch, outputs\)"):
        metrics.R2Score().update_state(torch.ones(3), torch.ones(3))


def test_adjusted_r2_of_too_few_samples_is_the_plain_score() -> None:
    y_true, y_pred = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.5], [2.0]])
    adjusted = metrics.R2Score(num_regressors=5)
    assert adjusted(y_true, y_pred) == metrics.R2Score()(y_true, y_pred)


def test_cosine_keeps_its_axis_in_the_config() -> None:
    metric = metrics.CosineSimilarity(axis=0)
    again = metrics.CosineSimilarity.from_config(metric.get_config())
    y_true, y_pred = torch.rand(4, 3), torch.rand(4, 3)
    assert again(y_true, y_pred) == metric(y_true, y_pred)
