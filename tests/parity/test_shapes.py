"""Layers that move, repeat, add or cut cells, with Keras's config, do as Keras's do."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks
from tests.image_draws import DATA_FORMATS, image_shape, size_or_sizes
from tests.layer_parity import (
    Rng,
    assert_layer_equals_keras,
    assert_same_shapes_of_unknown_sizes,
    floats,
    one_of,
    sizes,
)

NUM_DRAWS = 20
LANCZOS = ("lanczos3", "lanczos5")  # which Keras on torch lacks

Drawn = tuple[dict[str, Any], tuple[int, ...]]


def draw_permute(rng: Rng) -> Drawn:
    rank = int(rng.integers(1, 5))
    dims = [int(axis) for axis in rng.permutation(rank) + 1]
    return {"dims": one_of(rng, (dims, tuple(dims)))}, sizes(rng, 1, 4, rank + 1)


def draw_repeat_vector(rng: Rng) -> Drawn:
    return {"n": int(rng.integers(1, 5))}, sizes(rng, 1, 4, 2)


def draw_images(rng: Rng, rank: int, low: int, data_format: str | None) -> tuple[int, ...]:
    return image_shape(rng, sizes(rng, low, low + 3, rank), int(rng.integers(1, 4)), data_format)


def draw_up_sampling(rng: Rng, rank: int) -> Drawn:
    if rank == 1:
        return {"size": int(rng.integers(1, 4))}, draw_images(rng, 1, 1, None)
    options = {"size": size_or_sizes(rng, 1, 3, rank), "data_format": one_of(rng, DATA_FORMATS)}
    if rank == 2:
        options["interpolation"] = one_of(rng, ("nearest", "bilinear", "bicubic", "Bilinear"))
    return options, draw_images(rng, rank, 1, options["data_format"])


def draw_amounts(rng: Rng, rank: int) -> Any:
    """An amount for all, one for each axis, or one for each end."""
    pairs = tuple(sizes(rng, 0, 2, 2) for _ in range(rank))
    if rank == 1:
        return one_of(rng, (int(rng.integers(3)), pairs[0], list(pairs[0])))
    return one_of(rng, (int(rng.integers(3)), sizes(rng, 0, 2, rank), pairs, list(pairs)))


def draw_zero_padding(rng: Rng, rank: int) -> Drawn:
    data_format = one_of(rng, DATA_FORMATS)
    options = {"padding": draw_amounts(rng, rank), "data_format": data_format}
    return options, draw_images(rng, rank, 1, data_format)


def draw_cropping(rng: Rng, rank: int) -> Drawn:
    data_format = one_of(rng, DATA_FORMATS) if rank > 1 else None
    options = {"cropping": draw_amounts(rng, rank)}
    if rank > 1:
        options["data_format"] = data_format
    return options, draw_images(rng, rank, 5, data_format)


DRAWS: dict[str, Any] = {
    "Permute": draw_permute,
    "RepeatVector": draw_repeat_vector,
    **{
        f"{kind}{rank}D": functools.partial(draw, rank=rank)
        for kind, draw in {
            "UpSampling": draw_up_sampling,
            "ZeroPadding": draw_zero_padding,
            "Cropping": draw_cropping,
        }.items()
        for rank in (1, 2, 3)
    },
}
LAYERS = pytest.mark.parametrize("name", DRAWS)
EACH_DRAW = pytest.mark.parametrize("draw", range(NUM_DRAWS))


def draw_layer(name: str, rng: Rng, **more: Any) -> tuple[Any, np.ndarray]:
    """Keras's layer of a random configuration, and an input for it."""
    options, shape = DRAWS[name](rng)
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
@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "float16", "float64"])
def test_other_dtypes_give_what_keras_gives(name: str, dtype: str, rng: Rng) -> None:
    layer, x = draw_layer(name, rng)
    x = (x * 100).astype(dtype)
    if dtype == "bool" and getattr(layer, "interpolation", "nearest") != "nearest":
        pytest.skip("Keras cannot interpolate between truth values")
    expected = layer(x)
    found = checks.twin_of(layer)(x)
    assert found.dtype == expected.dtype
    checks.assert_close(found, expected, 1e-3, 1e-3)


@LAYERS
@pytest.mark.parametrize("policy", ["float64", "bfloat16", "mixed_bfloat16"])
def test_dtype_policies_equal_keras(name: str, policy: str, rng: Rng) -> None:
    layer, x = draw_layer(name, rng, dtype=policy)
    expected = layer(x)
    ours = checks.twin_of(layer)
    found = ours(x)
    assert found.dtype == expected.dtype
    assert checks.as_json(ours.get_config()) == checks.as_json(layer.get_config())
    tolerance = 1e-6 if policy == "float64" else 0.05
    checks.assert_close(found, expected, tolerance, tolerance)


def lanczos(x: np.ndarray, axis: int, factor: int, radius: int) -> np.ndarray:
    """Each new cell's value, one by one: the mean of the old ones, weighted by the kernel."""
    cells = np.moveaxis(x, axis, 0)
    values = []
    for new in range(len(cells) * factor):
        distances = np.arange(len(cells)) - ((new + 0.5) / factor - 0.5)
        weights = np.sinc(distances) * np.sinc(distances / radius) * (np.abs(distances) < radius)
        values.append(np.tensordot(weights / weights.sum(), cells, axes=1))
    return np.moveaxis(np.stack(values), 0, axis)


@EACH_DRAW
@pytest.mark.parametrize("interpolation", LANCZOS)
def test_lanczos_equals_its_formula(interpolation: str, draw: int, rng: Rng) -> None:
    options, _ = draw_up_sampling(rng, 2)
    shape = draw_images(rng, 2, int(rng.integers(1, 9)), options["data_format"])
    x = rng.normal(size=shape)
    layer = torchseq.layers.UpSampling2D(**options | {"interpolation": interpolation})
    first = 2 if layer.data_format == "channels_first" else 1
    expected = x
    for axis, factor in enumerate(layer.size, start=first):
        expected = lanczos(expected, axis, factor, int(interpolation[-1]))
    outputs = layer(x.astype("float32"))
    checks.assert_close(outputs, expected)
    assert outputs.shape == layer.compute_output_shape(shape)
    constant = layer(torch.full(shape, 3.0))
    checks.assert_close(constant, torch.full_like(constant, 3.0))
