"""Decisions of callbacks against Keras's own, driven by hand over the same curves."""

import io
import itertools
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.trainers.compile_utils import CompileMetrics

from torchseq import callbacks, metrics


class Model:
    """What callbacks use of a model; its weights are the number of the epoch."""

    def __init__(self, measures: list[Any]) -> None:
        self.metrics = measures
        self.stop_training = False
        self.epoch = -1
        self.saved: list[tuple[int, str, str]] = []

    def get_weights(self) -> int:
        return self.epoch

    def set_weights(self, weights: int) -> None:
        self.epoch = weights

    def save(self, path: str, overwrite: bool = False) -> None:
        assert overwrite
        self.saved.append((self.epoch, "model", Path(path).stem))

    def save_weights(self, path: str, overwrite: bool = False) -> None:
        assert overwrite
        self.saved.append((self.epoch, "weights", Path(path).name.split(".weights")[0]))


def our_model() -> Model:
    accuracy = metrics.CategoricalAccuracy(name="accuracy")
    return Model([accuracy, metrics.MeanAbsoluteError(name="mae")])


def keras_model() -> Model:
    compiled = CompileMetrics(["accuracy", "mae"], None)
    compiled.build(np.zeros((2, 3)), np.zeros((2, 3)))
    return Model([compiled])


def run(callback: Any, model: Model, curves: dict[str, list[float]], batches: int = 3) -> int:
    """Drives one call of fit; returns the number of epochs that ran."""
    callback.set_model(model)
    callback.set_params({"epochs": len(curves["loss"]), "steps": batches, "verbose": 0})
    model.stop_training = False
    callback.on_train_begin({})
    for epoch in range(len(curves["loss"])):
        model.epoch = epoch
        logs = {name: curve[epoch] for name, curve in curves.items()}
        callback.on_epoch_begin(epoch, {})
        for batch in range(batches):
            callback.on_train_batch_begin(batch, logs={})
            callback.on_train_batch_end(batch, logs={"loss": logs["loss"]})
        callback.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    callback.on_train_end(logs)
    return epoch + 1


def curves(rng: np.random.Generator, epochs: int = 12) -> dict[str, list[float]]:
    # On a grid, so that equal values and differences of exactly min_delta are common.
    grid = rng.integers(0, 8, (5, epochs)) / 10
    names = ("loss", "val_loss", "val_accuracy", "accuracy", "val_mae")
    return {name: values.tolist() for name, values in zip(names, grid, strict=True)}


OPTIONS = [
    {"monitor": monitor, "patience": patience, **more}
    for monitor, patience, more in itertools.product(
        ("val_loss", "loss", "val_accuracy", "val_mae"),
        (0, 2),
        (
            {},
            {"min_delta": 0.1},
            {"min_delta": 0.2, "restore_best_weights": True},
            {"baseline": 0.3, "restore_best_weights": True},
            {"start_from_epoch": 3, "restore_best_weights": True},
            {"mode": "min"},
            {"mode": "max", "baseline": 0.5},
        ),
    )
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_early_stopping_stops_and_restores_as_keras(
    options: dict[str, Any], rng: np.random.Generator
) -> None:
    ours, theirs = callbacks.EarlyStopping(**options), keras.callbacks.EarlyStopping(**options)
    for _ in range(8):  # fits of one object: each decides as the first
        data = curves(rng)
        our, their = our_model(), keras_model()
        assert run(ours, our, data) == run(theirs, their, data)
        assert our.epoch == their.epoch
        for name in ("best", "best_epoch", "stopped_epoch", "wait"):
            assert getattr(ours, name) == getattr(theirs, name), name


def test_early_stopping_prints_as_keras(rng: np.random.Generator) -> None:
    data = curves(rng)
    data["val_loss"] = [0.1, 0.2, 0.3, 0.4] * 3
    printed = []
    for module, model in ((callbacks, our_model()), (keras.callbacks, keras_model())):
        output = io.StringIO()
        with redirect_stdout(output):
            run(module.EarlyStopping(verbose=1, restore_best_weights=True), model, data)
        printed.append(output.getvalue())
    assert printed[0] == printed[1]
    assert "early stopping" in printed[0]


CHECKPOINTS: list[dict[str, Any]] = [
    {},
    {"save_weights_only": True},
    {"save_best_only": True},
    {"save_best_only": True, "monitor": "val_accuracy"},
    {"save_best_only": True, "monitor": "val_mae", "initial_value_threshold": 0.4},
    {"save_best_only": True, "monitor": "val_accuracy", "mode": "min"},
    {"save_freq": 2},
    {"save_freq": 5},
    {"save_freq": 2, "save_best_only": True, "monitor": "loss", "mode": "min"},
]


@pytest.mark.parametrize("options", CHECKPOINTS, ids=str)
def test_checkpoint_saves_when_and_where_keras_does(
    options: dict[str, Any], rng: np.random.Generator, tmp_path: Path
) -> None:
    suffix = ".weights.h5" if options.get("save_weights_only") else ".keras"
    field = "{loss:.2f}" if "save_freq" in options else "{val_loss:.2f}-{accuracy:.1f}"
    path = str(tmp_path / ("{epoch:02d}-" + field + suffix))
    ours = callbacks.ModelCheckpoint(path, **options)
    theirs = keras.callbacks.ModelCheckpoint(path, **options)
    if "save_freq" in options and options.get("save_best_only"):
        theirs.set_model(keras_model())
        theirs._set_monitor_op()  # Keras fails without at the first batch of the first epoch
    for _ in range(3):  # the best value is kept from one fit to the next
        data = curves(rng)
        our, their = our_model(), keras_model()
        run(ours, our, data)
        run(theirs, their, data)
        assert our.saved == their.saved


def test_checkpoint_prints_as_keras_without_blank_lines(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    data = curves(rng)
    printed = []
    for module, model in ((callbacks, our_model()), (keras.callbacks, keras_model())):
        output = io.StringIO()
        with redirect_stdout(output):
            path = tmp_path / "m.keras"
            run(module.ModelCheckpoint(path, verbose=1, save_best_only=True), model, data)
        printed.append([line for line in output.getvalue().splitlines() if line])
    assert printed[0] == printed[1]


@pytest.mark.parametrize("monitor", ["val_precision", "val_unknown"])
def test_auto_mode_raises_where_keras_does(monitor: str) -> None:
    data = {"loss": [0.5], monitor: [0.5]}
    for module, model in ((callbacks, our_model()), (keras.callbacks, keras_model())):
        with pytest.raises(ValueError, match="mode='max'"):
            run(module.EarlyStopping(monitor=monitor), model, data)


def final_lines(module: Any, verbose: int, steps: int | None, batches: int) -> list[str]:
    """Returns what one training of 2 epochs prints, without times and control characters."""
    output = io.StringIO()
    with redirect_stdout(output):
        progress = module.CallbackList(add_progbar=True, verbose=verbose, epochs=2, steps=steps)
        progress.on_train_begin()
        for epoch in range(2):
            progress.on_epoch_begin(epoch)
            for batch in range(batches):
                progress.on_train_batch_end(batch, {"loss": 0.5, "mae": -0.25})
            progress.on_epoch_end(epoch, {"loss": 2e-4, "mae": -0.25, "val_loss": 0.1, "r2": -3e-5})
        progress.on_train_end()
    lines = []
    for line in output.getvalue().replace("\x08", "").split("\n"):
        text = line.split("\r")[-1]
        for code in ("\x1b[1m", "\x1b[0m", "\x1b[32m", "\x1b[37m"):
            text = text.replace(code, "")
        words = ["TIME" if word.endswith(("s", "/step")) else word for word in text.split()]
        lines.append(" ".join(words))
    return lines


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize(("steps", "batches"), [(3, 3), (1500, 3), (None, 3)])
def test_finished_lines_read_as_keras(verbose: int, steps: int | None, batches: int) -> None:
    ours = final_lines(callbacks, verbose, steps, batches)
    theirs = final_lines(keras.callbacks, verbose, steps, batches)
    assert ours == theirs
    assert "loss: 2.0000e-04" in ours[1]
