"""Normalization and Rescaling, from Keras's config and weights, do as Keras's do."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks, layer_parity
from tests.layer_parity import Draw, Rng, flag, floats, one_of, sizes

NUM_DRAWS = 20


def draw_normalization(rng: Rng) -> tuple[Any, np.ndarray]:
    x = floats(rng, sizes(rng, 2, 5, int(rng.integers(2, 5))), 3.0)
    axes = tuple(range(1, x.ndim))
    axis = one_of(rng, (-1, None, 1, axes, axes[::-1], (-1,)))
    options: dict[str, Any] = {"axis": axis, "invert": flag(rng)}
    kind = one_of(rng, ("adapted", "adapted", "new", "scalar", "given"))
    if kind == "scalar":
        options |= {"mean": 1.5, "variance": 2}
    elif kind == "given":
        kept = sorted(a % x.ndim for a in (() if axis is None else np.atleast_1d(axis)))
        shape = [x.shape[a] for a in kept][int(rng.integers(len(kept) + 1)) :]
        options |= {"mean": rng.normal(size=shape), "variance": rng.random(shape) + 0.1}
    layer = keras.layers.Normalization(**options)
    if kind == "adapted":
        layer.adapt(floats(rng, (7, *x.shape[1:]), 3.0))
    return layer, x


def draw_rescaling(rng: Rng) -> tuple[Any, np.ndarray]:
    x = floats(rng, sizes(rng, 1, 5, int(rng.integers(2, 5))))
    channels = [float(value) for value in rng.normal(size=x.shape[-1])]
    scale = one_of(rng, (1 / 255, 2, -0.5, channels, np.array(channels, "float32")))
    return keras.layers.Rescaling(scale, offset=one_of(rng, (0.0, -1, channels))), x


DRAWS: dict[str, Draw] = {"Normalization": draw_normalization, "Rescaling": draw_rescaling}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_random_configurations_equal_keras(name: str, draw: int, rng: Rng) -> None:
    layer_parity.assert_layer_equals_keras(DRAWS[name], rng)


@pytest.mark.parametrize("form", ["array", "tensor", "batches", "generator", "pairs"])
@pytest.mark.parametrize("axis", [-1, 1, None, (1, 2), (0,), (0, 1, 2)])
def test_adapt_equals_keras(form: str, axis: Any, rng: Rng) -> None:
    data = floats(rng, (6, 3, 4), 5.0)
    batches = [data[:4], data[4:]] if axis not in ((0,), (0, 1, 2)) else [data]

    def forms() -> Any:
        pairs = [(batch, np.zeros(len(batch))) for batch in batches]
        made = {"array": data, "tensor": torch.tensor(data), "batches": batches, "pairs": pairs}
        return made[form] if form in made else (batch for batch in batches)

    ours, theirs = (library.layers.Normalization(axis=axis) for library in (torchseq, keras))
    ours.adapt(forms())
    theirs.adapt(data)  # Keras needs TensorFlow for iterables
    checks.assert_same_weights(ours, theirs)
    layer_parity.assert_equal_weights(ours, theirs)
    for name in ("mean", "variance"):
        checks.assert_close(getattr(ours, name), getattr(theirs, name))
    checks.assert_close(ours(data), theirs(data))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_rescaling_by_channel_follows_the_layout(data_format: str, rng: Rng) -> None:
    x = floats(rng, (2, 3, 3, 3))
    for library in (keras, torchseq):
        library.config.set_image_data_format(data_format)
    try:
        found, expected = (
            library.layers.Rescaling([1.0, 2.0, 3.0], offset=1.0)(x)
            for library in (torchseq, keras)
        )
    finally:
        for library in (keras, torchseq):
            library.config.set_image_data_format("channels_last")
    checks.assert_close(found, expected)
