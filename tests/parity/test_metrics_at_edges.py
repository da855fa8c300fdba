"""Metrics against live Keras on hundreds of random batches: any arguments, weights and shapes.

Among the batches are perfect and wrong predictions, one class alone, classes that do not occur,
predictions on thresholds, logits of ten thousand, batches of one sample and weights of zero.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchseq import metrics

Rng = np.random.Generator
Arrays = tuple[np.ndarray, np.ndarray]
ROUNDS, BATCHES = 5, 3  # with each case: some 1200 batches in all
THRESHOLDS = [None, 0.2, 0.0, 1.0, [0.1, 0.2, 0.7], [0.0, 0.25, 0.5, 0.75, 1.0], [0.5]]
RATES = [0.0, 0.3, 0.5, 0.8, 1.0]
CURVES = {
    "curve": ["ROC", "PR", "PRGAIN"],
    "summation_method": ["interpolation", "majoring", "minoring"],
}
AVERAGES = [None, "micro", "macro", "weighted"]


def size(rng: Rng) -> int:
    return int(rng.choice([1, 2, 7, 20]))


def at_edges(y_true: np.ndarray, rng: Rng) -> Arrays:
    y_pred = rng.random(y_true.shape)
    kind = rng.integers(0, 7)
    if kind < 2:  # one class alone
        y_true[...] = kind
    elif kind < 4:  # all right, or all wrong
        y_pred = np.abs(y_true - (kind - 2))
    elif kind == 4:
        y_pred = np.where(rng.random(y_true.shape) < 0.5, rng.integers(0, 2, y_true.shape), y_pred)
    elif kind == 5:  # on thresholds
        y_pred = rng.integers(0, 5, y_true.shape) / 4
    return y_true, y_pred.astype("float32")


def binary(rng: Rng) -> Arrays:
    y_true, y_pred = at_edges(rng.integers(0, 2, (size(rng), 1)).astype("float32"), rng)
    y_true = y_true.astype(rng.choice(["float32", "int64", "bool"]))
    return (y_true[:, 0] if rng.random() < 0.4 else y_true), y_pred


def binary_column(rng: Rng) -> Arrays:
    return at_edges(rng.integers(0, 2, (size(rng), 1)).astype("float32"), rng)


def labels(rng: Rng) -> Arrays:
    return at_edges(rng.integers(0, 2, (size(rng), 3)).astype("float32"), rng)


def images(rng: Rng) -> Arrays:
    return at_edges(rng.integers(0, 2, (size(rng), 4, 2)).astype("float32"), rng)


def logits(rng: Rng) -> Arrays:
    y_true, _ = labels(rng)
    return y_true, (rng.normal(size=y_true.shape) * rng.choice([1, 10, 1e4])).astype("float32")


def classes_of(count: int) -> Callable[[Rng], Arrays]:
    def classes(rng: Rng) -> Arrays:
        numbers = rng.integers(0, count, size(rng))
        if rng.random() < 0.3:
            numbers[:] = rng.integers(0, count)
        y_true = np.eye(count, dtype="float32")[numbers]
        y_pred = rng.dirichlet(np.ones(count), len(numbers)).astype("float32")
        kind = rng.integers(0, 4)
        if kind == 0:
            y_pred = y_true.copy()
        if kind == 1:  # ties
            y_pred = (np.round(y_pred * 4) / 4).astype("float32")
        return y_true, y_pred

    return classes


classes = classes_of(5)


def sparse(rng: Rng) -> Arrays:
    y_true, y_pred = classes(rng)
    numbers = y_true.argmax(-1).astype(rng.choice(["int64", "int32", "float32"]))
    return (numbers[:, None] if rng.random() < 0.4 else numbers), y_pred


def numbers(rng: Rng) -> Arrays:
    shape = (size(rng), 3)
    y_true, y_pred = (rng.normal(size=shape).astype("float32") for _ in range(2))
    kind = rng.integers(0, 5)
    if kind == 0:
        y_pred = y_true.copy()
    if kind == 1:
        y_true[:] = 1
    return y_true, y_pred


def positives(rng: Rng) -> Arrays:
    y_true, y_pred = numbers(rng)
    return np.abs(y_true), np.abs(y_pred)


def pixels(rng: Rng) -> Arrays:
    y_true, y_pred = (rng.integers(0, 3, size) for size in [size(rng)] * 2)
    kind = rng.integers(0, 4)
    if kind == 0:
        y_pred = y_true.copy()
    if kind == 1:
        y_true[:] = 1
    return y_true, y_pred


Choices = dict[str, list[Any]]
DTYPES = ["float32", None]
CASES: list[tuple[str, Choices, Callable[[Rng], Arrays]]] = [
    ("Accuracy", {}, pixels),
    *[("BinaryAccuracy", {"threshold": [0.5, 0.3]}, data) for data in (binary, labels, images)],
    ("CategoricalAccuracy", {}, classes),
    ("SparseCategoricalAccuracy", {}, sparse),
    ("TopKCategoricalAccuracy", {"k": [1, 2, 5]}, classes),
    ("SparseTopKCategoricalAccuracy", {"k": [1, 2, 3]}, sparse),
    ("MeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, numbers),
    ("MeanSquaredLogarithmicError", {}, numbers),
    ("RootMeanSquaredError", {}, numbers),
    ("CosineSimilarity", {"axis": [-1, 1]}, numbers),
    ("LogCoshError", {}, numbers),
    ("PearsonCorrelation", {}, numbers),
    ("ConcordanceCorrelation", {}, numbers),
    (
        "R2Score",
        {
            "class_aggregation": [None, "uniform_average", "variance_weighted_average"],
            "num_regressors": [0, 0, 1, 2],
        },
        numbers,
    ),
    ("BinaryCrossentropy", {"label_smoothing": [0, 0.1]}, labels),
    ("BinaryCrossentropy", {"label_smoothing": [0, 0.1], "from_logits": [True]}, logits),
    ("CategoricalCrossentropy", {"label_smoothing": [0, 0.1]}, classes),
    ("SparseCategoricalCrossentropy", {"ignore_class": [None, 1]}, sparse),
    ("SparseCategoricalCrossentropy", {"from_logits": [True], "ignore_class": [None, 0]}, sparse),
    ("KLDivergence", {}, classes),
    ("Poisson", {}, positives),
    ("Hinge", {}, logits),
    ("SquaredHinge", {}, numbers),
    ("CategoricalHinge", {}, classes),
    *[
        (name, {"thresholds": THRESHOLDS}, data)
        for name in ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
        for data in (binary, labels)
    ],
    *[
        (name, {"thresholds": THRESHOLDS, "top_k": [None, 1, 2], "class_id": [None, 0, 2]}, data)
        for name in ("Precision", "Recall")
        for data in (classes, labels)
    ],
    ("Precision", {"thresholds": THRESHOLDS}, binary),
    ("Recall", {"thresholds": THRESHOLDS}, images),
    *[
        (name, {argument: RATES, **choices}, data)
        for name, argument in (
            ("SensitivityAtSpecificity", "specificity"),
            ("SpecificityAtSensitivity", "sensitivity"),
            ("PrecisionAtRecall", "recall"),
            ("RecallAtPrecision", "precision"),
        )
        for choices, data in (
            ({"num_thresholds": [1, 2, 3, 20, 200]}, binary),
            ({"class_id": [0, 1, None]}, labels),
        )
    ],
    ("AUC", {**CURVES, "num_thresholds": [2, 3, 10, 200]}, binary),
    ("AUC", {**CURVES, "thresholds": [[0.5], [0.1, 0.45, 0.8], [0.25, 0.5, 0.75]]}, binary),
    (
        "AUC",
        {
            **CURVES,
            "multi_label": [True],
            "num_labels": [None, 3],
            "label_weights": [None, [0.2, 0.3, 0.5], [0.0, 1.0, 2.0]],
        },
        labels,
    ),
    ("AUC", {"curve": ["ROC", "PR"], "label_weights": [[0.2, 0.3, 0.5]]}, labels),
    ("AUC", {"from_logits": [True], "multi_label": [True, False]}, logits),
    ("F1Score", {"average": AVERAGES, "threshold": [None, 0.4, 1.0]}, classes),
    ("FBetaScore", {"average": AVERAGES, "threshold": [None, 0.4], "beta": [0.5, 2.0]}, labels),
    (
        "IoU",
        {
            "num_classes": [3, 4],
            "target_class_ids": [[0], [0, 2], [1]],
            "ignore_class": [None, 0, 1],
            "dtype": DTYPES,
        },
        pixels,
    ),
    (
        "BinaryIoU",
        {"threshold": [0.3, 0.5], "target_class_ids": [[0], [1], [0, 1]], "dtype": DTYPES},
        binary_column,
    ),
    ("MeanIoU", {"num_classes": [3], "ignore_class": [None, 1], "dtype": DTYPES}, pixels),
    ("OneHotIoU", {"num_classes": [5], "target_class_ids": [[1], [0, 4]]}, classes),
    ("OneHotMeanIoU", {"num_classes": [5], "dtype": ["float32"]}, classes),
]


def weight_of(count: int, rng: Rng) -> Any:
    kind = rng.integers(0, 5)
    choices = {0: rng.random(count), 1: np.zeros(count), 2: rng.integers(0, 2, count)}
    return choices[kind].astype("float32") if kind in choices else None


@pytest.mark.parametrize(("name", "choices", "data"), CASES)
@pytest.mark.filterwarnings(
    "ignore:You are passing weight as `float`, but dtype is `int`",
    "ignore:.*Falling back to standard R2 score",
)
def test_value_over_batches_equals_keras(
    name: str, choices: Choices, data: Callable[[Rng], Arrays], rng: Rng
) -> None:
    for _ in range(ROUNDS):
        options = {key: values[rng.integers(len(values))] for key, values in choices.items()}
        ours, theirs = (getattr(library, name)(**options) for library in (metrics, keras.metrics))
        seen = []
        for _ in range(BATCHES):
            y_true, y_pred = data(rng)
            # Keras fails on weights of samples for values with more axes, see the test below.
            weight = None if data is images and name == "Recall" else weight_of(len(y_true), rng)
            seen.append((y_true, y_pred, weight))
            ours.update_state(torch.tensor(y_true), torch.tensor(y_pred), sample_weight=weight)
            try:
                theirs.update_state(y_true, y_pred, sample_weight=weight)
            except ValueError:  # Keras's crossentropy wants (N,) targets in the outputs' shape
                assert y_true.ndim < y_pred.ndim
                break
            found, expected = ours.result(), keras.ops.convert_to_numpy(theirs.result())
            assert found.shape == expected.shape
            np.testing.assert_allclose(
                found.numpy(), expected, rtol=1e-5, atol=1e-6, err_msg=f"{options}, {seen}"
            )


def test_weights_of_samples_count_for_all_their_values(rng: Rng) -> None:
    y_true, y_pred = (rng.integers(0, 2, (5, 4, 2)).astype("float32") for _ in range(2))
    weight = rng.random(5, dtype="float32")
    for name in ("Recall", "TruePositives"):
        ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
        ours.update_state(torch.tensor(y_true), torch.tensor(y_pred), weight)
        flat = [a.reshape(-1, 1) for a in (y_true, y_pred)]
        theirs.update_state(*flat, sample_weight=np.repeat(weight, 8))
        np.testing.assert_allclose(ours.result().numpy(), theirs.result(), rtol=1e-5)


def test_weights_that_do_not_fit_are_refused() -> None:
    y = torch.ones(4, 2)
    for metric in (metrics.MeanSquaredError(), metrics.Precision(), metrics.Mean()):
        entries = (y,) if isinstance(metric, metrics.Mean) and metric.name == "mean" else (y, y)
        with pytest.raises(ValueError, match=r"sample_weight: weights must .* of shape \((3|3, 1)"):
            metric.update_state(*entries, sample_weight=[1.0, 2.0, 3.0])
    scalar = metrics.MeanMetricWrapper(lambda y_true, y_pred: (y_true - y_pred).mean())
    with pytest.raises(ValueError, match="The function has made one value of all: have it return"):
        scalar.update_state(y, y, sample_weight=[1.0] * 4)
