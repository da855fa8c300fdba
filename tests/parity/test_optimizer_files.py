"""Optimizer state in `.keras` and `.h5` files that one library writes and the other reads."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

import torchseq
from tests.optimizer_parity import CLASSES, Array, assert_close

OPTIONS: dict[str, Any] = {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.5}
TOLERANCE = 3e-5  # two fits, each with float32 sums in its own order


def network(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((5, 5, 2)),
            layers.Conv2D(3, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def trained(library: Any, name: str, x: Array, y: Array) -> Any:
    model = network(library)
    model.compile(getattr(library.optimizers, name)(**OPTIONS), "mse")
    train(model, x, y)
    return model


def train(model: Any, x: Array, y: Array) -> None:
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)


def state(model: Any) -> list[Array]:
    return [np.asarray(variable) for variable in model.optimizer.variables]


def keras_from_h5(path: Path, name: str) -> Any:
    """Keras 3.15.1 builds the optimizer of a loaded `.h5` model for no weights."""
    model = keras.models.load_model(path, compile=False)
    model.compile(getattr(keras.optimizers, name)(**OPTIONS), "mse")
    model.optimizer.build(model.trainable_variables)
    with h5py.File(path) as file:
        values = legacy_h5_format.load_optimizer_weights_from_hdf5_group(file)
        for variable, value in zip(model.optimizer.variables, values, strict=True):
            variable.assign(value[()])
    return model


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("writer", [keras, torchseq], ids=["theirs", "ours"])
@pytest.mark.parametrize("name", CLASSES)
def test_training_goes_on_on_the_other_side(
    name: str, writer: Any, suffix: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(12, 5, 5, 2)).astype("float32")
    y = rng.normal(size=(12, 3)).astype("float32")
    written = trained(writer, name, x, y)
    path = tmp_path / f"m.{suffix}"
    written.save(path)
    if writer is torchseq and suffix == "h5":
        read = keras_from_h5(path, name)
    else:
        read = (torchseq if writer is keras else keras).models.load_model(path)
    assert len(state(read)) == len(state(written))
    for own, their in zip(state(read), state(written), strict=True):
        np.testing.assert_array_equal(own, their)
    for model in (written, read):
        train(model, x, y)
    assert_close("weights", read.get_weights(), written.get_weights(), TOLERANCE)
