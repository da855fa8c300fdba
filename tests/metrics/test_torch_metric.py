"""Metrics of torchmetrics in compile, evaluate and fit; and what looks like one."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from tests.engine.test_host_reads import counting
from torchseq import layers, metrics
from torchseq.metrics.torch_metric import is_torch_metric

CLASSES = 3


class Largest(nn.Module):
    """What torchmetrics offers, and nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))
        self.seen: list[tuple[torch.Size, torch.Size]] = []

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        assert not preds.requires_grad
        self.seen.append((preds.shape, target.shape))
        self.value = torch.maximum(self.value, (preds - target).abs().max())

    def compute(self) -> torch.Tensor:
        return self.value.clone()

    def reset(self) -> None:
        self.value = torch.zeros_like(self.value)


def data(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 4)).astype("float32"), rng.integers(0, CLASSES, count)


def model_of(units: int = CLASSES, activation: str | None = "softmax") -> Any:
    return torchseq.Sequential(
        [torchseq.Input((4,)), layers.Dense(units, activation=activation, name="out")]
    )


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_whatever_has_its_methods_is_taken(shape: tuple[int, ...]) -> None:
    metric = Largest()
    model = model_of(1, None)
    model.compile("sgd", "mse", metrics=[metric, "mae"])
    x, y = data()
    y = y.reshape(shape).astype("float32")
    history = model.fit(x, y, epochs=2, batch_size=16, verbose=0, validation_data=(x, y)).history
    assert list(history) == ["largest", "loss", "mae", "val_largest", "val_loss", "val_mae"]
    assert set(metric.seen) == {(torch.Size([16, 1]),) * 2, (torch.Size([8, 1]),) * 2}
    difference = np.abs(model.predict(x, verbose=0) - y.reshape(-1, 1)).max()
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(difference, rel=1e-5)
    assert history["val_largest"][-1] == pytest.approx(difference, rel=1e-5)
    assert copy.deepcopy(model.metrics[1]).result() == model.metrics[1].result()


def test_sample_weights_are_refused() -> None:
    message = "Largest: a torchmetrics metric takes no sample weights; .* Pass it in `metrics`"
    with pytest.raises(ValueError, match=f"compile: {message}"):
        model_of().compile("sgd", "mse", weighted_metrics=[Largest()])
    with pytest.raises(ValueError, match=message):
        metrics.TorchMetric(Largest()).update_state(torch.ones(2), torch.ones(2), torch.ones(2))


def test_a_metric_of_ours_is_none_of_them() -> None:
    assert is_torch_metric(Largest())
    assert not is_torch_metric(metrics.Mean())
    assert not is_torch_metric(nn.L1Loss())


# With the package itself.

torchmetrics = pytest.importorskip(
    "torchmetrics", reason="torchmetrics is not installed; it is in the `test` extra"
)


@pytest.mark.parametrize("encoding", ["numbers", "column", "floats", "one-hot"])
def test_classification_equals_ours(encoding: str) -> None:
    x, labels = data()
    y = {
        "numbers": labels,
        "column": labels[:, None],
        "floats": labels.astype("float32"),
        "one-hot": np.eye(CLASSES, dtype="float32")[labels],
    }[encoding]
    prefix = "" if encoding == "one-hot" else "sparse_"
    loss = f"{prefix}categorical_crossentropy"
    theirs = torchmetrics.classification.MulticlassAccuracy(CLASSES, average="micro")
    model = model_of()
    model.compile("sgd", loss, metrics=[theirs, "accuracy"])
    history = model.fit(x, y, epochs=2, verbose=0, validation_split=0.3).history
    assert history["multiclass_accuracy"] == pytest.approx(history["accuracy"])
    assert history["val_multiclass_accuracy"] == pytest.approx(history["val_accuracy"])
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["multiclass_accuracy"] == pytest.approx(found["accuracy"])


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_binary_and_collections(shape: tuple[int, ...], dtype: str) -> None:
    x, labels = data()
    y = (labels > 0).astype(dtype).reshape(shape)
    names = torchmetrics.MetricCollection(
        [torchmetrics.classification.BinaryAccuracy(), torchmetrics.classification.BinaryF1Score()]
    )
    model = model_of(1, "sigmoid")
    model.compile("sgd", "binary_crossentropy", metrics=[names, "accuracy", "Precision", "Recall"])
    history = model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y)).history
    assert history["val_BinaryAccuracy"] == pytest.approx(history["val_accuracy"])
    precision, recall = (np.array(history[f"val_{name}"]) for name in ("Precision", "Recall"))
    f1 = 2 * precision * recall / (precision + recall)
    assert history["val_BinaryF1Score"] == pytest.approx(f1)
    assert len(model.evaluate(x, y, verbose=0)) == 6


def test_regression_vectors_and_sequences() -> None:
    x, labels = data()
    y = np.eye(CLASSES, dtype="float64")[labels]
    model = model_of()
    per_output = torchmetrics.MeanSquaredError(num_outputs=CLASSES)
    model.compile("sgd", "mse", metrics=[torchmetrics.MeanAbsoluteError(), per_output, "mae"])
    history = model.fit(x, y, verbose=0).history
    assert history["mean_absolute_error"] == pytest.approx(history["mae"])
    assert history["mean_squared_error"][0].shape == (CLASSES,)

    steps = torchseq.Sequential(
        [torchseq.Input((5, 4)), layers.Dense(CLASSES, activation="softmax")]
    )
    theirs = torchmetrics.classification.MulticlassAccuracy(CLASSES, average="micro")
    steps.compile("sgd", "sparse_categorical_crossentropy", metrics=[theirs, "accuracy"])
    x = np.random.default_rng(1).normal(size=(8, 5, 4)).astype("float32")
    found = steps.evaluate(x, labels.reshape(8, 5), verbose=0, return_dict=True)
    assert found["multiclass_accuracy"] == pytest.approx(found["accuracy"])


def test_values_are_checked_on_the_first_batch_only() -> None:
    theirs = torchmetrics.classification.BinaryAccuracy()
    metric = metrics.TorchMetric(theirs, name="mine")
    assert (metric.name, metric.direction) == ("mine", "max")
    with pytest.raises(RuntimeError, match="expected only the following values"):
        metric.update_state(torch.full((4, 1), 7), torch.rand(4, 1))
    counts = []
    for _ in range(3):
        with counting([]) as reads:
            metric.update_state(torch.ones(4, 1), torch.rand(4, 1))
            metric.result()
        counts.append(reads.count)
    # One is left, on a CPU only: torchmetrics looks whether predictions are logits.
    assert counts[0] > counts[1] == counts[2] <= 1
