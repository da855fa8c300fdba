"""EinsumDense, embeddings, masks and wrapped functions do as Keras's, from its configs."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks, layer_parity
from tests.layer_parity import Draw, Rng, flag, floats, one_of, sizes

NUM_DRAWS = 20
# Equation, output shape, letters that may have a bias; an axis of 3 in the output that Keras
# cannot infer is 3 in the input too.
EINSUMS = (
    ("ab,bc->ac", 5, ("c",)),
    ("abc,cd->abd", (None, 4), ("d",)),
    ("abc,cd->abd", (3, 4), ("d", "bd")),
    ("abc,cde->abde", (None, 2, 5), ("e", "de", "d")),
    ("abcd,cde->abe", (None, 4), ("e",)),
    ("abc,bcd->abd", (3, 4), ("d", "b")),
    ("...x,xy->...y", 4, ("y",)),
    ("...ab,bc->...ac", (3, 4), ("c", "ac")),
    ("ab...,bc->ac...", 4, ("c",)),
    ("abc,bd->adc", (4, None), ("d",)),
)


def dense_options(rng: Rng) -> dict[str, Any]:
    return {
        "activation": one_of(rng, layer_parity.ACTIVATIONS),
        "kernel_initializer": one_of(rng, layer_parity.INITIALIZERS),
        "bias_initializer": one_of(rng, ("zeros", "random_normal")),
        "kernel_regularizer": one_of(rng, layer_parity.REGULARIZERS),
        "bias_regularizer": one_of(rng, layer_parity.REGULARIZERS),
        "activity_regularizer": one_of(rng, layer_parity.REGULARIZERS),
        "kernel_constraint": one_of(rng, layer_parity.CONSTRAINTS),
        "bias_constraint": one_of(rng, layer_parity.CONSTRAINTS),
        "trainable": bool(rng.integers(4)),
    }


def draw_einsum(rng: Rng) -> tuple[Any, np.ndarray]:
    equation, output_shape, letters = one_of(rng, EINSUMS)
    bias_axes = one_of(rng, (None, *letters))
    layer = keras.layers.EinsumDense(
        equation, output_shape, bias_axes=bias_axes, **dense_options(rng)
    )
    inputs = equation.partition(",")[0]
    rank = len(inputs.replace("...", "")) + ("..." in inputs) * int(rng.integers(1, 3))
    shape = [int(rng.integers(1, 4)), *sizes(rng, 1, 5, rank - 1)]
    if inputs == "...ab":
        shape[-2] = 3
    elif "b" in inputs[:2] and "..." not in inputs and len(shape) > 1:
        shape[1] = 3
    return layer, floats(rng, tuple(shape))


def draw_embedding(rng: Rng) -> tuple[Any, np.ndarray]:
    num_words = int(rng.integers(2, 9))
    layer = keras.layers.Embedding(
        num_words,
        int(rng.integers(1, 5)),
        embeddings_initializer=one_of(rng, ("uniform", *layer_parity.INITIALIZERS)),
        embeddings_regularizer=one_of(rng, layer_parity.REGULARIZERS),
        activity_regularizer=one_of(rng, layer_parity.REGULARIZERS),
        embeddings_constraint=one_of(rng, layer_parity.CONSTRAINTS),
        mask_zero=flag(rng),
        trainable=bool(rng.integers(4)),
    )
    dtype = one_of(rng, ("int32", "int64", "uint8", "float32"))
    return layer, rng.integers(0, num_words, sizes(rng, 1, 5, int(rng.integers(1, 4)))).astype(
        dtype
    )


def draw_masking(rng: Rng) -> tuple[Any, np.ndarray]:
    value = one_of(rng, (0.0, 0, -1.0, 2.5))
    x = floats(rng, sizes(rng, 1, 5, int(rng.integers(3, 5))))
    x[rng.random(x.shape[:2]) < 0.5] = value
    return keras.layers.Masking(mask_value=value), x


def draw_identity(rng: Rng) -> tuple[Any, np.ndarray]:
    regularizer = one_of(rng, layer_parity.REGULARIZERS)
    options = {} if regularizer is None else {"activity_regularizer": regularizer}
    return keras.layers.Identity(**options), floats(rng, sizes(rng, 1, 5, int(rng.integers(2, 5))))


DRAWS: dict[str, Draw] = {
    "EinsumDense": draw_einsum,
    "Embedding": draw_embedding,
    "Masking": draw_masking,
    "Identity": draw_identity,
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_random_configurations_equal_keras(name: str, draw: int, rng: Rng) -> None:
    layer_parity.assert_layer_equals_keras(DRAWS[name], rng)


def test_the_same_seed_gives_the_same_first_weights() -> None:
    def weights_of(library: Any) -> list[np.ndarray]:
        library.utils.set_random_seed(7)
        layers = library.layers
        initializer = library.initializers.HeNormal()
        model = library.Sequential(
            [
                library.Input((6,), dtype="int32"),
                layers.Embedding(9, 4),
                layers.SpatialDropout1D(0.3),
                layers.EinsumDense("abc,cd->abd", (None, 5), kernel_initializer=initializer),
                layers.GaussianNoise(0.3),
                layers.GaussianDropout(0.0),
                layers.EinsumDense("...c,cd->...d", 6, bias_axes="d"),
                layers.AlphaDropout(0.2, seed=3),
                layers.PReLU("he_normal", shared_axes=[1]),
                layers.SpectralNormalization(layers.Dense(3)),
                layers.BatchNormalization(renorm=True, moving_mean_initializer="random_normal"),
                layers.Dense(3, kernel_initializer=initializer),
            ]
        )
        return model.get_weights()

    for ours, theirs in zip(weights_of(torchseq), weights_of(keras), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def add_one(x: Any, mask: Any = None, training: Any = None, step: float = 1.0) -> Any:
    return x + step * (2.0 if training else 1.0) * (1.0 if mask is None else mask[..., None])


def late_steps(inputs: Any, mask: Any = None) -> Any:
    return torch.arange(inputs.shape[1]).expand(inputs.shape[:2]) > 0


@pytest.mark.filterwarnings("ignore:.*this layer does not support masking:UserWarning")
@pytest.mark.parametrize("output_shape", [None, (4, 3), lambda shape: shape])
@pytest.mark.parametrize("mask", [None, late_steps])
def test_lambda_tells_the_function_what_it_asks_for(output_shape: Any, mask: Any) -> None:
    x = np.ones((2, 4, 3), "float32")
    x[:, 2:] = 0

    def output_of(library: Any, training: bool) -> Any:
        layer = library.layers.Lambda(add_one, output_shape, mask, arguments={"step": 3.0})
        assert layer.compute_output_shape((2, 4, 3)) == (2, 4, 3)
        return layer(library.layers.Masking()(x), training=training)

    for training in (False, True):
        ours, theirs = (output_of(library, training) for library in (torchseq, keras))
        checks.assert_close(ours, theirs)
        masks = [getattr(output, "_keras_mask", None) for output in (ours, theirs)]
        if mask is None:
            assert masks == [None, None]
        else:
            assert torch.equal(*masks)


def test_lambda_configs_equal_keras() -> None:
    for options in ({}, {"arguments": {"step": 2}}, {"output_shape": [3], "mask": late_steps}):
        theirs = keras.layers.Lambda(add_one, **options)
        config = checks.as_json(theirs.get_config())
        objects = {"add_one": add_one, "late_steps": late_steps}
        ours = torchseq.layers.Lambda.from_config(config, custom_objects=objects)
        assert checks.as_json(ours.get_config()) == config
