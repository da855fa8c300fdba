import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from torchseq import metrics
from torchseq.base.variable import Variable


class Positives(metrics.Metric):
    """As the Keras guides write one."""

    def __init__(self, name: str = "positives", **options: object) -> None:
        super().__init__(name=name, **options)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.seen = self.add_variable(shape=(2,), initializer="ones", name="seen")

    def update_state(
        self, y_true: object, y_pred: torch.Tensor, sample_weight: object = None
    ) -> None:
        self.total.assign_add((y_pred > 0).sum())
        self.seen.assign(self.seen + 1)

    def result(self) -> torch.Tensor:
        return self.total / 1


def test_metric_written_for_keras_works() -> None:
    metric = Positives()
    assert isinstance(metric.total, Variable)
    assert [variable.path for variable in metric.variables] == ["positives/total", "positives/seen"]
    assert metric(None, torch.tensor([1.0, -1.0, 3.0])) == 2
    assert metric.seen.tensor.tolist() == [2.0, 2.0]
    metric.reset_states()
    assert metric.result() == 0
    assert metric.seen.tensor.tolist() == [0.0, 0.0]  # zeros, whatever they began with: as in Keras


def test_state_is_in_buffers_that_move_and_are_not_saved() -> None:
    metric = metrics.Mean()
    metric.update_state([1.0, 3.0])
    assert list(metric.state_dict()) == []
    assert len(list(metric.buffers())) == 2
    metric.to(torch.float64)
    assert metric.total.dtype == "float64"
    metric.update_state([5.0])
    assert metric.result() == 3


LABELS, ONE_HOT, PREDICTIONS = torch.tensor([1]), torch.tensor([[0.0, 1]]), torch.tensor([[0.2, 1]])


@pytest.mark.parametrize(
    ("metric", "data"),
    [
        (metrics.Mean, ([1.0],)),
        (metrics.SparseCategoricalAccuracy, (LABELS, PREDICTIONS)),
        (metrics.Precision, (ONE_HOT, PREDICTIONS)),
    ],
)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_have_a_state_of_their_own(
    metric: type[metrics.Metric], data: tuple, duplicate: Callable[[Any], Any]
) -> None:
    original = metric()
    original.update_state(*data)
    copied = duplicate(original)
    copied.reset_state()
    assert copied.result() == 0
    assert original.result() == 1
    copied.update_state(*data)
    assert copied.variables[0].tensor == 1


def test_metrics_inside_a_metric_count_to_its_variables() -> None:
    class Both(metrics.Metric):
        def __init__(self) -> None:
            super().__init__()
            self.inner = metrics.Mean()

    both = Both()
    assert both.name == "both"
    assert both.variables == both.inner.variables
    both.inner.update_state([1.0])
    both.reset_state()
    assert both.inner.result() == 0


def test_sums_say_how_processes_merge_them() -> None:
    assert set(metrics.Precision().aggregations.values()) == {"sum"}
    assert len(metrics.Mean().aggregations) == 2


def test_add_variable_before_init_is_refused() -> None:
    class Early(metrics.Metric):
        def __init__(self) -> None:
            self.total = self.add_weight()

    with pytest.raises(RuntimeError, match=r"Early: `super\(\).__init__\(\)` must run first"):
        Early()


def test_initializer_may_be_a_function_but_no_unknown_name() -> None:
    metric = metrics.Metric()
    made = metric.add_variable((2,), lambda shape, dtype: torch.full(shape, 7.0))
    assert made.tensor.tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="`initializer` must be 'zeros'"):
        metric.add_variable((2,), "sevens")


def test_mean_of_nothing_is_zero_and_of_nan_is_nan() -> None:
    assert metrics.Mean().result() == 0
    assert metrics.Mean()([float("nan"), 1.0]).isnan()


def test_update_keeps_no_graph() -> None:
    y_pred = torch.rand(4, 3, requires_grad=True).softmax(-1)
    for metric in (metrics.MeanSquaredError(), metrics.RootMeanSquaredError(), metrics.AUC()):
        metric.update_state(torch.zeros(4, 3), y_pred)
        assert not any(variable.tensor.requires_grad for variable in metric.variables)
    for metric in (metrics.Mean(), metrics.Sum()):
        assert not metric(y_pred).requires_grad


def test_mean_metric_wrapper_saves_its_function_and_options() -> None:
    metric = metrics.MeanMetricWrapper(
        metrics.categorical_crossentropy, name="ce", label_smoothing=0.1
    )
    again = metrics.deserialize(metrics.serialize(metric))
    y_true, y_pred = torch.eye(3), torch.rand(3, 3).softmax(-1)
    assert again.name == "ce"
    assert again(y_true, y_pred) == metric(y_true, y_pred)


def test_dtype_of_state() -> None:
    metric = metrics.Mean(dtype="float64")
    assert (metric.dtype, metric.total.dtype) == ("float64", "float64")
    assert metric([1.0]).dtype is torch.float64
