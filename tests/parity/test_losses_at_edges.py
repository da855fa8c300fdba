"""Losses against live Keras on hundreds of random inputs: any reduction, weight, mask and shape.

Among the inputs are perfect predictions, probabilities of 0 and 1, logits of ten thousand, one
class alone, weights of zero and masks that leave nothing; values and gradients are compared.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchseq import losses

Rng = np.random.Generator
Arrays = tuple[np.ndarray, np.ndarray]
REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "none", None, "mean_with_sample_weight"]
ROUNDS = 4  # with each case and reduction: 840 inputs in all
SCALES = [1, 10, 1e4]


def shape_of(rng: Rng, most_axes: int) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(1, 5, rng.integers(1, most_axes + 1)))


def numbers(rng: Rng) -> Arrays:
    shape = shape_of(rng, 4)
    y_true, y_pred = (rng.normal(size=shape).astype("float32") for _ in range(2))
    return y_true, y_true.copy() if rng.random() < 0.2 else y_pred


def probabilities(rng: Rng) -> Arrays:
    shape = shape_of(rng, 3)
    y_true = rng.integers(0, 2, shape).astype("float32")
    y_pred = rng.uniform(0, 1, shape).astype("float32")
    kind = rng.integers(0, 4)
    if kind == 0:  # exact zeros and ones
        y_pred = np.where(rng.random(shape) < 0.4, rng.integers(0, 2, shape), y_pred)
    if kind == 1:
        y_pred = y_true.copy()
    if kind == 2:
        y_true[:] = rng.integers(0, 2)
    return y_true, y_pred.astype("float32")


def logits(rng: Rng) -> Arrays:
    y_true, _ = probabilities(rng)
    return y_true, (rng.normal(size=y_true.shape) * rng.choice(SCALES)).astype("float32")


def classes(rng: Rng) -> Arrays:
    shape, count = shape_of(rng, 3), int(rng.integers(2, 6))
    y_true = np.eye(count, dtype="float32")[rng.integers(0, count, shape)]
    y_pred = rng.uniform(0.001, 1, y_true.shape)
    kind = rng.integers(0, 5)
    if kind == 0:
        y_pred /= y_pred.sum(-1, keepdims=True)
    if kind == 1:
        y_pred = y_true.copy()
    if kind == 2:  # one class alone, the others are empty
        y_true[:] = np.eye(count)[0]
    if kind == 3:
        y_pred = np.where(rng.random(y_pred.shape) < 0.3, 0, y_pred)
        y_pred[..., 0] += 0.1
    return y_true, y_pred.astype("float32")


def class_logits(rng: Rng) -> Arrays:
    y_true, _ = classes(rng)
    return y_true, (rng.normal(size=y_true.shape) * rng.choice(SCALES)).astype("float32")


def numbered(data: Callable[[Rng], Arrays], can_be_column: bool = True) -> Callable[[Rng], Arrays]:
    def make(rng: Rng) -> Arrays:
        one_hot, y_pred = data(rng)
        labels = one_hot.argmax(-1)
        if can_be_column and rng.random() < 0.4:
            labels = labels[..., None]
        return labels.astype(rng.choice(["int64", "int32", "float32"])), y_pred

    return make


def embeddings(rng: Rng) -> Arrays:
    x = rng.normal(size=(8, 4)).astype("float32")
    return rng.integers(0, 3, 8), x / np.linalg.norm(x, axis=-1, keepdims=True)


SMOOTHING = [0.0, 0.1, 0.3]
FOCAL = {"gamma": [0.0, 1.0, 2.0], "label_smoothing": SMOOTHING}
BALANCED = {**FOCAL, "alpha": [0.25, 0.7], "apply_class_balancing": [False, True]}
FROM_LOGITS = {"from_logits": [True]}
# Class, values that each argument may have, data.
CASES: list[tuple[str, dict[str, list[Any]], Callable[[Rng], Arrays]]] = [
    ("MeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, probabilities),
    ("MeanSquaredLogarithmicError", {}, numbers),
    ("MeanSquaredLogarithmicError", {}, probabilities),
    ("CosineSimilarity", {"axis": [-1, 0]}, numbers),
    ("CosineSimilarity", {}, probabilities),
    ("Huber", {"delta": [0.2, 1.0, 2.0]}, numbers),
    ("LogCosh", {}, numbers),
    ("LogCosh", {}, logits),
    ("Poisson", {}, probabilities),
    ("Hinge", {}, numbers),
    ("Hinge", {}, logits),
    ("Hinge", {}, probabilities),
    ("SquaredHinge", {}, numbers),
    ("SquaredHinge", {}, probabilities),
    ("CategoricalHinge", {}, classes),
    ("CategoricalHinge", {}, numbers),
    ("KLDivergence", {}, probabilities),
    ("KLDivergence", {}, classes),
    ("BinaryCrossentropy", {"label_smoothing": SMOOTHING, "axis": [-1, 0]}, probabilities),
    ("BinaryCrossentropy", {"label_smoothing": SMOOTHING, **FROM_LOGITS}, logits),
    ("BinaryFocalCrossentropy", BALANCED, probabilities),
    ("BinaryFocalCrossentropy", {**BALANCED, **FROM_LOGITS, "gamma": [1.0, 2.0, 3.0]}, logits),
    ("CategoricalCrossentropy", {"label_smoothing": SMOOTHING}, classes),
    ("CategoricalCrossentropy", {"label_smoothing": SMOOTHING, **FROM_LOGITS}, class_logits),
    ("CategoricalCrossentropy", {"axis": [0]}, classes),
    ("CategoricalFocalCrossentropy", FOCAL, classes),
    ("CategoricalFocalCrossentropy", {**FOCAL, **FROM_LOGITS, "gamma": [1.0, 2.0]}, class_logits),
    ("SparseCategoricalCrossentropy", {"ignore_class": [None, 0, 1]}, numbered(classes)),
    (
        "SparseCategoricalCrossentropy",
        {"ignore_class": [None, 0, -1], **FROM_LOGITS},
        numbered(class_logits),
    ),
    # Keras pairs targets of shape (N, 1) with each other here, which ours does not.
    (
        "CategoricalGeneralizedCrossEntropy",
        {"q": [0.1, 0.5, 0.9]},
        numbered(classes, can_be_column=False),
    ),
    ("Dice", {"axis": [None, -1, 0]}, probabilities),
    ("Tversky", {"alpha": [0.3, 0.5], "beta": [0.5, 0.9], "axis": [None, (0,)]}, probabilities),
    ("Circle", {"gamma": [2.0, 80.0], "margin": [0.2, 0.4]}, embeddings),
    ("Circle", {"remove_diagonal": [False]}, embeddings),
]


def weights_and_mask(shape: tuple[int, ...], rng: Rng) -> tuple[Any, Any]:
    if not shape:
        return None, None
    kind, weight = rng.integers(0, 5), None
    if kind == 0:
        weight = rng.uniform(0, 2, shape)
    elif kind == 1:
        weight = rng.uniform(0, 2, (shape[0],) + (1,) * (len(shape) - 1))
    elif kind == 2:
        weight = np.zeros(shape)
    elif kind == 3:
        weight = rng.integers(0, 2, shape)
    mask = rng.random(shape) < rng.choice([0, 0.5, 1]) if rng.random() < 0.3 else None
    return None if weight is None else weight.astype("float32"), mask


def value_and_gradient(loss: Any, y_true: Any, y_pred: Any, weight: Any, mask: Any) -> Any:
    leaf = torch.tensor(y_pred, requires_grad=True)
    given = leaf * 1
    if mask is not None:
        given._keras_mask = torch.tensor(mask)  # type: ignore[attr-defined]
    value = loss(torch.tensor(y_true), given, weight)
    if value.requires_grad:
        value.sum().backward()
    gradient = np.zeros_like(y_pred) if leaf.grad is None else leaf.grad.numpy()
    return value.detach().numpy(), gradient


def keras_takes(loss: Any, *entries: Any) -> Any:
    """Return Keras's value and gradient; None where it fails, as on some shapes of weights."""
    try:
        return value_and_gradient(loss, *entries)
    except (ValueError, RuntimeError, IndexError):
        return None


@pytest.mark.parametrize(("name", "choices", "data"), CASES)
@pytest.mark.filterwarnings("ignore:.*:SyntaxWarning", "ignore:.*expected to have shape.*")
def test_value_and_gradient_equal_keras(
    name: str, choices: dict[str, list[Any]], data: Callable[[Rng], Arrays], rng: Rng
) -> None:
    compared = 0
    for reduction in REDUCTIONS * ROUNDS:
        options = {key: values[rng.integers(len(values))] for key, values in choices.items()}
        y_true, y_pred = data(rng)
        ours = getattr(losses, name)(**options, reduction=reduction)
        plain = getattr(losses, name)(**options, reduction=None)(y_true, y_pred)
        weight, mask = weights_and_mask(tuple(plain.shape), rng)
        theirs = getattr(keras.losses, name)(**options, reduction=reduction)
        expected = keras_takes(theirs, y_true, y_pred, weight, mask)
        found = value_and_gradient(ours, y_true, y_pred, weight, mask)  # ours never fails
        if expected is None:
            continue
        compared += 1
        told = f"{options}, {reduction=}, {y_true=}, {y_pred=}, {weight=}, {mask=}"
        assert found[0].shape == expected[0].shape, told
        np.testing.assert_allclose(*(a[0] for a in (found, expected)), 1e-5, 1e-6, err_msg=told)
        if name == "CategoricalGeneralizedCrossEntropy":
            # At a probability of 0 the slope is infinite, and Keras's 0 times that is NaN.
            finite = np.isfinite(expected[1]) & np.isfinite(found[1])
            found, expected = ((a[0], a[1][finite]) for a in (found, expected))
        np.testing.assert_allclose(*(a[1] for a in (found, expected)), 1e-4, 1e-6, err_msg=told)
    assert compared >= len(REDUCTIONS) * ROUNDS // 4  # Keras itself errors on the others
