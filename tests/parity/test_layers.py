"""Layers of random configurations, with Keras's config and weights, do as Keras's do."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks
from torchseq.base import settings

Rng = np.random.Generator
Draw = Callable[[Rng], tuple[dict[str, Any], tuple[int, ...]]]  # -> arguments, input shape

NUM_DRAWS = 24
ACTIVATIONS = (None, "relu", "tanh", "sigmoid", "softmax", "gelu", "elu", "linear")
INITIALIZERS = ("glorot_uniform", "he_normal", "ones", "lecun_uniform")
REGULARIZERS = (None, None, "l1", "l2", {"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.2}})
CONSTRAINTS = (None, None, "non_neg", {"class_name": "MaxNorm", "config": {"max_value": 1}})


def one_of(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def sizes(rng: Rng, low: int, high: int, count: int) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(low, high + 1, count))


def weight_options(rng: Rng) -> dict[str, Any]:
    return {
        "activation": one_of(rng, ACTIVATIONS),
        "use_bias": bool(rng.integers(2)),
        "kernel_initializer": one_of(rng, INITIALIZERS),
        "bias_initializer": one_of(rng, ("zeros", "random_normal")),
        "kernel_regularizer": one_of(rng, REGULARIZERS),
        "bias_regularizer": one_of(rng, REGULARIZERS),
        "activity_regularizer": one_of(rng, REGULARIZERS),
        "kernel_constraint": one_of(rng, CONSTRAINTS),
        "bias_constraint": one_of(rng, CONSTRAINTS),
        "trainable": bool(rng.integers(4)),
    }


def draw_dense(rng: Rng) -> tuple[dict[str, Any], tuple[int, ...]]:
    rank = int(rng.integers(1, 4))
    return {"units": int(rng.integers(1, 7)), **weight_options(rng)}, sizes(rng, 1, 5, rank + 1)


def draw_conv2d(rng: Rng) -> tuple[dict[str, Any], tuple[int, ...]]:
    groups = int(rng.integers(1, 4))
    channels, filters = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    steps = sizes(rng, 1, 3, 2)
    options = {
        "filters": filters,
        "kernel_size": one_of(rng, (int(rng.integers(1, 5)), sizes(rng, 1, 5, 2))),
        "strides": steps if rng.integers(2) else 1,
        "padding": one_of(rng, ("valid", "same")),
        "data_format": one_of(rng, ("channels_last", "channels_first", None)),
        "groups": groups,
        **weight_options(rng),
    }
    if options["strides"] in (1, (1, 1)):
        options["dilation_rate"] = one_of(rng, (1, 2, sizes(rng, 1, 3, 2)))
    spatial = sizes(rng, 13, 17, 2)  # 5 cells, 3 apart, span 13
    return options, image_shape(rng, spatial, channels, options["data_format"])


def draw_max_pooling2d(rng: Rng) -> tuple[dict[str, Any], tuple[int, ...]]:
    options = {
        "pool_size": one_of(rng, (int(rng.integers(1, 5)), sizes(rng, 1, 5, 2))),
        "strides": one_of(rng, (None, int(rng.integers(1, 4)), sizes(rng, 1, 6, 2))),
        "padding": one_of(rng, ("valid", "same")),
        "data_format": one_of(rng, ("channels_last", "channels_first", None)),
    }
    shape = image_shape(rng, sizes(rng, 5, 11, 2), int(rng.integers(1, 4)), options["data_format"])
    return options, shape


def image_shape(
    rng: Rng, spatial: tuple[int, ...], channels: int, data_format: str | None
) -> tuple[int, ...]:
    batch = int(rng.integers(1, 4))
    if data_format == "channels_first":
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)


def draw_flatten(rng: Rng) -> tuple[dict[str, Any], tuple[int, ...]]:
    data_format = one_of(rng, ("channels_last", "channels_first", None))
    return {"data_format": data_format}, sizes(rng, 1, 5, int(rng.integers(1, 5)))


def draw_dropout(rng: Rng) -> tuple[dict[str, Any], tuple[int, ...]]:
    shape = sizes(rng, 1, 5, int(rng.integers(2, 5)))
    noise_shape = [one_of(rng, (None, 1, size)) for size in shape]
    return {
        "rate": one_of(rng, (0, 0.0, 0.25, 0.5, 1.0)),
        "noise_shape": one_of(rng, (None, noise_shape)),
        "seed": one_of(rng, (None, int(rng.integers(1000)))),
    }, shape


def draw_activation(rng: Rng) -> tuple[dict[str, Any], tuple[int, ...]]:
    names = sorted(name for name in ACTIVATIONS[1:] if name)
    return {
        "activation": one_of(rng, names),
        "activity_regularizer": one_of(rng, REGULARIZERS),
    }, sizes(rng, 1, 5, int(rng.integers(2, 5)))


def draw_reshape(rng: Rng) -> tuple[dict[str, Any], tuple[int, ...]]:
    target = list(sizes(rng, 1, 5, int(rng.integers(1, 4))))
    entries = list(rng.permutation(target))
    shape = (int(rng.integers(1, 4)), *(int(entry) for entry in entries))
    if rng.integers(2):
        target[int(rng.integers(len(target)))] = -1
    return {"target_shape": tuple(target)}, shape


DRAWS: dict[str, Draw] = {
    "Dense": draw_dense,
    "Conv2D": draw_conv2d,
    "MaxPooling2D": draw_max_pooling2d,
    "Flatten": draw_flatten,
    "Dropout": draw_dropout,
    "Activation": draw_activation,
    "Reshape": draw_reshape,
}
# Keras warns where an activity of one entry goes through softmax.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*softmax over axis:UserWarning")
CASES = pytest.mark.parametrize("name", DRAWS)


def draw_layer(name: str, rng: Rng, **options: Any) -> tuple[Any, np.ndarray]:
    """Keras's layer of a random configuration, and an input for it."""
    arguments, shape = DRAWS[name](rng)
    layer = getattr(keras.layers, name)(**arguments, **options)
    return layer, rng.normal(size=shape).astype("float32")


@CASES
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_outputs_gradients_and_losses_equal_keras(name: str, draw: int, rng: Rng) -> None:
    theirs, x = draw_layer(name, rng)
    try:
        expected = checks.outputs_and_gradients(theirs, x)
    except RuntimeError as error:
        if "slow_conv2d" not in str(error):
            raise
        pytest.skip("torch refuses the layout of Keras's kernel here")
    ours = checks.twin_of(theirs, x.shape)
    found = checks.outputs_and_gradients(ours, x)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        checks.assert_close(one, other, absolute=1e-4)  # of gradients, much cancels
    assert len(ours.losses) == len(theirs.losses)
    for one, other in zip(ours.losses, theirs.losses, strict=True):
        checks.assert_close(one, other)


@CASES
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_weights_shapes_and_config_equal_keras(name: str, draw: int, rng: Rng) -> None:
    theirs, x = draw_layer(name, rng)
    outputs = theirs(x)
    ours = checks.twin_of(theirs, x.shape)
    assert tuple(ours.compute_output_shape(x.shape)) == tuple(outputs.shape)
    assert ours(x).shape == outputs.shape
    assert ours.output_shape[1:] == tuple(outputs.shape)[1:]
    unknown = (None, *x.shape[1:])
    assert ours.compute_output_shape(unknown) == theirs.compute_output_shape(unknown)
    if name in ("Conv2D", "MaxPooling2D", "Flatten", "Reshape") and x.ndim > 2:
        free = tuple(None if rng.integers(2) else size for size in x.shape)
        assert ours.compute_output_shape(free) == theirs.compute_output_shape(free)
    checks.assert_same_weights(ours, theirs)
    assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())
    assert checks.as_json(ours.get_build_config()) == checks.as_json(theirs.get_build_config())
    again = type(ours).from_config(checks.as_json(ours.get_config()))
    assert checks.as_json(again.get_config()) == checks.as_json(ours.get_config())


@CASES
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float64"])
def test_inputs_of_other_dtypes_give_the_dtype_that_keras_gives(
    name: str, dtype: str, rng: Rng
) -> None:
    theirs, x = draw_layer(name, rng)
    is_float = dtype.startswith("float")
    x = (x if is_float else rng.integers(0, 9, x.shape)).astype(dtype)
    if not is_float and (name == "Conv2D" or theirs.get_config().get("activation")):
        pytest.skip("Keras refuses integers here")
    if name == "MaxPooling2D" and not is_float and theirs.padding == "same":
        pytest.skip("Keras pads integers with minus infinity")
    expected = theirs(x)
    ours = checks.twin_of(theirs, x.shape)
    found = ours(x)
    assert found.dtype == expected.dtype
    checks.assert_close(found, expected, 1e-3, 1e-4)


@CASES
@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_bfloat16", "mixed_float16"])
def test_dtype_policies_equal_keras(name: str, policy: str, rng: Rng) -> None:
    theirs, x = draw_layer(name, rng, dtype=policy)
    x = np.abs(x)
    expected = theirs(x)
    ours = checks.twin_of(theirs, x.shape)
    found = ours(x)
    assert found.dtype == expected.dtype or policy == "float64"  # Keras's sigmoid gives float32
    assert (ours.dtype, ours.compute_dtype) == (theirs.dtype, theirs.compute_dtype)
    checks.assert_same_weights(ours, theirs)
    tolerance = 1e-6 if policy == "float64" else 0.05
    checks.assert_close(found, expected, tolerance, tolerance)
    assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())


@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_input_layers_equal_keras(draw: int, rng: Rng) -> None:
    shape = tuple(one_of(rng, (None, 1, 3, 8)) for _ in range(int(rng.integers(0, 4))))
    options = {
        "dtype": one_of(rng, (None, "float32", "int32", "float64", "uint8")),
        "name": one_of(rng, (None, "start")),
        "optional": bool(rng.integers(2)),
    }
    if rng.integers(2):
        options |= {"shape": shape, "batch_size": one_of(rng, (None, 1, 5))}
    else:
        options |= {"batch_shape": (one_of(rng, (None, 4)), *shape)}
    theirs = keras.layers.InputLayer(**options)
    ours = torchseq.layers.InputLayer.from_config(checks.as_json(theirs.get_config()))
    assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())
    assert checks.as_json(ours.get_build_config()) == checks.as_json(theirs.get_build_config())
    assert (ours.batch_shape, ours.dtype) == (theirs.batch_shape, theirs.dtype)
    assert ours.built
    assert ours.weights == []
    found, expected = torchseq.Input(**options), keras.Input(**options)
    assert (found.shape, found.dtype, found.ndim) == (expected.shape, expected.dtype, expected.ndim)
    assert options["name"] is None or found.name == expected.name


@CASES
def test_first_layers_declare_the_input_as_in_keras(name: str, rng: Rng) -> None:
    arguments, shape = DRAWS[name](rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about input_shape
        theirs = keras.Sequential(
            [
                getattr(keras.layers, name)(**arguments, input_shape=shape[1:]),
                keras.layers.Flatten(),
            ]
        )
        ours = torchseq.Sequential(
            [
                getattr(torchseq.layers, name)(**arguments, input_shape=shape[1:]),
                torchseq.layers.Flatten(),
            ]
        )
    assert ours.input_shape == theirs.input_shape
    assert ours.output_shape == theirs.output_shape
    checks.assert_same_weights(ours, theirs)


def test_the_same_seed_gives_the_same_first_weights() -> None:
    def weights_of(library: Any) -> list[np.ndarray]:
        library.utils.set_random_seed(7)
        layers = library.layers
        initializer = library.initializers.HeNormal()
        model = library.Sequential(
            [
                library.Input((9, 9, 4)),
                layers.Conv2D(8, 3, groups=2, kernel_initializer="he_normal"),
                layers.Dropout(0.3),
                layers.Dropout(0.0),
                layers.Conv2D(6, (2, 3), padding="same", bias_initializer="random_normal"),
                layers.Dropout(0.3, seed=5),
                layers.Flatten(),
                layers.Dense(7, kernel_initializer=initializer),
                layers.Dense(7, kernel_initializer="lecun_normal"),
                library.Sequential([layers.Dense(5), layers.Dropout(0.1)]),
                layers.Dense(5, kernel_initializer="orthogonal", use_bias=False),
                layers.Dense(3),
            ]
        )
        return model.get_weights()

    for ours, theirs in zip(weights_of(torchseq), weights_of(keras), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_default_layout_is_a_setting() -> None:
    settings.set_image_data_format("channels_first")
    try:
        ours = torchseq.layers.Conv2D(3, 2)
        assert ours.data_format == "channels_first"
        assert tuple(ours(torch.zeros(1, 2, 5, 5)).shape) == (1, 3, 4, 4)
    finally:
        settings.set_image_data_format("channels_last")
