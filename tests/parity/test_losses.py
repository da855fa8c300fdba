"""Losses against live Keras: values and gradients, reductions, weights, masks, configs, names."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src import losses as keras_losses
from torch import Tensor

from torchseq import activations, losses

Arrays = tuple[np.ndarray, np.ndarray]


def one_hot(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> np.ndarray:
    return np.eye(classes, dtype="float32")[rng.integers(0, classes, shape)]


def quantities(rng: np.random.Generator) -> Arrays:
    shape = tuple(rng.integers(1, 6, rng.integers(1, 4)))
    return rng.normal(size=shape).astype("float32"), rng.normal(size=shape).astype("float32")


def positives(rng: np.random.Generator) -> Arrays:
    return tuple(np.abs(a) + 0.1 for a in quantities(rng))  # type: ignore[return-value]


def bits(rng: np.random.Generator) -> Arrays:
    shape = tuple(rng.integers(1, 6, 2))
    return rng.integers(0, 2, shape).astype("float32"), rng.uniform(0, 1, shape).astype("float32")


def classes(rng: np.random.Generator) -> Arrays:
    shape, count = tuple(rng.integers(1, 6, rng.integers(1, 3))), int(rng.integers(2, 6))
    return one_hot(rng, shape, count), rng.uniform(0.01, 1, (*shape, count)).astype("float32")


def labels(rng: np.random.Generator) -> Arrays:
    targets, predictions = classes(rng)
    return targets.argmax(-1), predictions


def vectors(rng: np.random.Generator) -> Arrays:
    x = rng.normal(size=(8, 4)).astype("float32")
    return rng.integers(0, 3, 8), x / np.linalg.norm(x, axis=-1, keepdims=True)


def sequences(rng: np.random.Generator) -> Arrays:
    return np.array([[1, 2, 1, 0], [2, 3, 0, 0]]), rng.normal(size=(2, 9, 4)).astype("float32")


CASES: list[tuple[str, dict[str, Any], Callable[..., Arrays]]] = [
    ("MeanSquaredError", {}, quantities),
    ("MeanAbsoluteError", {}, quantities),
    ("MeanAbsolutePercentageError", {}, quantities),
    ("MeanSquaredLogarithmicError", {}, quantities),
    ("CosineSimilarity", {}, quantities),
    ("CosineSimilarity", {"axis": 0}, quantities),
    ("Huber", {}, quantities),
    ("Huber", {"delta": 0.3}, quantities),
    ("LogCosh", {}, quantities),
    ("Poisson", {}, positives),
    ("Hinge", {}, quantities),
    ("Hinge", {}, bits),
    ("SquaredHinge", {}, bits),
    ("CategoricalHinge", {}, classes),
    ("KLDivergence", {}, bits),
    ("BinaryCrossentropy", {}, bits),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, bits),
    ("BinaryCrossentropy", {"label_smoothing": 0.2, "axis": 0}, bits),
    ("BinaryFocalCrossentropy", {}, bits),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 3.0}, bits),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, bits),
    ("CategoricalCrossentropy", {}, classes),
    ("CategoricalCrossentropy", {"from_logits": True}, classes),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, classes),
    ("CategoricalCrossentropy", {"axis": 0}, classes),
    ("CategoricalFocalCrossentropy", {}, classes),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "alpha": 0.5, "gamma": 1.0}, classes),
    ("SparseCategoricalCrossentropy", {}, labels),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, labels),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, labels),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1, "from_logits": True}, labels),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.3}, labels),
    ("Dice", {}, bits),
    ("Dice", {"axis": (1,)}, bits),
    ("Tversky", {"alpha": 0.3, "beta": 0.7}, bits),
    ("Circle", {}, vectors),
    ("Circle", {"gamma": 2.0, "margin": 0.2, "remove_diagonal": False}, vectors),
]
IDS = [f"{name}-{options}" for name, options, _ in CASES]
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "none", None, "mean_with_sample_weight"]


def value_and_gradient(
    loss: Any, y_true: Any, y_pred: np.ndarray, sample_weight: Any = None, mask: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    leaf = torch.tensor(y_pred, requires_grad=True)
    given = leaf * 1
    if mask is not None:
        given._keras_mask = torch.tensor(mask)
    value = loss(torch.tensor(y_true), given, sample_weight)
    value.sum().backward()
    assert leaf.grad is not None
    return value.detach().numpy(), leaf.grad.numpy()


def assert_same(ours: Any, theirs: Any, rtol: float = 2e-5, atol: float = 1e-6) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "options", "data"), CASES, ids=IDS)
def test_value_and_gradient(
    name: str, options: dict[str, Any], data: Any, reduction: Any, rng: np.random.Generator
) -> None:
    y_true, y_pred = data(rng)
    ours = getattr(losses, name)(**options, reduction=reduction)
    theirs = getattr(keras.losses, name)(**options, reduction=reduction)
    assert_same(
        value_and_gradient(ours, y_true, y_pred), value_and_gradient(theirs, y_true, y_pred)
    )


def test_ctc_equals_keras(rng: np.random.Generator) -> None:
    y_true, y_pred = sequences(rng)
    ours = losses.ctc(torch.tensor(y_true), torch.tensor(y_pred))
    theirs = keras.losses.ctc(torch.tensor(y_true), torch.tensor(y_pred))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(losses.CTC()(y_true, y_pred), theirs.mean())


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("weights", [None, "values", "column", "steps of one"])
def test_weights_and_masks(
    reduction: Any, is_masked: bool, weights: str | None, rng: np.random.Generator
) -> None:
    y_true, y_pred = (rng.normal(size=(4, 3, 2)).astype("float32") for _ in range(2))
    mask = rng.integers(0, 2, (4, 3)).astype(bool) if is_masked else None
    shape = {"values": (4, 3), "column": (4, 1), "steps of one": (4, 3, 1)}.get(weights or "")
    weight = None if shape is None else rng.uniform(0, 2, shape).astype("float32")
    ours = value_and_gradient(
        losses.MeanSquaredError(reduction=reduction), y_true, y_pred, weight, mask
    )
    if weights == "column" and is_masked:  # which Keras does not broadcast itself
        weight = np.repeat(weight, 3, 1)
    theirs = value_and_gradient(
        keras.losses.MeanSquaredError(reduction=reduction), y_true, y_pred, weight, mask
    )
    assert_same(ours, theirs)


def test_weights_of_samples_weigh_all_their_steps(rng: np.random.Generator) -> None:
    y_true, y_pred = (rng.normal(size=(4, 3, 2)).astype("float32") for _ in range(2))
    weight = rng.uniform(0, 2, 4).astype("float32")
    ours = value_and_gradient(losses.MeanSquaredError(), y_true, y_pred, weight)
    theirs = value_and_gradient(
        keras.losses.MeanSquaredError(), y_true, y_pred, np.repeat(weight[:, None], 3, 1)
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("target", [(5,), (5, 1)])
@pytest.mark.parametrize("prediction", [(5,), (5, 1)])
@pytest.mark.parametrize("weight", [None, (5,), (5, 1)])
@pytest.mark.parametrize("name", ["MeanSquaredError", "BinaryCrossentropy"])
def test_single_outputs_are_aligned(
    name: str, target: Any, prediction: Any, weight: Any, reduction: str, rng: np.random.Generator
) -> None:
    y_true, y_pred = (rng.uniform(0, 1, s).astype("float32") for s in (target, prediction))
    weights = None if weight is None else rng.uniform(0, 1, weight).astype("float32")
    ours = getattr(losses, name)(reduction=reduction)
    theirs = getattr(keras.losses, name)(reduction=reduction)
    assert_same(
        value_and_gradient(ours, y_true, y_pred, weights),
        value_and_gradient(theirs, y_true, y_pred, weights),
    )


def test_everything_masked_gives_zero(rng: np.random.Generator) -> None:
    y = rng.normal(size=(2, 3, 1)).astype("float32")
    mask = np.zeros((2, 3), bool)
    value, gradient = value_and_gradient(losses.MeanSquaredError(), y, y + 1, mask=mask)
    assert value == 0
    assert not gradient.any()


def test_weights_that_add_up_to_zero_give_zero(rng: np.random.Generator) -> None:
    y = rng.normal(size=(4, 2)).astype("float32")
    loss = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    value, gradient = value_and_gradient(loss, y, y + 1, np.zeros(4, "float32"))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
def test_empty_batch(reduction: str) -> None:
    empty = np.zeros((0, 3), "float32")
    ours = losses.MeanSquaredError(reduction=reduction)(empty, empty)
    theirs = keras.losses.MeanSquaredError(reduction=reduction)(empty, empty)
    assert ours.shape == theirs.shape
    assert ours.tolist() == theirs.tolist()


# From logits: what a model that ends in softmax or sigmoid does.


def through(activation: str, loss: Any, y_true: Any, z: np.ndarray, ours: bool) -> Any:
    apply = getattr(activations if ours else keras.activations, activation)
    leaf = torch.tensor(z, requires_grad=True)
    value: Tensor = loss(torch.tensor(y_true), apply(leaf))
    value.sum().backward()
    assert leaf.grad is not None
    return value.detach().numpy(), leaf.grad.numpy()


EXTREMES = [
    [0.0, 0.0, 0.0],
    [1e4, -1e4, 0.0],
    [-1e4, 1e4, 1e4],
    [30.0, 0.0, -30.0],
    [10.0, 0.0, -10.0],
    [88.0, -88.0, 1.0],
]
LOGIT_CASES = [
    ("softmax", "SparseCategoricalCrossentropy", {}),
    ("softmax", "SparseCategoricalCrossentropy", {"ignore_class": 2}),
    ("softmax", "CategoricalCrossentropy", {}),
    ("softmax", "CategoricalCrossentropy", {"label_smoothing": 0.1}),
    ("sigmoid", "BinaryCrossentropy", {}),
    ("sigmoid", "BinaryCrossentropy", {"label_smoothing": 0.1}),
]


@pytest.mark.parametrize("reduction", ["none", "sum_over_batch_size"])
@pytest.mark.parametrize(("activation", "name", "options"), LOGIT_CASES)
@pytest.mark.parametrize("scale", [1.0, 8.0, "extreme"])
def test_from_logits_equals_probability_path(
    activation: str, name: str, options: Any, scale: Any, reduction: str, rng: np.random.Generator
) -> None:
    if scale == "extreme":
        z = np.repeat(np.array(EXTREMES, "float32"), 3, 0)
        y = np.tile(np.arange(3), len(EXTREMES))
    else:
        z, y = rng.normal(0, scale, (64, 3)).astype("float32"), rng.integers(0, 3, 64)
    y_true = y if name.startswith("Sparse") else np.eye(3, dtype="float32")[y]
    ours = getattr(losses, name)(**options, reduction=reduction)
    theirs = getattr(keras.losses, name)(**options, reduction=reduction)
    value, gradient = through(activation, ours, y_true, z, ours=True)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    if scale != "extreme" and activation == "sigmoid":
        # Keras's float32 probabilities near 1 are so far apart that its own error shows; in
        # float64 it is exact, up to the clip, which then lies elsewhere.
        z = z.clip(-15, 15)
        theirs = getattr(keras.losses, name)(**options, reduction=reduction, dtype="float64")
        value, gradient = through(activation, ours, y_true, z, ours=True)
        z = z.astype("float64")
    expected, expected_gradient = through(activation, theirs, y_true, z, ours=False)
    np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-6)


def test_binary_crossentropy_of_saturated_outputs() -> None:
    z = torch.tensor([[-1e4], [1e4], [1e4], [-1e4]])
    y = torch.tensor([[1.0], [0.0], [1.0], [0.0]])
    ours = losses.binary_crossentropy(y, activations.sigmoid(z))
    theirs = keras.losses.binary_crossentropy(y, keras.activations.sigmoid(z))
    torch.testing.assert_close(ours[:2], torch.tensor([16.1181, 15.9424]), rtol=0, atol=1e-4)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-7)


def test_soft_targets_from_logits(rng: np.random.Generator) -> None:
    z = rng.normal(0, 5, (16, 2, 4)).astype("float32")
    y = rng.dirichlet(np.ones(4), (16, 2)).astype("float32")
    for reduction in ("none", "mean"):
        ours = through(
            "softmax", losses.CategoricalCrossentropy(reduction=reduction), y, z, ours=True
        )
        theirs = through(
            "softmax", keras.losses.CategoricalCrossentropy(reduction=reduction), y, z, ours=False
        )
        assert_same(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_sparse_crossentropy_of_sequences_and_images(axis: int, rng: np.random.Generator) -> None:
    z = rng.normal(size=(4, 5, 6)).astype("float32")
    size = z.shape[axis]
    y = rng.integers(0, size, np.delete(z.shape, axis))
    for target in (y, np.expand_dims(y, axis)):
        ours = torch.softmax(torch.tensor(z), axis)
        expected = keras.losses.sparse_categorical_crossentropy(target, ours, axis=axis)
        found = losses.sparse_categorical_crossentropy(
            target, activations.softmax(torch.tensor(z), axis=axis), axis=axis
        )
        torch.testing.assert_close(found, expected)
        expected = keras.losses.sparse_categorical_crossentropy(
            torch.tensor(target), torch.tensor(z), from_logits=True, axis=axis
        )
        found = losses.sparse_categorical_crossentropy(
            target, torch.tensor(z), from_logits=True, axis=axis
        )
        torch.testing.assert_close(found, expected)


def test_steps_of_single_outputs_keep_their_logits(rng: np.random.Generator) -> None:
    z = rng.normal(0, 2, (4, 5, 1)).astype("float32")
    y = rng.integers(0, 2, (4, 5)).astype("float32")
    ours = through("sigmoid", losses.BinaryCrossentropy(), y, z, ours=True)
    theirs = through("sigmoid", keras.losses.BinaryCrossentropy(), y, z, ours=False)
    assert_same(ours, theirs, rtol=1e-3)


# Configs and names.


@pytest.mark.parametrize(("name", "options", "_data"), CASES, ids=IDS)
def test_config_goes_both_ways(name: str, options: dict[str, Any], _data: Any) -> None:
    options = {**options, "reduction": "sum", "name": "mine"}
    ours, theirs = getattr(losses, name)(**options), getattr(keras.losses, name)(**options)
    config, expected = ours.get_config(), theirs.get_config()
    # What Keras forgets (axis, delta) is kept where it is not the default.
    extra = {key: config[key] for key in config.keys() - expected.keys()}
    assert config == {**expected, **extra}
    assert extra.items() <= options.items()
    assert not getattr(losses, name)().get_config().keys() - expected.keys()
    assert (
        losses.deserialize(keras_losses.serialize(theirs)).get_config()
        == {
            **config,
            **type(ours)(**expected).get_config(),
        }
        or extra
    )
    again = losses.deserialize(losses.serialize(ours))
    assert type(again) is type(ours)
    assert again.get_config() == config
    back = keras_losses.deserialize(losses.serialize(ours)) if name in KERAS_NAMES else theirs
    assert back.get_config() == expected


KERAS_NAMES = set(keras_losses.ALL_OBJECTS_DICT)


def test_every_name_of_keras_is_known() -> None:
    for name, thing in keras_losses.ALL_OBJECTS_DICT.items():
        if name != "LossFunctionWrapper":  # needs a function
            found = losses.get(name)
            assert getattr(found, "__name__", type(found).__name__) == thing.__name__


def test_wrapper_of_a_function_goes_round() -> None:
    ours = losses.LossFunctionWrapper(losses.huber, delta=0.5, name="mine")
    theirs = keras_losses.LossFunctionWrapper(keras.losses.huber, delta=0.5, name="mine")
    config = ours.get_config()
    assert {**config, "fn": None} == {**theirs.get_config(), "fn": None}
    again = losses.LossFunctionWrapper.from_config(config)
    assert again.fn is losses.huber
    assert losses.LossFunctionWrapper.from_config(theirs.get_config()).fn is losses.huber
