import math
from typing import Any

import pytest

from torchseq import callbacks


class Model:
    def __init__(self) -> None:
        self.metrics: list[Any] = []
        self.stop_training = False
        self.weights = 0

    def get_weights(self) -> int:
        return self.weights

    def set_weights(self, weights: int) -> None:
        self.weights = weights


def run(
    callback: callbacks.Callback, curve: list[float], name: str = "val_loss", **params: Any
) -> Model:
    model = Model()
    callback.set_model(model)
    callback.set_params(params)
    callback.on_train_begin()
    for epoch, value in enumerate(curve):
        model.weights = epoch
        callback.on_epoch_end(epoch, {name: value})
        if model.stop_training:
            break
    callback.on_train_end()
    return model


def test_nan_is_never_the_best() -> None:
    stopping = callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    model = run(stopping, [math.nan, 0.5, math.nan, 0.6])
    assert stopping.best == 0.5
    assert model.weights == 1


def test_best_weights_come_back_when_all_epochs_ran() -> None:
    assert (
        run(callbacks.EarlyStopping(patience=9, restore_best_weights=True), [3, 1, 2]).weights == 1
    )


def test_infinite_values_stop_by_patience() -> None:
    model = run(callbacks.EarlyStopping(patience=2), [1.0, math.inf, math.inf, math.inf])
    assert model.weights == 2


def test_missing_monitor_names_those_that_exist() -> None:
    stopping = callbacks.EarlyStopping(monitor="val_acc")
    with pytest.raises(ValueError, match=r"='val_acc'.* there are 'loss', 'val_loss'\. Choose"):
        stopping.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
    with pytest.raises(ValueError, match="or pass `validation_data`"):
        callbacks.EarlyStopping().on_epoch_end(0, {"loss": 1.0})


def test_epochs_without_validation_are_passed_over() -> None:
    stopping = callbacks.EarlyStopping()
    stopping.set_params({"validation_freq": 2})
    stopping.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(ValueError, match="val_loss"):
        stopping.on_epoch_end(1, {"loss": 1.0})


def test_a_metric_says_which_way_is_better() -> None:
    class Metric:
        name, direction = "my_loss", "max"

    class KerasMetric:
        name, _direction = "score", "up"

    for metric in (Metric(), KerasMetric()):
        stopping = callbacks.EarlyStopping(monitor=f"val_{metric.name}")
        model = Model()
        model.metrics = [metric]
        stopping.set_model(model)
        for epoch, value in enumerate([0.1, 0.2]):
            stopping.on_epoch_end(epoch, {f"val_{metric.name}": value})
        assert stopping.best == 0.2


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="EarlyStopping: `mode` must be one of .*'acc'"):
        callbacks.EarlyStopping(mode="acc")


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_terminate_on_nan(loss: float, capsys: pytest.CaptureFixture[str]) -> None:
    callback = callbacks.TerminateOnNaN()
    model = Model()
    callback.set_model(model)
    callback.on_train_batch_end(3, {"loss": 1.0})
    callback.on_train_batch_end(3, {})
    assert not model.stop_training
    callback.on_train_batch_end(3, {"loss": loss})
    assert model.stop_training
    assert capsys.readouterr().out == "Batch 3: Invalid loss, terminating training\n"
    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        callbacks.TerminateOnNaN(raise_error=True).on_train_batch_end(0, {"loss": loss})
