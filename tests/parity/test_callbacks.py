"""Decisions of callbacks against Keras's own, driven by hand over the same curves."""

import io
import itertools
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.trainers.compile_utils import CompileMetrics

import torchseq
from torchseq import callbacks, metrics, optimizers


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


def run(
    callback: Any,
    model: Model,
    curves: dict[str, list[Any]],
    batches: int = 3,
    after: Callable[[Any], Any] = lambda logs: None,
) -> int:
    """Drives one call of fit; returns the number of epochs that ran.

    `after` gets the logs of each epoch, with what the callback put into them.
    """
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
        after(logs)
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
    for _ in range(3):
        data = curves(rng)
        our, their = our_model(), keras_model()
        run(ours, our, data)
        # Keras keeps the best value and the count of batches for the next fit; ours does not.
        theirs.best = options.get("initial_value_threshold")
        theirs._batches_seen_since_last_saving = theirs._last_batch_seen = 0
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


# --- the learning rate --------------------------------------------------------------------------


def with_rate(model: Model, module: Any, rate: float) -> Model:
    model.optimizer = module.SGD(rate)
    return model


PLATEAUS = [
    {"monitor": monitor, **more}
    for monitor, more in itertools.product(
        ("val_loss", "val_accuracy"),
        (
            {"patience": 0},
            {"patience": 1, "factor": 0.3},
            {"patience": 2, "min_delta": 0.1, "factor": 0.5},
            {"patience": 1, "cooldown": 2},
            {"patience": 0, "min_lr": 0.004, "factor": 0.5},
            {"patience": 1, "mode": "max", "min_lr": 0.05},
        ),
    )
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateaus_reduce_the_rate_as_keras(
    options: dict[str, Any], rng: np.random.Generator
) -> None:
    ours = callbacks.ReduceLROnPlateau(**options)
    for _ in range(4):
        theirs = keras.callbacks.ReduceLROnPlateau(**options)  # theirs keeps its mode's sign
        data = curves(rng)
        rates = []
        for callback, model in (
            (ours, with_rate(our_model(), optimizers, 0.1)),
            (theirs, with_rate(keras_model(), keras.optimizers, 0.1)),
        ):
            seen: list[float] = []
            rates.append(seen)
            run(callback, model, data, after=lambda logs, to=seen: to.append(logs["learning_rate"]))
            seen.append(float(model.optimizer.learning_rate))
        assert rates[0] == rates[1]
        for name in ("best", "wait", "cooldown_counter"):
            assert getattr(ours, name) == getattr(theirs, name), name


SCHEDULES: dict[str, Any] = {
    "both": lambda epoch, lr: lr * 0.9 if epoch else lr,
    "epoch alone": lambda epoch: 0.1 / (epoch + 1),
    "float32": lambda epoch, lr: np.float32(lr) / 3,
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_scheduler_sets_the_rate_as_keras(schedule: Any, rng: np.random.Generator) -> None:
    data, found = curves(rng), []
    for module, optimizer, model in (
        (callbacks, optimizers, our_model()),
        (keras.callbacks, keras.optimizers, keras_model()),
    ):
        with_rate(model, optimizer, 0.1)
        rates: list[float] = []
        output = io.StringIO()
        with redirect_stdout(output):
            run(
                module.LearningRateScheduler(schedule, verbose=1),
                model,
                data,
                after=lambda logs, to=rates: to.append(logs["learning_rate"]),
            )
        found.append((rates, [line for line in output.getvalue().splitlines() if line]))
    assert found[0] == found[1]


@pytest.mark.parametrize("result", [1, None, "0.1", True])
def test_schedules_that_return_no_float_raise_as_in_keras(result: Any) -> None:
    for module, optimizer, model in (
        (callbacks, optimizers, our_model()),
        (keras.callbacks, keras.optimizers, keras_model()),
    ):
        with_rate(model, optimizer, 0.1)
        with pytest.raises(ValueError, match="float"):
            run(module.LearningRateScheduler(lambda epoch, lr: result), model, {"loss": [1.0]})


# --- files and messages -------------------------------------------------------------------------


CSV_CURVES: dict[str, dict[str, list[Any]]] = {
    "plain": {"loss": [0.1, 1e-7, float("nan")], "acc": [1.0, 0.3333333333333333, 0.0]},
    "validated": {"loss": [0.1, 0.2, 0.3], "val_loss": [0.3, 0.2, 0.1]},
    "lists": {"loss": [[0.5, 0.25], np.array([1.0, 2.0]), np.array(3.0)]},
    "text": {"loss": [0.5, 0.5, 0.5], "note": ["a,b", 'say "x"', "c;d"]},
}


@pytest.mark.parametrize("options", [{}, {"separator": ";"}, {"append": True}], ids=str)
@pytest.mark.parametrize("name", CSV_CURVES)
def test_csv_files_are_the_same_to_the_byte(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    files = []
    for module, model in ((callbacks, our_model()), (keras.callbacks, keras_model())):
        path = tmp_path / module.__name__ / "log.csv"
        path.parent.mkdir()
        callback = module.CSVLogger(str(path), **options)
        run(callback, model, CSV_CURVES[name])
        run(callback, model, CSV_CURVES[name])  # again into the same file
        run(module.CSVLogger(str(path), append=True), model, CSV_CURVES["validated"])
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert files[0].startswith(b"epoch")


# --- hooks over whole fits ----------------------------------------------------------------------


def recorder(library: Any, notes: list[Any]) -> Any:
    """Returns a callback of the library that notes each hook with its index and its logs."""

    def hook(name: str) -> Any:
        def whole(self: Any, logs: Any = None) -> None:
            notes.append((name, None, dict(logs)))

        def part(self: Any, index: int, logs: Any = None) -> None:
            notes.append((name, index, dict(logs)))

        return part if "epoch" in name or "batch" in name else whole

    def note_params(self: Any, params: Any) -> None:
        self.params = params
        notes.append(("set_params", None, dict(params)))

    # Without the older names of the batch hooks, which those of the base class call.
    hooks = [name for name in callbacks.callback.HOOKS if not name.startswith("on_batch")]
    methods = {name: hook(name) for name in hooks}
    return type("Notes", (library.callbacks.Callback,), {**methods, "set_params": note_params})()


def pair(rng: np.random.Generator, **options: Any) -> list[tuple[Any, Any]]:
    """Returns both libraries, each with a model of the same weights."""
    kernel = rng.normal(size=(5, 3)).astype("float32")
    found = []
    for library in (torchseq, keras):
        dense = library.layers.Dense(3, activation="softmax")
        model = library.Sequential([library.Input((5,)), dense])
        model.set_weights([kernel, np.zeros(3, "float32")])
        optimizer = library.optimizers.SGD(0.5, **options)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        found.append((library, model))
    return found


def data_of(rng: np.random.Generator) -> dict[str, Any]:
    return {"x": rng.normal(size=(40, 5)).astype("float32"), "y": rng.integers(0, 3, 40)}


def test_rates_and_files_of_a_fit_equal_those_of_keras(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    data, histories, files = data_of(rng), [], []
    for library, model in pair(rng):
        path = tmp_path / f"{library.__name__}.csv"
        used = [
            library.callbacks.LearningRateScheduler(lambda epoch, lr: lr * 0.8),
            library.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05),
            library.callbacks.CSVLogger(str(path)),
        ]
        history = model.fit(
            **data, epochs=6, shuffle=False, verbose=0, validation_split=0.2, callbacks=used
        )
        histories.append(history.history)
        files.append([line.split(",") for line in path.read_text().splitlines()])
    ours, theirs = histories
    assert list(ours) == list(theirs)
    assert ours["learning_rate"] == theirs["learning_rate"]
    assert len(set(ours["learning_rate"])) == 6
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert files[0][0] == files[1][0]  # the columns
    assert [row[0] for row in files[0]] == [row[0] for row in files[1]]
    for own, their in zip(files[0][1:], files[1][1:], strict=True):
        assert [float(v) for v in own] == pytest.approx([float(v) for v in their], rel=1e-5)


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_swapped_averages_equal_those_of_keras(
    swap_on_epoch: bool, rng: np.random.Generator
) -> None:
    data, found = data_of(rng), []
    for library, model in pair(rng, use_ema=True, ema_momentum=0.7):
        seen: list[Any] = []
        used = [
            library.callbacks.SwapEMAWeights(swap_on_epoch),
            library.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs, model=model, to=seen: to.append(
                    model.get_weights()[0]
                )
            ),
        ]
        history = model.fit(
            **data, epochs=3, shuffle=False, verbose=0, validation_split=0.2, callbacks=used
        )
        found.append((history.history["val_loss"], [*seen, *model.get_weights()]))
    ours, theirs = found
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    for own, their in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(own, their, rtol=1e-5, atol=1e-6)


FITS: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 2},
    "one batch": {"epochs": 2, "batch_size": 64},
    "one sample a batch": {"epochs": 1, "batch_size": 1, "steps_per_epoch": 3},
    "validation data": {"epochs": 2, "validation": True},
    "validation every second epoch": {"epochs": 4, "validation": True, "validation_freq": 2},
    "validation in chosen epochs": {"epochs": 4, "validation": True, "validation_freq": [1, 4]},
    "validation steps": {"epochs": 2, "validation": True, "validation_steps": 1},
    "validation batches": {"epochs": 1, "validation": True, "validation_batch_size": 5},
    "split": {"epochs": 2, "validation_split": 0.25},
    "steps per epoch": {"epochs": 4, "steps_per_epoch": 2},
    "later epochs": {"epochs": 5, "initial_epoch": 3, "validation_split": 0.25},
    "no epoch": {"epochs": 2, "initial_epoch": 2},
    "weights": {"epochs": 2, "class_weight": {0: 0.5, 1: 2.0, 2: 1.0}, "validation_split": 0.25},
    "stopped": {"epochs": 9, "validation_split": 0.25, "stop": True},
}


@pytest.mark.filterwarnings("ignore:.*ran out of data")  # in both libraries
@pytest.mark.parametrize("name", FITS)
def test_hooks_come_as_in_keras_with_the_same_arguments(
    name: str, rng: np.random.Generator
) -> None:
    options = dict(FITS[name])
    x = rng.normal(size=(40, 5)).astype("float32")
    y = rng.integers(0, 3, 40)
    is_stopped, is_validated = options.pop("stop", False), options.pop("validation", False)
    if is_validated:
        options["validation_data"] = (x[:11], y[:11])
    all_notes: list[list[Any]] = []
    weights: Any = None
    for library in (keras, torchseq):
        dense = library.layers.Dense(3, activation="softmax")
        model = library.Sequential([library.Input((5,)), dense])
        weights = model.get_weights() if weights is None else weights
        model.set_weights(weights)
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        notes: list[Any] = []
        given = [recorder(library, notes)]
        if is_stopped:
            given.append(library.callbacks.EarlyStopping("loss", min_delta=9.0, patience=2))
        model.fit(
            x, y, **{"batch_size": 16, "shuffle": False, "verbose": 0, **options}, callbacks=given
        )
        model.evaluate(x, y, batch_size=16, verbose=0, callbacks=given)
        model.predict(x, batch_size=16, verbose=0, callbacks=given)
        all_notes.append(notes)
    theirs, ours = all_notes
    assert [note[:2] for note in ours] == [note[:2] for note in theirs]
    for own, their in zip(ours, theirs, strict=True):
        assert list(own[-1]) == list(their[-1]) or own[0] == "set_params", own[0]
        if own[0] == "set_params":
            assert {key: own[-1][key] for key in their[-1]} == their[-1]
        elif "outputs" in own[-1]:
            assert tuple(own[-1]["outputs"].shape) == tuple(their[-1]["outputs"].shape)
        else:
            assert own[-1] == pytest.approx(their[-1], rel=1e-5), own[0]
