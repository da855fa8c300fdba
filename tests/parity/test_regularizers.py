"""Regularizers against live Keras: values, gradients, configs, names."""

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src import regularizers as keras_regularizers

from torchseq import regularizers

CASES: list[tuple[str, dict[str, Any]]] = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L2", {}),
    ("L2", {"l2": 2}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.1}),
    ("L1L2", {"l2": 0.2}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("L1L2", {"l1": None, "l2": None}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_value_and_gradient(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    rank = 2 if name.startswith("Orthogonal") else int(rng.integers(1, 5))
    x = rng.normal(size=tuple(rng.integers(2, 6, rank))).astype("float32")
    found = []
    for module in (regularizers, keras.regularizers):
        leaf = torch.tensor(x, requires_grad=True)
        value = getattr(module, name)(**options)(leaf * 1)
        assert value.shape == ()
        if value.requires_grad:
            value.backward()
        found.append((value.item(), np.zeros_like(x) if leaf.grad is None else leaf.grad.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_config_goes_both_ways(name: str, options: dict[str, Any]) -> None:
    ours = getattr(regularizers, name)(**options)
    theirs = getattr(keras.regularizers, name)(**options)
    # Keras rounds some factors to float32.
    assert ours.get_config() == pytest.approx(theirs.get_config())
    again = regularizers.deserialize(keras_regularizers.serialize(theirs))
    assert type(again) is type(ours)
    assert again.get_config() == pytest.approx(ours.get_config())
    back = keras_regularizers.deserialize(regularizers.serialize(ours))
    assert back.get_config() == pytest.approx(theirs.get_config())


@pytest.mark.parametrize("name", sorted(keras_regularizers.ALL_OBJECTS_DICT))
def test_names(name: str) -> None:
    theirs = keras_regularizers.get(name)
    assert type(regularizers.get(name)).__name__ == type(theirs).__name__
