"""Activations against live Keras: values, gradients, names, configs."""

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src import activations as keras_activations

from torchseq import activations

FUNCTIONS = sorted(set(keras_activations.ALL_OBJECTS_DICT) - {"threshold"})
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in FUNCTIONS),
    ("threshold", {"threshold": 0.3, "default_value": 2.0}),
    ("celu", {"alpha": 0.7}),
    ("elu", {"alpha": 0.7}),
    ("gelu", {"approximate": True}),
    ("glu", {"axis": 0}),
    ("hard_shrink", {"threshold": 1.0}),
    ("leaky_relu", {"negative_slope": 0.05}),
    ("log_softmax", {"axis": 0}),
    ("log_softmax", {"axis": None}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 1.5}),
    ("relu", {"max_value": 6}),
    ("relu", {"max_value": 6, "negative_slope": 0.2}),
    ("relu", {"threshold": 0.5}),
    ("relu", {"threshold": -0.5, "max_value": 1.0}),
    ("relu", {"threshold": 0.5, "max_value": 2.0, "negative_slope": 0.3}),
    ("soft_shrink", {"threshold": 0.1}),
    ("softmax", {"axis": 1}),
    ("softmax", {"axis": None}),
    ("softmax", {"axis": (0, 2)}),
    ("sparsemax", {"axis": 1}),
    ("squareplus", {"b": 1.0}),
]


def value_and_gradient(function: Any, x: np.ndarray, options: dict[str, Any], scale: Any) -> Any:
    leaf = torch.tensor(x, requires_grad=True)
    value = function(leaf, **options)
    (value * torch.tensor(scale[: value.numel()]).reshape(value.shape)).sum().backward()
    assert leaf.grad is not None
    return value.detach().numpy(), leaf.grad.numpy()


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=[f"{n}-{o}" for n, o in OPTIONS])
def test_value_and_gradient(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    x = rng.normal(0, 3, (4, 3, 6)).astype("float32")
    scale = rng.normal(size=x.size).astype("float32")
    ours = value_and_gradient(getattr(activations, name), x, options, scale)
    theirs = value_and_gradient(keras_activations.ALL_OBJECTS_DICT[name], x, options, scale)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"glu"}))
def test_extreme_values(name: str) -> None:
    # The corners of the piecewise ones are among them.
    x = np.array([0, -0.0, 1, -1, 3, -3, 6, 0.5, -0.5, 1e4, -1e4, 88, -88], "float32")
    scale = np.linspace(-1, 1, x.size, dtype="float32")
    ours = value_and_gradient(getattr(activations, name), x, {}, scale)
    theirs = value_and_gradient(keras_activations.ALL_OBJECTS_DICT[name], x, {}, scale)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax", "relu", "sigmoid"])
def test_one_axis(name: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=5).astype("float32")
    ours, theirs = getattr(activations, name)(x), getattr(keras.activations, name)(x)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", sorted(keras_activations.ALL_OBJECTS_DICT))
def test_names_and_configs(name: str) -> None:
    theirs = keras_activations.get(name)
    assert activations.get(name) is getattr(activations, name)
    assert activations.get(name).__name__ == theirs.__name__
    serialized = activations.serialize(activations.get(name))
    assert serialized == keras_activations.serialize(theirs)
    assert activations.deserialize(serialized) is activations.get(name)


def mine(x: torch.Tensor) -> torch.Tensor:
    return x


def test_own_functions_go_round() -> None:
    config = activations.serialize(mine)
    expected = keras_activations.serialize(mine)
    assert {**config, "registered_name": None} == {**expected, "registered_name": None}
    assert activations.deserialize(config, {"mine": mine}) is mine
    assert activations.deserialize(expected, {"mine": mine}) is mine
    assert keras_activations.deserialize(config, {"mine": mine}) is mine
