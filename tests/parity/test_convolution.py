"""Convolutions of random configurations, with Keras's config and weights, do as Keras's do."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tests import checks
from tests.image_draws import (
    DATA_FORMATS,
    for_each_axis,
    image_shape,
    size_or_sizes,
    weight_options,
)
from tests.layer_parity import (
    Rng,
    assert_layer_equals_keras,
    assert_same_shapes_of_unknown_sizes,
    flag,
    floats,
    one_of,
    sizes,
)
from torchseq import layers

Options = dict[str, Any]
NUM_DRAWS = 20
# Keras warns where an activity of one entry goes through softmax.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*softmax over axis:UserWarning")


def draw_window(rng: Rng, rank: int, both: bool = False) -> Options:
    """Kernel, steps and the like; steps and dilation above 1 `both` or one of them."""
    options: Options = {
        "kernel_size": size_or_sizes(rng, 1, 4 if rank < 3 else 3, rank),
        "padding": one_of(rng, ("valid", "same", "VALID", "Same")),
        "data_format": one_of(rng, DATA_FORMATS),
    }
    steps_too = flag(rng)
    if steps_too or both:
        options["strides"] = size_or_sizes(rng, 1, 3, rank)
    if not steps_too or both:
        options["dilation_rate"] = size_or_sizes(rng, 1, 2, rank)
    return options


def draw_shape(rng: Rng, options: Options, rank: int, channels: int) -> tuple[int, ...]:
    """An input shape that the window fits, often just so; any size where it is padded."""
    kernel, dilation = (
        for_each_axis(options.get(name, 1), rank) for name in ("kernel_size", "dilation_rate")
    )
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if options["padding"].lower() != "valid":
        extents = [1] * rank
    more = sizes(rng, 0, 6 if rank < 3 else 3, rank)
    spatial = [extent + extra for extent, extra in zip(extents, more, strict=True)]
    return image_shape(rng, spatial, channels, options["data_format"])


def draw_conv(rng: Rng, rank: int) -> tuple[Options, tuple[int, ...]]:
    options = draw_window(rng, rank)
    if rank == 1 and flag(rng):
        options["padding"] = "causal"
    groups = int(rng.integers(1, 4))
    options |= {"filters": groups * int(rng.integers(1, 4)), "groups": groups}
    shape = draw_shape(rng, options, rank, groups * int(rng.integers(1, 4)))
    return options | weight_options(rng, "kernel"), shape


def draw_conv_transpose(rng: Rng, rank: int) -> tuple[Options, tuple[int, ...]]:
    options = draw_window(rng, rank)
    options["filters"] = int(rng.integers(1, 4))
    if flag(rng):
        strides = for_each_axis(options.get("strides", 1), rank)
        options["output_padding"] = tuple(int(rng.integers(stride)) for stride in strides)
    # Of one cell, "same" padding may leave nothing.
    shape = image_shape(
        rng, sizes(rng, 2, 5, rank), int(rng.integers(1, 4)), options["data_format"]
    )
    return options | weight_options(rng, "kernel"), shape


def draw_depthwise_conv(rng: Rng, rank: int) -> tuple[Options, tuple[int, ...]]:
    options = draw_window(rng, rank, both=True)
    options["depth_multiplier"] = int(rng.integers(1, 4))
    shape = draw_shape(rng, options, rank, int(rng.integers(1, 4)))
    return options | weight_options(rng, "depthwise"), shape


def draw_separable_conv(rng: Rng, rank: int) -> tuple[Options, tuple[int, ...]]:
    options = draw_window(rng, rank, both=True)
    options |= {"filters": int(rng.integers(1, 4)), "depth_multiplier": int(rng.integers(1, 4))}
    shape = draw_shape(rng, options, rank, int(rng.integers(1, 4)))
    return options | weight_options(rng, "depthwise", "pointwise"), shape


DRAWS: dict[str, tuple[Callable[..., Any], int]] = {
    **{f"Conv{rank}D": (draw_conv, rank) for rank in (1, 2, 3)},
    **{f"Conv{rank}DTranspose": (draw_conv_transpose, rank) for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": (draw_depthwise_conv, rank) for rank in (1, 2)},
    **{f"SeparableConv{rank}D": (draw_separable_conv, rank) for rank in (1, 2)},
}
LAYERS = pytest.mark.parametrize("name", DRAWS)
EACH_DRAW = pytest.mark.parametrize("draw", range(NUM_DRAWS))


def draw_layer(name: str, rng: Rng, **more: Any) -> tuple[Any, np.ndarray]:
    """Keras's layer of a random configuration, and an input for it."""
    draw, rank = DRAWS[name]
    options, shape = draw(rng, rank)
    return getattr(keras.layers, name)(**options | more), floats(rng, shape)


def draw_layer_that_keras_trains(name: str, rng: Rng) -> tuple[Any, np.ndarray]:
    layer, x = draw_layer(name, rng)
    try:
        checks.outputs_and_gradients(layer, x)
    except RuntimeError as error:  # often with a batch of one
        if "grad_weight" not in str(error):
            raise
        pytest.skip("torch refuses the layout of the kernel that Keras hands it")
    return layer, x


@EACH_DRAW
@LAYERS
def test_layers_equal_keras(name: str, draw: int, rng: Rng) -> None:
    assert_layer_equals_keras(functools.partial(draw_layer_that_keras_trains, name), rng)


@EACH_DRAW
@LAYERS
def test_unknown_sizes_give_the_shapes_that_keras_gives(name: str, draw: int, rng: Rng) -> None:
    assert_same_shapes_of_unknown_sizes(functools.partial(draw_layer, name), rng)


@LAYERS
def test_a_batch_of_one_has_the_gradient_of_a_sample_among_others(name: str, rng: Rng) -> None:
    for _ in range(6):
        options = {"activation": "tanh", "activity_regularizer": None, "trainable": True}
        layer, x = draw_layer(name, rng, **options)
        ours = getattr(layers, name).from_config(checks.as_json(layer.get_config()))
        found = []
        for batch in (x[:1], np.concatenate([x[:1], x[:1]])):
            ours.zero_grad()
            ours(batch).square().sum().backward()
            found.append([checks.gradient_of(weight) / len(batch) for weight in ours.weights])
        for one, other in zip(*found, strict=True):
            checks.assert_close(one, other)


@LAYERS
@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_bfloat16"])
def test_dtype_policies_equal_keras(name: str, policy: str, rng: Rng) -> None:
    layer, x = draw_layer(name, rng, dtype=policy, activation="relu")
    expected = layer(x)
    ours = checks.twin_of(layer, x.shape)
    found = ours(x)
    assert found.dtype == expected.dtype
    assert checks.as_json(ours.get_config()) == checks.as_json(layer.get_config())
    tolerance = 1e-6 if policy == "float64" else 0.05
    checks.assert_close(found, expected, tolerance, tolerance)
