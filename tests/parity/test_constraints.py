"""Constraints against live Keras: values, configs, names."""

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src import constraints as keras_constraints

from torchseq import constraints

CASES: list[tuple[str, dict[str, Any]]] = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.7, "axis": 1}),
    ("MaxNorm", {"max_value": 1.0, "axis": [0, 1]}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": -1}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 1.0, "max_value": 2.0, "rate": 0.5, "axis": 1}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 10.0])
def test_value(name: str, options: dict[str, Any], scale: float, rng: np.random.Generator) -> None:
    w = rng.normal(0, scale, tuple(rng.integers(2, 6, rng.integers(2, 5)))).astype("float32")
    ours = getattr(constraints, name)(**options)(torch.tensor(w))
    theirs = getattr(keras.constraints, name)(**options)(torch.tensor(w))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_config_goes_both_ways(name: str, options: dict[str, Any]) -> None:
    ours, theirs = (
        getattr(constraints, name)(**options),
        getattr(keras.constraints, name)(**options),
    )
    assert constraints.serialize(ours) == keras_constraints.serialize(theirs)
    again = constraints.deserialize(keras_constraints.serialize(theirs))
    assert type(again) is type(ours)
    assert again.get_config() == ours.get_config()
    back = keras_constraints.deserialize(constraints.serialize(ours))
    assert back.get_config() == theirs.get_config()


@pytest.mark.parametrize("name", sorted(keras_constraints.ALL_OBJECTS_DICT))
def test_names(name: str) -> None:
    theirs = keras_constraints.get(name)
    assert type(constraints.get(name)).__name__ == type(theirs).__name__
