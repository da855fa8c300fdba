"""Models, data and comparisons that the tests of files share."""

from pathlib import Path
from typing import Any

import numpy as np

import torchseq as keras
from torchseq import layers

Array = np.ndarray[Any, Any]
MODELS = (".safetensors", ".keras", ".h5")
WEIGHTS = (".safetensors", ".weights.h5", ".h5")
FILES = [*(("save", suffix) for suffix in MODELS), *(("save_weights", s) for s in WEIGHTS)]


def mlp(features: int = 4, classes: int = 3) -> Any:
    return keras.Sequential(
        [
            keras.Input((features,)),
            layers.Dense(5, activation="relu", kernel_regularizer="l2"),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def convnet() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            keras.Sequential([layers.Dense(6, activation="tanh"), layers.Dense(3)], name="inner"),
            layers.Activation("softmax"),
        ]
    )


def data(model: Any, rng: np.random.Generator, count: int = 24) -> tuple[Array, Array]:
    x = rng.normal(size=(count, *model.input_shape[1:])).astype("float32")
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, count)]
    return x, y


def trained(model: Any, x: Array, y: Array, optimizer: Any = "adam") -> Any:
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    train(model, x, y)
    return model


def train(model: Any, x: Array, y: Array) -> dict[str, list[float]]:
    history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    return {key: list(values) for key, values in history.items()}


def values(model: Any) -> list[Array]:
    variables = list(model.weights)
    if model.compiled:
        variables += list(model.optimizer.variables)
    return [variable.numpy() for variable in variables]


def assert_equal_arrays(found: list[Array], expected: list[Array]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
