import math
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import callbacks, optimizers


class Model:
    def __init__(self, optimizer: Any) -> None:
        self.metrics: list[Any] = []
        self.optimizer = optimizer


def drive(callback: callbacks.Callback, optimizer: Any, losses: list[float]) -> list[float]:
    """Returns the learning rate in the logs of each epoch."""
    rates = []
    callback.set_model(Model(optimizer))
    callback.set_params({"epochs": len(losses)})
    callback.on_train_begin({})
    for epoch, loss in enumerate(losses):
        logs = {"loss": loss, "val_loss": loss}
        callback.on_epoch_begin(epoch, {})
        callback.on_epoch_end(epoch, logs)
        rates.append(logs["learning_rate"])
    return rates


def test_nan_is_no_improvement_for_plateaus() -> None:
    callback = callbacks.ReduceLROnPlateau(patience=1, factor=0.5)
    rates = drive(callback, optimizers.SGD(1.0), [math.nan, 0.5, math.nan, 0.4])
    assert rates == [1.0, 0.5, 0.5, 0.25]
    assert callback.best == pytest.approx(0.4)


def test_rate_is_a_column_of_the_history(rng: np.random.Generator) -> None:
    model = torchseq.Sequential([torchseq.Input((3,)), torchseq.layers.Dense(1)])
    model.compile(optimizers.SGD(0.5), "mse")
    x = rng.normal(size=(8, 3)).astype("float32")
    used = callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2)
    history = model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[used])
    assert history.history["learning_rate"] == [0.25, 0.125, 0.0625]


def test_plateau_names_what_is_there() -> None:
    callback = callbacks.ReduceLROnPlateau("val_acc")
    with pytest.raises(ValueError, match="='val_acc', and there are 'loss', 'val_loss', 'learning"):
        drive(callback, optimizers.SGD(1.0), [1.0])


def test_plateau_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    callback = callbacks.ReduceLROnPlateau(patience=0, factor=0.5, verbose=1)
    drive(callback, optimizers.SGD(1.0), [1.0, 2.0])
    expected = "Epoch 2: ReduceLROnPlateau reducing learning rate to 0.5.\n"
    assert capsys.readouterr().out == expected


class Several:
    """What Keras's optimizers of parts look like to a callback."""

    def __init__(self) -> None:
        self.optimizers = [optimizers.SGD(1.0, name="first"), optimizers.SGD(0.5, name="second")]


def test_each_of_several_optimizers_is_set() -> None:
    several, logs = Several(), {"loss": 1.0}
    callback = callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2)
    callback.set_model(Model(several))
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0, "learning_rate_first": 0.5, "learning_rate_second": 0.25}


@pytest.mark.parametrize("result", [torch.tensor(0.5), np.array(0.5), np.float32(0.5)])
def test_schedule_may_return_a_tensor_of_one_number(result: Any) -> None:
    callback = callbacks.LearningRateScheduler(lambda epoch: result)
    assert drive(callback, optimizers.SGD(1.0), [1.0]) == [0.5]


@pytest.mark.parametrize("result", [math.nan, math.inf, torch.ones(2), [0.5], 3])
def test_schedule_must_return_a_finite_float(result: Any) -> None:
    callback = callbacks.LearningRateScheduler(lambda epoch: result)
    with pytest.raises(ValueError, match="`schedule` must return a finite float; got"):
        drive(callback, optimizers.SGD(1.0), [1.0])


def test_an_error_inside_the_schedule_is_seen() -> None:
    def schedule(epoch: int, rate: float) -> float:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        drive(callbacks.LearningRateScheduler(schedule), optimizers.SGD(1.0), [1.0])


def test_a_rate_with_a_schedule_of_its_own_cannot_be_set() -> None:
    optimizer = optimizers.SGD(lambda: 0.1)
    with pytest.raises(TypeError, match="follows a schedule"):
        drive(callbacks.LearningRateScheduler(lambda epoch: 0.5), optimizer, [1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1.0}, "`factor` must be above 0 and below 1; got factor=1.0"),
        ({"factor": 0}, "`factor` must be above 0 and below 1; got factor=0"),
        ({"factor": "x"}, "`factor` must be a number"),
        ({"patience": -1}, "`patience` must be at least 0; got patience=-1"),
        ({"cooldown": -2}, "`cooldown` must be at least 0"),
        ({"min_lr": -0.1}, "`min_lr` must be at least 0"),
        ({"min_delta": "x"}, "`min_delta` must be a number"),
        ({"mode": "best"}, "`mode` must be one of"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"ReduceLROnPlateau: {message}"):
        callbacks.ReduceLROnPlateau(**options)


def test_what_is_no_function_or_name_is_refused() -> None:
    with pytest.raises(TypeError, match="`schedule` must be a function of .*schedule=0.1"):
        callbacks.LearningRateScheduler(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`monitor` must be the name .*monitor=3"):
        callbacks.ReduceLROnPlateau(3)  # type: ignore[arg-type]
