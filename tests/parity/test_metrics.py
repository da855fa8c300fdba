"""Metrics against Keras's own on the same batches."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import torch

from torchseq import metrics

Batch = tuple[np.ndarray, np.ndarray]


def one_hot(rng: np.random.Generator, size: int = 12, classes: int = 5) -> Batch:
    return (
        np.eye(classes, dtype="float32")[rng.integers(0, classes, size)],
        rng.dirichlet(np.ones(classes), size).astype("float32"),
    )


def sparse(rng: np.random.Generator) -> Batch:
    y_true, y_pred = one_hot(rng)
    return y_true.argmax(-1), y_pred


def classes(rng: np.random.Generator) -> Batch:
    return rng.integers(0, 3, 12), rng.integers(0, 3, (12, 1))


def sparse_column(rng: np.random.Generator) -> Batch:
    y_true, y_pred = sparse(rng)
    return y_true[:, None], y_pred


def binary(rng: np.random.Generator) -> Batch:
    return rng.integers(0, 2, (12, 1)).astype("float32"), rng.random((12, 1), dtype="float32")


def binary_flat(rng: np.random.Generator) -> Batch:
    y_true, y_pred = binary(rng)
    return y_true[:, 0], y_pred


def edges(rng: np.random.Generator) -> Batch:
    """Predictions that lie on thresholds, 0 and 1 among them."""
    return rng.integers(0, 2, (12, 1)), rng.integers(0, 5, (12, 1)).astype("float32") / 4


def labels(rng: np.random.Generator) -> Batch:
    return rng.integers(0, 2, (12, 3)).astype("float32"), rng.random((12, 3), dtype="float32")


def sequences(rng: np.random.Generator) -> Batch:
    return rng.integers(0, 4, (6, 7)), rng.random((6, 7, 4), dtype="float32")


def numbers(rng: np.random.Generator) -> Batch:
    return rng.random((12, 3), dtype="float32"), rng.random((12, 3), dtype="float32")


def number_column(rng: np.random.Generator) -> Batch:
    y_true, y_pred = numbers(rng)
    return y_true[:, 0], y_pred[:, :1]


def signs(rng: np.random.Generator) -> Batch:
    return rng.integers(0, 2, (12, 3)).astype("float32"), rng.normal(size=(12, 3)).astype("float32")


CASES: list[tuple[str, dict, Callable[[np.random.Generator], Batch]]] = [
    ("Accuracy", {}, classes),
    ("BinaryAccuracy", {}, binary),
    ("BinaryAccuracy", {"threshold": 0.3}, binary_flat),
    ("BinaryAccuracy", {}, labels),
    ("CategoricalAccuracy", {}, one_hot),
    ("SparseCategoricalAccuracy", {}, sparse),
    ("SparseCategoricalAccuracy", {}, sparse_column),
    ("SparseCategoricalAccuracy", {}, sequences),
    ("TopKCategoricalAccuracy", {"k": 2}, one_hot),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, sparse),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, sequences),
    ("MeanSquaredError", {}, numbers),
    ("MeanSquaredError", {}, number_column),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, numbers),
    ("MeanSquaredLogarithmicError", {}, numbers),
    ("RootMeanSquaredError", {}, numbers),
    ("RootMeanSquaredError", {}, number_column),
    ("CosineSimilarity", {}, numbers),
    ("LogCoshError", {}, numbers),
    ("R2Score", {}, numbers),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, numbers),
    ("R2Score", {"class_aggregation": None, "num_regressors": 2}, numbers),
    ("BinaryCrossentropy", {}, binary),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, signs),
    ("CategoricalCrossentropy", {}, one_hot),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, one_hot),
    ("SparseCategoricalCrossentropy", {}, sparse),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, sparse_column),
    ("KLDivergence", {}, one_hot),
    ("Poisson", {}, numbers),
    ("Hinge", {}, signs),
    ("SquaredHinge", {}, signs),
    ("CategoricalHinge", {}, one_hot),
    *[
        (name, options, data)
        for name in ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
        for options, data in [
            ({}, binary),
            ({"thresholds": 0.2}, one_hot),
            ({"thresholds": [0.1, 0.2, 0.7]}, binary_flat),
            ({"thresholds": [0.0, 0.5, 1.0]}, edges),
        ]
    ],
    *[
        (name, options, data)
        for name in ("Precision", "Recall")
        for options, data in [
            ({}, one_hot),
            ({}, binary),
            ({}, binary_flat),
            ({"thresholds": 0.25}, one_hot),
            ({"thresholds": [0.1, 0.2, 0.7]}, labels),
            ({"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}, edges),
            ({"top_k": 2}, one_hot),
            ({"class_id": 1}, labels),
            ({"top_k": 2, "class_id": 1, "thresholds": 0.1}, labels),
        ]
    ],
    ("SensitivityAtSpecificity", {"specificity": 0.4}, binary),
    ("SpecificityAtSensitivity", {"sensitivity": 0.4}, binary_flat),
    ("PrecisionAtRecall", {"recall": 0.4, "num_thresholds": 20}, edges),
    ("RecallAtPrecision", {"precision": 0.4, "class_id": 1}, labels),
    ("RecallAtPrecision", {"precision": 0.4, "num_thresholds": 1}, binary),
    *[
        ("AUC", {"curve": curve, "summation_method": method}, data)
        for curve in ("ROC", "PR", "PRGAIN")
        for method in ("interpolation", "majoring", "minoring")
        for data in (binary, edges)
    ],
    ("PearsonCorrelation", {}, numbers),
    ("ConcordanceCorrelation", {}, numbers),
    ("F1Score", {}, one_hot),
    ("F1Score", {"average": "micro", "threshold": 0.4}, labels),
    ("FBetaScore", {"beta": 2.0, "average": "macro"}, one_hot),
    ("FBetaScore", {"beta": 0.5, "average": "weighted", "threshold": 0.3}, labels),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2], "dtype": "float32"}, classes),
    ("IoU", {"num_classes": 2, "target_class_ids": [0], "dtype": "float32"}, classes),
    ("BinaryIoU", {"threshold": 0.3, "dtype": "float32"}, binary_flat),
    ("MeanIoU", {"num_classes": 3, "ignore_class": 1, "dtype": "float32"}, classes),
    ("OneHotIoU", {"num_classes": 5, "target_class_ids": [1], "dtype": "float32"}, one_hot),
    ("OneHotMeanIoU", {"num_classes": 5, "dtype": "float32"}, one_hot),
    ("AUC", {"thresholds": [0.1, 0.45, 0.8]}, labels),
    ("AUC", {"thresholds": [0.25, 0.5, 0.75]}, edges),
    ("AUC", {"label_weights": [0.2, 0.3, 0.5]}, labels),
    ("AUC", {"multi_label": True}, labels),
    ("AUC", {"multi_label": True, "num_labels": 3, "label_weights": [0.2, 0.3, 0.5]}, labels),
    ("AUC", {"multi_label": True, "thresholds": [0.1, 0.45, 0.8], "curve": "PR"}, labels),
    ("AUC", {"from_logits": True, "num_thresholds": 20}, signs),
]


def case_id(value: object) -> str:
    return getattr(value, "__name__", str(value))


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    theirs = keras.ops.convert_to_tensor(theirs).detach()
    assert ours.shape == theirs.shape
    assert not ours.requires_grad
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options", "data"), CASES, ids=case_id)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_value_equals_keras_over_batches_and_after_reset(
    name: str,
    options: dict,
    data: Callable[[np.random.Generator], Batch],
    weighted: bool,
    rng: np.random.Generator,
) -> None:
    ours = getattr(metrics, name)(**options)
    theirs = getattr(keras.metrics, name)(**options)
    for _ in range(2):
        for _ in range(3):
            y_true, y_pred = data(rng)
            weight = rng.random(len(y_true), dtype="float32") if weighted else None
            theirs.update_state(y_true, y_pred, sample_weight=weight)
            predictions = torch.from_numpy(y_pred)
            if predictions.is_floating_point():
                predictions.requires_grad_()  # as in a training step
            ours.update_state(torch.from_numpy(y_true), predictions, sample_weight=weight)
            close(ours.result(), theirs.result())
        ours.reset_state()
        theirs.reset_state()


@pytest.mark.parametrize(("name", "options", "data"), CASES, ids=case_id)
def test_config_equals_keras_and_goes_round(
    name: str, options: dict, data: Callable[[np.random.Generator], Batch]
) -> None:
    ours = getattr(metrics, name)(**options)
    theirs = getattr(keras.metrics, name)(**options).get_config()
    config = ours.get_config()
    if "label_weights" in theirs and theirs["label_weights"] is not None:
        theirs["label_weights"] = options["label_weights"]
    if "thresholds" in theirs and name == "AUC":
        theirs["thresholds"] = [float(each) for each in theirs["thresholds"]]
    if name.endswith(("AtRecall", "AtPrecision", "AtSpecificity", "AtSensitivity", "AUC")):
        theirs = {**theirs, "name": config["name"]}
    assert config == theirs
    again = metrics.deserialize(metrics.serialize(ours))
    assert type(again) is type(ours)
    assert again.get_config() == config


@pytest.mark.parametrize("name", ["Mean", "Sum"])
@pytest.mark.parametrize("shape", [(), (5,), (5, 3), (5, 3, 2)])
@pytest.mark.parametrize("rank", [None, 0, 1, 2])
def test_mean_and_sum_weigh_as_keras(
    name: str, shape: tuple[int, ...], rank: int | None, rng: np.random.Generator
) -> None:
    if rank is not None and rank > len(shape):
        return  # more weights than values
    values = rng.random(shape, dtype="float32")
    weight = None if rank is None else np.asarray(rng.random(shape[:rank]), dtype="float32")
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for _ in range(2):
        close(ours(torch.tensor(values), weight), theirs(values, weight))


@pytest.mark.parametrize(
    ("name", "data"),
    [("SparseCategoricalAccuracy", sequences), ("SparseCategoricalCrossentropy", sequences)],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("all_masked", [False, True])
def test_mask_of_predictions_counts_as_in_keras(
    name: str,
    data: Callable[[np.random.Generator], Batch],
    weighted: bool,
    all_masked: bool,
    rng: np.random.Generator,
) -> None:
    y_true, y_pred = data(rng)
    mask = np.zeros((6, 7), bool) if all_masked else rng.random((6, 7)) > 0.4
    weight = rng.random((6, 7), dtype="float32") if weighted else None
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for metric in (ours, theirs):
        predictions = torch.tensor(y_pred)
        predictions._keras_mask = torch.tensor(mask)
        metric.update_state(torch.tensor(y_true), predictions, weight)
    close(ours.result(), theirs.result())


def test_names_are_those_of_keras() -> None:
    from keras.src.metrics import ALL_OBJECTS_DICT

    missing = {
        name: kind
        for name, kind in ALL_OBJECTS_DICT.items()
        if name not in metrics.resolution._NAMES
    }
    assert not missing
    for name, kind in metrics.resolution._NAMES.items():
        assert ALL_OBJECTS_DICT[name].__name__ == kind.__name__


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("binary_accuracy", (binary, {"threshold": 0.2})),
        ("categorical_accuracy", (one_hot, {})),
        ("sparse_categorical_accuracy", (sequences, {})),
        ("top_k_categorical_accuracy", (one_hot, {"k": 2})),
        ("sparse_top_k_categorical_accuracy", (sparse, {"k": 2})),
    ],
)
def test_functions_equal_keras(name: str, arguments: tuple, rng: np.random.Generator) -> None:
    data, options = arguments
    y_true, y_pred = data(rng)
    ours = getattr(metrics, name)(torch.tensor(y_true), torch.tensor(y_pred), **options)
    close(ours, getattr(keras.metrics, name)(y_true, y_pred, **options))


@pytest.mark.parametrize("identifier", ["accuracy", "acc", "Accuracy", "mae", "MeanSquaredError"])
@pytest.mark.parametrize(
    ("y_true_shape", "y_pred_shape"),
    [((4, 1), (4, 1)), ((4,), (4, 1)), ((4,), (4, 3)), ((4, 1), (4, 3)), ((4, 3), (4, 3))],
)
def test_resolve_chooses_class_and_name_as_keras(
    identifier: str, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]
) -> None:
    from keras.src.trainers.compile_utils import get_metric

    theirs = get_metric(identifier, np.zeros(y_true_shape), np.zeros(y_pred_shape))
    ours = metrics.resolve(identifier, y_true_shape, y_pred_shape)
    assert (type(ours).__name__, ours.name) == (type(theirs).__name__, theirs.name)


def test_direction_of_every_metric_is_that_of_keras() -> None:
    arguments = {
        "SensitivityAtSpecificity": [0.5],
        "SpecificityAtSensitivity": [0.5],
        "PrecisionAtRecall": [0.5],
        "RecallAtPrecision": [0.5],
        "IoU": [3, [1]],
        "OneHotIoU": [3, [1]],
        "MeanIoU": [3],
        "OneHotMeanIoU": [3],
        "MeanMetricWrapper": [keras.losses.mean_squared_error],
    }
    directions = {"up": "max", "down": "min", None: None}
    for name, kind in metrics.resolution.CLASSES.items():
        theirs = getattr(keras.metrics, name)(*arguments.get(name, []))
        expected = directions[getattr(theirs, "_direction", None)]
        if name == "MeanMetricWrapper":
            ours = metrics.MeanMetricWrapper(metrics.mean_squared_error)
        else:
            ours = kind(*arguments.get(name, []))
        assert ours.direction == expected, name
