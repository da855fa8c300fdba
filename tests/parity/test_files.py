"""`.h5`, `.keras` and `.weights.h5` files between torchseq and live Keras, both ways.

Keras 3.15.1 builds the optimizer of a loaded `.h5` model for no weights, so the model it returns
cannot be trained before it is compiled anew, whoever wrote the file. These tests let Keras read
the optimizer's arrays by its own function and build for the model's weights.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

import torchseq

Array = np.ndarray[Any, Any]

OPTIMIZERS = {
    "adam": ("Adam", {"learning_rate": 0.01}),
    "sgd": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01}),
}


def mlp(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((6,)),
            layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            layers.Dropout(0.0),
            layers.Dense(3, activation="softmax", bias_initializer="ones"),
        ]
    )


def convnet(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((12, 12, 2)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(6, (2, 3), dilation_rate=(1, 2), groups=2),
            layers.MaxPooling2D(),
            layers.Reshape((-1, 3)),
            layers.Flatten(),
            layers.Dense(3),
            layers.Activation("softmax"),
        ]
    )


def nested(library: Any) -> Any:
    layers = library.layers
    inner = library.Sequential([layers.Dense(5, activation="tanh"), layers.Dense(4)], name="inner")
    outer = [library.Input((6,)), layers.Dense(7), inner, layers.Dense(3, activation="softmax")]
    return library.Sequential(outer)


MODELS = [mlp, convnet, nested]


def data(model: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    x = rng.normal(size=(20, *model.input_shape[1:])).astype("float32")
    return x, np.eye(3, dtype="float32")[rng.integers(0, 3, 20)]


def compiled(library: Any, model: Any, optimizer: str) -> Any:
    name, options = OPTIMIZERS[optimizer]
    model.compile(
        optimizer=getattr(library.optimizers, name)(**options),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def train(model: Any, x: Array, y: Array) -> list[float]:
    fitted = model.fit(x, y, batch_size=5, epochs=3, shuffle=False, verbose=0)
    return list(fitted.history["loss"])


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def load_in_keras(path: Path, optimizer: str) -> Any:
    model = compiled(keras, keras.models.load_model(path, compile=False), optimizer)
    model.optimizer.build(model.trainable_variables)
    with h5py.File(path) as file:
        values = legacy_h5_format.load_optimizer_weights_from_hdf5_group(file)
        for variable, value in zip(model.optimizer.variables, values, strict=True):
            variable.assign(value[()])
    return model


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", MODELS)
def test_keras_reads_our_models(
    make: Any, optimizer: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "m.h5"
    ours = compiled(torchseq, make(torchseq), optimizer)
    x, y = data(ours, rng)
    train(ours, x, y)
    ours.save(path)

    theirs = keras.models.load_model(path)  # with its compile arguments
    assert theirs.compiled
    assert_close([theirs.predict(x, verbose=0)], [ours.predict(x, verbose=0)], 1e-6)
    theirs = load_in_keras(path, optimizer)
    assert_close(train(theirs, x, y), train(ours, x, y), 1e-5)
    assert_close(theirs.get_weights(), ours.get_weights(), 1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", MODELS)
def test_we_read_keras_models(
    make: Any, optimizer: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "m.h5"
    theirs = compiled(keras, make(keras), optimizer)
    x, y = data(theirs, rng)
    train(theirs, x, y)
    theirs.save(path)

    ours = torchseq.models.load_model(path)
    assert_close([ours.predict(x, verbose=0)], [theirs.predict(x, verbose=0)], 1e-6)
    assert_close(ours.get_weights(), theirs.get_weights(), 0)
    assert_close(train(ours, x, y), train(theirs, x, y), 1e-5)
    assert_close(ours.get_weights(), theirs.get_weights(), 1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_files_have_the_same_entries(make: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    entries = []
    for library in (keras, torchseq):
        model = compiled(library, make(library), "adam")
        train(model, *data(model, rng))
        model.save(tmp_path / "m.h5")
        found: list[Any] = []

        def note(name: str, item: Any, found: list[Any] = found) -> None:
            attributes = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
            found.append((name, getattr(item, "shape", None), attributes))

        with h5py.File(tmp_path / "m.h5") as file:
            file.visititems(note)
            found.append(sorted(file.attrs))
            found += [json.loads(file.attrs[key]) for key in ("model_config", "training_config")]
        entries.append(found)
    assert entries[0] == entries[1]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("by_name", [False, True])
def test_weights_of_ours_load_in_keras(
    make: Any, by_name: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    ours, theirs = make(torchseq), make(keras)
    ours.save_weights(tmp_path / "w.h5")
    theirs.load_weights(tmp_path / "w.h5", by_name=by_name)
    assert_close(theirs.get_weights(), ours.get_weights(), 0)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("by_name", [False, True])
def test_weights_of_keras_load_here(
    make: Any, by_name: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    ours, theirs = make(torchseq), make(keras)
    theirs.save(tmp_path / "m.h5")
    ours.load_weights(tmp_path / "m.h5", by_name=by_name)
    assert_close(ours.get_weights(), theirs.get_weights(), 0)


def test_short_names_of_losses_reach_keras(tmp_path: Path) -> None:
    for name in ("mse", "mae"):
        model = mlp(torchseq)
        model.compile("sgd", name, metrics=["mse", "mae", "accuracy"])
        model.save(tmp_path / "m.h5")
        assert keras.models.load_model(tmp_path / "m.h5").compiled


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("writer", [keras, torchseq], ids=["theirs", "ours"])
def test_keras_zips_go_on_training_on_the_other_side(
    writer: Any, make: Any, optimizer: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    reader = torchseq if writer is keras else keras
    model = compiled(writer, make(writer), optimizer)
    x, y = data(model, rng)
    train(model, x, y)
    model.save(tmp_path / "m.keras")
    loaded = reader.models.load_model(tmp_path / "m.keras")
    assert_close([loaded.predict(x, verbose=0)], [model.predict(x, verbose=0)], 1e-6)
    assert_close(loaded.get_weights(), model.get_weights(), 0)
    assert_close(train(loaded, x, y), train(model, x, y), 1e-5)
    assert_close(loaded.get_weights(), model.get_weights(), 1e-5)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("writer", [keras, torchseq], ids=["theirs", "ours"])
def test_weights_h5_go_both_ways(writer: Any, make: Any, tmp_path: Path) -> None:
    reader = torchseq if writer is keras else keras
    written, read = make(writer), make(reader)
    written.save_weights(tmp_path / "m.weights.h5")
    read.load_weights(tmp_path / "m.weights.h5")
    assert_close(read.get_weights(), written.get_weights(), 0)
    with_names: dict[Any, list[str]] = {}
    for library, model in ((writer, written), (reader, read)):
        model.save_weights(tmp_path / "n.weights.h5")
        names: list[str] = []
        with h5py.File(tmp_path / "n.weights.h5") as file:
            file.visit(names.append)
        with_names[library] = names
    assert with_names[keras] == with_names[torchseq]
