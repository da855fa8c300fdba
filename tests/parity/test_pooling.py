"""Pooling of random configurations, with Keras's config, does as Keras's does."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import torchseq
from tests import checks
from tests.image_draws import DATA_FORMATS, image_shape, size_or_sizes
from tests.layer_parity import (
    Rng,
    assert_layer_equals_keras,
    assert_same_shapes_of_unknown_sizes,
    flag,
    floats,
    one_of,
    sizes,
)
from torchseq.layers import geometry

NUM_DRAWS = 20
MEANS: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}

Drawn = tuple[dict[str, Any], tuple[int, ...]]


def draw_pooling(rng: Rng, rank: int) -> Drawn:
    data_format = one_of(rng, DATA_FORMATS)
    options = {
        "pool_size": size_or_sizes(rng, 1, 4, rank),
        "strides": one_of(rng, (None, size_or_sizes(rng, 1, 5, rank))),
        "padding": one_of(rng, ("valid", "same")),
        "data_format": data_format,
    }
    low = 4 if options["padding"] == "valid" else 1
    spatial = sizes(rng, low, 11 if rank < 3 else 7, rank)
    return options, image_shape(rng, spatial, int(rng.integers(1, 4)), data_format)


def draw_average_pooling(rng: Rng, rank: int) -> Drawn:
    """Without uneven padding, where Keras on torch counts edges twice, and what torch refuses."""
    while True:
        options, shape = draw_pooling(rng, rank)
        layer = getattr(keras.layers, f"AveragePooling{rank}D")(**options)
        spatial, _ = geometry.split_shape(shape, layer.data_format)
        is_large = rank < 3 or np.all(np.array(spatial) >= layer.pool_size)
        if layer.padding == "valid" or (is_large and is_even(layer, spatial)):
            return options, shape


def is_even(layer: Any, spatial: tuple[int, ...]) -> bool:
    windows = zip(spatial, layer.pool_size, layer.strides, strict=True)
    margins = [geometry.same_padding(*window) for window in windows]
    return all(before == after for before, after in margins)


def draw_global_pooling(rng: Rng, rank: int) -> Drawn:
    data_format = one_of(rng, DATA_FORMATS)
    shape = image_shape(rng, sizes(rng, 1, 5, rank), int(rng.integers(1, 4)), data_format)
    return {"data_format": data_format, "keepdims": flag(rng)}, shape


def draw_adaptive_pooling(rng: Rng, rank: int) -> Drawn:
    data_format = one_of(rng, ("channels_last", "channels_first"))
    shape = image_shape(rng, sizes(rng, 1, 7, rank), int(rng.integers(1, 4)), data_format)
    return {"output_size": size_or_sizes(rng, 1, 5, rank), "data_format": data_format}, shape


DRAWS: dict[str, tuple[Callable[..., Drawn], int]] = {
    f"{kind}{rank}D": (draw, rank)
    for kind, draw in {
        "MaxPooling": draw_pooling,
        "AveragePooling": draw_average_pooling,
        "GlobalMaxPooling": draw_global_pooling,
        "GlobalAveragePooling": draw_global_pooling,
        "AdaptiveMaxPooling": draw_adaptive_pooling,
        "AdaptiveAveragePooling": draw_adaptive_pooling,
    }.items()
    for rank in (1, 2, 3)
}
LAYERS = pytest.mark.parametrize("name", DRAWS)
EACH_DRAW = pytest.mark.parametrize("draw", range(NUM_DRAWS))


def draw_layer(name: str, rng: Rng, **more: Any) -> tuple[Any, np.ndarray]:
    """Keras's layer of a random configuration, and an input for it."""
    draw, rank = DRAWS[name]
    options, shape = draw(rng, rank)
    return getattr(keras.layers, name)(**options | more), floats(rng, shape)


@EACH_DRAW
@LAYERS
def test_layers_equal_keras(name: str, draw: int, rng: Rng) -> None:
    assert_layer_equals_keras(functools.partial(draw_layer, name), rng)


@EACH_DRAW
@LAYERS
def test_unknown_sizes_give_the_shapes_that_keras_gives(name: str, draw: int, rng: Rng) -> None:
    assert_same_shapes_of_unknown_sizes(functools.partial(draw_layer, name), rng)


@LAYERS
@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_bfloat16"])
def test_dtype_policies_equal_keras(name: str, policy: str, rng: Rng) -> None:
    if name == "AveragePooling3D" and policy != "float64":
        pytest.skip("Keras hands 16 bits to torch's avg_pool3d, which lacks them on the CPU")
    layer, x = draw_layer(name, rng, dtype=policy)
    expected = layer(x)
    ours = checks.twin_of(layer, x.shape)
    found = ours(x)
    assert found.dtype == expected.dtype
    assert checks.as_json(ours.get_config()) == checks.as_json(layer.get_config())
    tolerance = 1e-6 if policy == "float64" else 0.05
    checks.assert_close(found, expected, tolerance, tolerance)


def mean_of_cells_that_exist(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """Sums over windows, and over windows of ones, of the input with zeros around it."""
    x = geometry.channels_first(x, layer.data_format)
    ones = (1,) * layer.rank
    sums, counts = (
        MEANS[layer.rank](
            geometry.pad_same(cells, layer.pool_size, layer.strides, ones),
            layer.pool_size,
            layer.strides,
        )
        for cells in (x, torch.ones_like(x))
    )
    return geometry.as_format(sums / counts, layer.data_format)


@pytest.mark.parametrize("rank", [1, 2, 3])
@EACH_DRAW
def test_cells_that_padding_adds_do_not_count(rank: int, draw: int, rng: Rng) -> None:
    options, shape = draw_pooling(rng, rank)
    layer = getattr(torchseq.layers, f"AveragePooling{rank}D")(**options | {"padding": "same"})
    x = torch.tensor(rng.normal(size=shape), requires_grad=True)
    outputs, expected = layer(x), mean_of_cells_that_exist(layer, x)
    checks.assert_close(outputs, expected)
    slopes = torch.tensor(rng.normal(size=tuple(outputs.shape)))
    found, wanted = (torch.autograd.grad((y * slopes).sum(), x)[0] for y in (outputs, expected))
    checks.assert_close(found, wanted)


@EACH_DRAW
def test_masked_means_equal_keras(draw: int, rng: Rng) -> None:
    layer, x = draw_layer("GlobalAveragePooling1D", rng)
    steps = x.shape[1 if layer.data_format == "channels_last" else 2]
    mask = rng.integers(2, size=(len(x), steps)).astype(bool)
    ours = checks.twin_of(layer)
    expected = layer(x, mask=torch.tensor(mask))
    assert ours.supports_masking
    checks.assert_close(ours(x, mask=torch.tensor(mask)), expected)
    masked = torch.tensor(x)
    masked._keras_mask = torch.tensor(mask)
    outputs = ours(masked)
    checks.assert_close(outputs, expected)
    assert getattr(outputs, "_keras_mask", None) is None
