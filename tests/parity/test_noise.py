"""Random layers made of Keras's config: identity, shapes, configs and statistics as Keras's."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks, layer_parity
from tests.layer_parity import Draw, Rng, floats, one_of, sizes

NUM_DRAWS = 20


def options_of(rng: Rng) -> dict[str, Any]:
    return {
        "seed": one_of(rng, (None, int(rng.integers(1000)))),
        "dtype": one_of(rng, (None, "float32")),
    }


def draw_spatial(rank: int) -> Draw:
    def draw(rng: Rng) -> tuple[Any, np.ndarray]:
        options = {"rate": one_of(rng, (0, 0.25, 0.5, 1.0)), **options_of(rng)}
        if rank > 1:
            options["data_format"] = one_of(rng, ("channels_first", "channels_last", None))
        layer = getattr(keras.layers, f"SpatialDropout{rank}D")(**options)
        return layer, floats(rng, sizes(rng, 1, 5, rank + 2))

    return draw


def draw_gaussian_dropout(rng: Rng) -> tuple[Any, np.ndarray]:
    layer = keras.layers.GaussianDropout(one_of(rng, (0, 0.25, 0.5)), **options_of(rng))
    return layer, floats(rng, sizes(rng, 1, 5, int(rng.integers(2, 5))))


def draw_gaussian_noise(rng: Rng) -> tuple[Any, np.ndarray]:
    layer = keras.layers.GaussianNoise(one_of(rng, (0, 0.25, 1.0)), **options_of(rng))
    return layer, floats(rng, sizes(rng, 1, 5, int(rng.integers(2, 5))))


def draw_alpha_dropout(rng: Rng) -> tuple[Any, np.ndarray]:
    x = floats(rng, sizes(rng, 1, 5, int(rng.integers(2, 5))))
    noise_shape = one_of(rng, (None, [one_of(rng, (None, 1, size)) for size in x.shape]))
    rate = one_of(rng, (0, 0.25, 0.5))
    return keras.layers.AlphaDropout(rate, noise_shape=noise_shape, **options_of(rng)), x


def draw_activity_regularization(rng: Rng) -> tuple[Any, np.ndarray]:
    weights = {"l1": one_of(rng, (0.0, 0.1, 1)), "l2": one_of(rng, (0.0, 0.2, 2))}
    layer = keras.layers.ActivityRegularization(**weights)
    return layer, floats(rng, sizes(rng, 1, 5, int(rng.integers(2, 5))))


DRAWS: dict[str, Draw] = {
    **{f"SpatialDropout{rank}D": draw_spatial(rank) for rank in (1, 2, 3)},
    "GaussianDropout": draw_gaussian_dropout,
    "GaussianNoise": draw_gaussian_noise,
    "AlphaDropout": draw_alpha_dropout,
    "ActivityRegularization": draw_activity_regularization,
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_random_configurations_equal_keras(name: str, draw: int, rng: Rng) -> None:
    is_random = name != "ActivityRegularization"
    layer_parity.assert_layer_equals_keras(DRAWS[name], rng, is_random=is_random)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Dropout", {"rate": 0.3}),
        ("SpatialDropout1D", {"rate": 0.3}),
        ("GaussianDropout", {"rate": 0.3}),
        ("GaussianNoise", {"stddev": 0.3}),
        ("AlphaDropout", {"rate": 0.3}),
        ("AlphaDropout", {"rate": 0.3, "noise_shape": (None, 40, None)}),
    ],
)
@pytest.mark.parametrize("layer_seed", [None, 5])
def test_training_has_the_moments_that_keras_has(
    name: str, options: Any, layer_seed: int | None
) -> None:
    x = torch.randn(500, 40, 50)
    for inputs in (x, torch.full_like(x, 2.0)):
        found, expected = (
            getattr(library.layers, name)(**options, seed=layer_seed)(inputs, training=True)
            for library in (torchseq, keras)
        )
        for power in (1, 2, 3):  # of a million draws
            moments = (output.detach().pow(power).mean() for output in (found, expected))
            checks.assert_close(*moments, relative=0.05, absolute=0.05)
        share = [(abs(o - o.flatten()[0]) < 1e-6).float().mean() for o in (found, expected)]
        checks.assert_close(*share, absolute=1.0 if inputs is x else 0.75)
