"""Activation layers made of Keras's config, with Keras's weights, do as Keras's do."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks, layer_parity
from tests.layer_parity import Draw, Rng, floats, one_of, sizes

NUM_DRAWS = 20


def input_of(rng: Rng) -> np.ndarray:
    return 3 * floats(rng, sizes(rng, 1, 5, int(rng.integers(2, 6))))


def draw_relu(rng: Rng) -> tuple[Any, np.ndarray]:
    layer = keras.layers.ReLU(
        max_value=one_of(rng, (None, 6, 6.0, 0.5, 2)),
        negative_slope=one_of(rng, (0.0, 0, 0.2, 1.5)),
        threshold=one_of(rng, (0.0, 0, 0.5, 1)),
    )
    return layer, input_of(rng)


def draw_leaky_relu(rng: Rng) -> tuple[Any, np.ndarray]:
    options = one_of(rng, ({}, {"negative_slope": 0.1}, {"negative_slope": 0}))
    return keras.layers.LeakyReLU(**options), input_of(rng)


def draw_elu(rng: Rng) -> tuple[Any, np.ndarray]:
    return keras.layers.ELU(**one_of(rng, ({}, {"alpha": 0.5}, {"alpha": 2}))), input_of(rng)


def draw_softmax(rng: Rng) -> tuple[Any, np.ndarray]:
    x = input_of(rng)
    axis = one_of(rng, (-1, 1, [1], list(range(1, x.ndim)), (0, 1)))
    return keras.layers.Softmax(axis=axis), x


def draw_prelu(rng: Rng) -> tuple[Any, np.ndarray]:
    x = input_of(rng)
    axes = list(range(1, x.ndim))
    layer = keras.layers.PReLU(
        alpha_initializer=one_of(rng, ("Zeros", "ones", "random_normal")),
        alpha_regularizer=one_of(rng, layer_parity.REGULARIZERS),
        alpha_constraint=one_of(rng, layer_parity.CONSTRAINTS),
        shared_axes=one_of(rng, (None, 1, axes, axes[:-1])),
        trainable=bool(rng.integers(4)),
    )
    return layer, x


DRAWS: dict[str, Draw] = {
    "ReLU": draw_relu,
    "LeakyReLU": draw_leaky_relu,
    "ELU": draw_elu,
    "Softmax": draw_softmax,
    "PReLU": draw_prelu,
}
# Keras warns where an axis of one entry goes through softmax.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*softmax over axis:UserWarning")


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_random_configurations_equal_keras(name: str, draw: int, rng: Rng) -> None:
    layer_parity.assert_layer_equals_keras(DRAWS[name], rng)


@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_masked_softmax_equals_keras(draw: int, rng: Rng) -> None:
    x = input_of(rng)
    axis = one_of(rng, (-1, 1, list(range(1, x.ndim))))
    shape = [size if rng.integers(3) else 1 for size in x.shape]
    mask = rng.random(shape[int(rng.integers(x.ndim)) :]) < one_of(rng, (0.5, 0.9, 0.0))
    mask = mask.astype(one_of(rng, ("bool", "float32", "int32")))
    ours, theirs = (library.layers.Softmax(axis) for library in (torchseq, keras))
    found = ours(torch.tensor(x), mask=torch.tensor(mask))
    checks.assert_close(found, theirs(torch.tensor(x), mask=torch.tensor(mask)))
