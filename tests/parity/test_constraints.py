"""Constraints against live Keras: values, configs, names."""

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src import constraints as keras_constraints

import torchseq
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


# In training: after each step, on the weight in Keras's shape, whatever torch's is.


def halved(w: Any) -> Any:
    return w * 0.5


def own(library: Any) -> Any:
    """A constraint as Keras's guides write one: it looks at an axis of Keras's layout."""

    class FirstRowZero(library.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            w = w * 1.0  # a Variable becomes its tensor
            row = torch.arange(w.shape[0]).reshape(-1, *[1] * (w.ndim - 1))
            return torch.where(row == 0, 0.0, w)

    return FirstRowZero()


LAYERS: dict[str, tuple[tuple[int, ...], Any]] = {
    "dense": ((6,), lambda k, c: [k.layers.Dense(4, kernel_constraint=c, bias_constraint=c)]),
    "conv": ((5, 5, 2), lambda k, c: [k.layers.Conv2D(3, (2, 3), kernel_constraint=c)]),
    "transposed": ((5, 4), lambda k, c: [k.layers.Conv1DTranspose(3, 2, kernel_constraint=c)]),
    "depthwise": ((5, 5, 2), lambda k, c: [k.layers.DepthwiseConv2D(2, depthwise_constraint=c)]),
    "lstm": (
        (4, 3),
        lambda k, c: [k.layers.LSTM(2, kernel_constraint=c, recurrent_constraint=c)],
    ),
    "gru": ((4, 3), lambda k, c: [k.layers.GRU(2, kernel_constraint=c, recurrent_constraint=c)]),
}
GIVEN = {
    "max norm": lambda k: k.constraints.MaxNorm(0.3, axis=0),
    "last axis": lambda k: k.constraints.UnitNorm(axis=-1),
    "min max": lambda k: k.constraints.MinMaxNorm(0.2, 0.4, rate=0.7, axis=0),
    "name": lambda k: "non_neg",
    "function": lambda k: halved,
    "own": own,
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("given", GIVEN)
def test_applied_after_each_step_in_the_shape_of_keras(
    layer: str, given: str, rng: np.random.Generator
) -> None:
    shape, make = LAYERS[layer]
    x = rng.normal(size=(12, *shape)).astype("float32")
    models = []
    for library in (torchseq, keras):
        model = library.Sequential([library.Input(shape), *make(library, GIVEN[given](library))])
        models.append(model)
    y = rng.normal(size=(12, *models[0].output_shape[1:])).astype("float32")
    for model, library in zip(models, (torchseq, keras), strict=True):
        model.compile(library.optimizers.SGD(0.1), "mse")
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    for found, expected in zip(*[m.get_weights() for m in models], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
