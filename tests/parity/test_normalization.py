"""Normalization layers made of Keras's config, with Keras's weights, do as Keras's do."""

from typing import Any

import keras
import numpy as np
import pytest

import torchseq
from tests import checks, layer_parity
from tests.layer_parity import Draw, Rng, flag, floats, one_of, sizes

NUM_DRAWS = 20
POSITIVE = {"class_name": "RandomUniform", "config": {"minval": 0.5, "maxval": 2.0, "seed": 3}}


def scaled_options(rng: Rng) -> dict[str, Any]:
    return {
        # Keras subtracts squares: few or close values would show its rounding, not our formula.
        "epsilon": one_of(rng, (1e-3, 0.01, 0.1)),
        "center": bool(rng.integers(4)),
        "scale": bool(rng.integers(4)),
        "beta_initializer": one_of(rng, ("zeros", "random_normal")),
        "gamma_initializer": one_of(rng, ("ones", "random_normal", POSITIVE)),
        "beta_regularizer": one_of(rng, layer_parity.REGULARIZERS),
        "gamma_regularizer": one_of(rng, layer_parity.REGULARIZERS),
        "beta_constraint": one_of(rng, layer_parity.CONSTRAINTS),
        "gamma_constraint": one_of(rng, layer_parity.CONSTRAINTS),
        "trainable": bool(rng.integers(4)),
    }


def draw_batch(rng: Rng) -> tuple[Any, np.ndarray]:
    rank = int(rng.integers(2, 6))
    shape = (int(rng.integers(5, 9)), *sizes(rng, 2, 5, rank - 1))
    options = scaled_options(rng) | {
        "axis": int(one_of(rng, (-1, -1, *range(1, rank)))),
        "momentum": one_of(rng, (0.99, 0.9, 0.5)),
        "moving_mean_initializer": one_of(rng, ("zeros", "random_normal")),
        "moving_variance_initializer": one_of(rng, ("ones", POSITIVE)),
    }
    if not rng.integers(4):
        limits = ({}, {"rmax": 1.5}, {"rmin": 0.7, "dmax": 0.5}, {"rmin": 0.5, "rmax": 2.0})
        options |= {"renorm": True, "renorm_clipping": one_of(rng, (None, *limits))}
        options["renorm_momentum"] = one_of(rng, (0.99, 0.5))
    return keras.layers.BatchNormalization(**options), floats(rng, shape, 0.5)


def draw_layer(rng: Rng) -> tuple[Any, np.ndarray]:
    rank = int(rng.integers(2, 6))
    shape = (int(rng.integers(1, 4)), *sizes(rng, 2, 5, rank - 1))
    # Of the axes that Keras takes: the last ones, or two that do not lie side by side.
    last = [list(range(-count, 0)) for count in range(1, rank)]
    axis = one_of(rng, (-1, -1, *last, *([[1, 3]] if rank > 3 else [])))
    options = scaled_options(rng) | {"axis": axis}
    if not rng.integers(6):
        options |= {"rms_scaling": True, "axis": -1}
    return keras.layers.LayerNormalization(**options), floats(rng, shape)


def draw_group(rng: Rng) -> tuple[Any, np.ndarray]:
    rank = int(rng.integers(2, 6))
    axis = int(one_of(rng, (-1, -1, *range(1, rank))))
    groups = int(rng.integers(1, 4))
    shape = [int(rng.integers(1, 4)), *sizes(rng, 2, 5, rank - 1)]
    shape[axis] = groups * int(rng.integers(5, 8))
    groups = one_of(rng, (groups, groups, -1 if rank > 3 else 1))
    layer = keras.layers.GroupNormalization(groups, axis=axis, **scaled_options(rng))
    return layer, floats(rng, tuple(shape))


def draw_rms(rng: Rng) -> tuple[Any, np.ndarray]:
    rank = int(rng.integers(2, 6))
    last = [list(range(-count, 0)) for count in range(1, rank)]
    options = {"axis": one_of(rng, (-1, *last)), "epsilon": one_of(rng, (1e-6, 0.1))}
    return keras.layers.RMSNormalization(**options), floats(rng, sizes(rng, 2, 5, rank))


def draw_unit(rng: Rng) -> tuple[Any, np.ndarray]:
    rank = int(rng.integers(2, 5))
    axis = one_of(rng, (-1, 1, [1], list(range(1, rank)), [-1, 0]))
    return keras.layers.UnitNormalization(axis=axis), floats(rng, sizes(rng, 2, 5, rank))


def draw_spectral(rng: Rng) -> tuple[Any, np.ndarray]:
    iterations = int(rng.integers(1, 4))
    kind = one_of(rng, ("Dense", "Conv2D"))
    if kind == "Dense":
        layer, shape = keras.layers.Dense(int(rng.integers(1, 5))), sizes(rng, 2, 5, 2)
    else:
        layer = keras.layers.Conv2D(int(rng.integers(1, 5)), 2, padding="same", use_bias=flag(rng))
        shape = sizes(rng, 2, 5, 4)
    wrapper = keras.layers.SpectralNormalization(layer, power_iterations=iterations)
    return wrapper, floats(rng, shape)


DRAWS: dict[str, Draw] = {
    "BatchNormalization": draw_batch,
    "LayerNormalization": draw_layer,
    "GroupNormalization": draw_group,
    "RMSNormalization": draw_rms,
    "UnitNormalization": draw_unit,
    "SpectralNormalization": draw_spectral,
}
pytestmark = pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_random_configurations_equal_keras(name: str, draw: int, rng: Rng) -> None:
    layer_parity.assert_layer_equals_keras(DRAWS[name], rng)


@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_masked_batches_equal_keras(draw: int, rng: Rng) -> None:
    x = floats(rng, sizes(rng, 2, 5, 3))
    x[rng.random(x.shape[:2]) < one_of(rng, (0.3, 0.7, 1.0))] = (
        0  # none, some or all steps are left
    )
    axis = one_of(rng, (-1, 1))
    theirs = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            keras.layers.Masking(),
            keras.layers.BatchNormalization(axis=axis, momentum=0.5),
        ]
    )
    ours = torchseq.Sequential.from_config(checks.as_json(theirs.get_config()))
    for training in (True, False):
        layer_parity.forget_gradients(ours, theirs)
        layer_parity.assert_same_outputs(ours, theirs, x, training=training)
