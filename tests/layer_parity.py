"""What the parity tests of all layer families share: one layer in a model, in both libraries."""

import copy
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

import torchseq
from tests import checks

Rng = np.random.Generator
Draw = Callable[[Rng], tuple[Any, np.ndarray]]  # -> a layer of Keras's, an input for it

REGULARIZERS = (None, None, "l1", "l2", {"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.2}})
CONSTRAINTS = (None, None, "non_neg", {"class_name": "MaxNorm", "config": {"max_value": 1}})
INITIALIZERS = ("glorot_uniform", "he_normal", "ones", "random_normal")
ACTIVATIONS = (None, "relu", "tanh", "sigmoid", "gelu", "elu", "linear")


def one_of(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def flag(rng: Rng) -> bool:
    return bool(rng.integers(2))


def sizes(rng: Rng, low: int, high: int, count: int) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(low, high + 1, count))


def floats(rng: Rng, shape: tuple[int, ...], mean: float = 0.0) -> np.ndarray:
    return (mean + rng.normal(size=shape)).astype("float32")


def models_of(layer: Any, x: np.ndarray) -> tuple[Any, Any]:
    """Keras's model of the layer and ours, both made of one config, with the same weights."""
    made = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype.name), layer])
    config = checks.as_json(made.get_config())
    theirs = keras.Sequential.from_config(copy.deepcopy(config))  # Keras's wrappers change it
    theirs.set_weights(made.get_weights())
    ours = torchseq.Sequential.from_config(config)
    ours.set_weights(made.get_weights())
    return ours, theirs


def assert_same_outputs(ours: Any, theirs: Any, x: np.ndarray, training: bool = False) -> None:
    """Outputs, gradients by input and weights, losses, and weights after the call are equal."""
    expected = checks.outputs_and_gradients(theirs, x, training=training)
    found = checks.outputs_and_gradients(ours, x, training=training)
    assert len(found) == len(expected)
    checks.assert_close(found[0], expected[0])
    # Of gradients, much cancels: they are sums over all outputs, with the penalties at each.
    absolute = 1e-6 * max(100, expected[0].numel())
    for one, other in zip(found[1:], expected[1:], strict=True):
        checks.assert_close(one, other, absolute=absolute)
    assert len(ours.losses) == len(theirs.losses)
    for one, other in zip(ours.losses, theirs.losses, strict=True):
        checks.assert_close(one, other)
    assert_equal_weights(ours, theirs)
    mask, expected_mask = (getattr(each, "_keras_mask", None) for each in (found[0], expected[0]))
    assert (mask is None) == (expected_mask is None)
    if mask is not None:
        assert torch.equal(mask, expected_mask)


def assert_equal_weights(ours: Any, theirs: Any) -> None:
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        checks.assert_close(one.value, other.value)


def forget_gradients(ours: Any, theirs: Any) -> None:
    ours.zero_grad()
    for weight in theirs.weights:
        weight.value.grad = None


def assert_same_description(ours: Any, theirs: Any, x: np.ndarray) -> None:
    """Weights, shapes and configs are equal, of the models and of the layers in them."""
    checks.assert_same_weights(ours, theirs)
    assert ours.output_shape == theirs.output_shape
    one, other = ours.layers[0], theirs.layers[0]
    for shape in (x.shape, (None, *x.shape[1:])):
        found, expected = (each.compute_output_shape(shape) for each in (one, other))
        assert checks.as_json(found) == checks.as_json(expected)
    assert checks.as_json(one.get_config()) == checks.as_json(other.get_config())
    assert checks.as_json(one.get_build_config()) == checks.as_json(other.get_build_config())
    assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())
    again = type(one).from_config(checks.as_json(one.get_config()))
    assert checks.as_json(again.get_config()) == checks.as_json(one.get_config())


def assert_same_step(ours: Any, theirs: Any, x: np.ndarray, rng: Rng) -> None:
    """A step of SGD toward a random target changes all weights alike."""
    forget_gradients(ours, theirs)
    target = floats(rng, tuple(theirs(x).shape))
    for library, model in ((keras, theirs), (torchseq, ours)):
        model.compile(library.optimizers.SGD(0.1), "mse")
        model.train_on_batch(x, target)
    assert_equal_weights(ours, theirs)


def assert_layer_equals_keras(draw: Draw, rng: Rng, is_random: bool = False) -> None:
    """All of the above, for one drawn configuration."""
    layer, x = draw(rng)
    ours, theirs = models_of(layer, x)
    assert_same_outputs(ours, theirs, x)
    if not is_random:
        forget_gradients(ours, theirs)
        assert_same_outputs(ours, theirs, x, training=True)
    assert_same_description(ours, theirs, x)
    if not is_random and theirs.trainable_weights:
        assert_same_step(ours, theirs, x, rng)


def assert_same_shapes_of_unknown_sizes(draw: Draw, rng: Rng) -> None:
    """Where sizes of the input but its channels are not known, the output's shape is as Keras's."""
    theirs, x = draw(rng)
    theirs.build(x.shape)
    ours = checks.twin_of(theirs, x.shape)
    channels = 1 if getattr(theirs, "data_format", None) == "channels_first" else x.ndim - 1
    for _ in range(4):
        shape = tuple(
            None if axis != channels and rng.integers(2) else size
            for axis, size in enumerate(x.shape)
        )
        assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))
