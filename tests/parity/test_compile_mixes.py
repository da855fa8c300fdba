"""History, logs, results and configs of compile's metrics in any mix, against live Keras."""

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq

CLASSES = 3


def spread(y_true: Any, y_pred: Any) -> Any:
    return (y_pred * y_pred).sum(-1)


def HTMLCount(y_true: Any, y_pred: Any) -> Any:
    return (y_pred > 0.3).float().sum(-1)


class Margin:
    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return (y_pred * (2 * torch.as_tensor(y_true) - 1)).mean(-1)


def own_metric(library: Any, name: str = "hits", result: Callable[[Any], Any] | None = None) -> Any:
    """Return a metric as the Keras guides write one."""

    class Hits(library.metrics.Metric):
        def __init__(self, name: str = name, **options: Any) -> None:
            super().__init__(name=name, **options)
            self.total = self.add_weight(name="total", initializer="zeros")
            self.batches = self.add_variable(shape=(), initializer="zeros", name="batches")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            found = (y_pred * torch.as_tensor(y_true)).sum(-1)
            if sample_weight is not None:
                found = found * torch.as_tensor(sample_weight)
            self.total.assign_add(found.sum())
            self.batches.assign(self.batches + 1)

        def result(self) -> Any:
            if result is not None:
                return result(self)
            return self.total / self.batches

    return Hits()


def dict_metric(library: Any) -> Any:
    return own_metric(library, "d", lambda m: {"zz": m.total / m.batches, "aa": m.batches + 0})


# What an entry of `metrics` may be; each for either library.
ENTRIES: dict[str, Callable[[Any], Any]] = {
    "accuracy": lambda k: "accuracy",
    "acc": lambda k: "acc",
    "ACC": lambda k: "ACC",
    "mae": lambda k: "mae",
    "MSE": lambda k: "MSE",
    "mean_squared_error": lambda k: "mean_squared_error",
    "AUC": lambda k: "AUC",
    "Precision": lambda k: "Precision",
    "auc object": lambda k: k.metrics.AUC(name="area", curve="PR", num_thresholds=20),
    "multi auc": lambda k: k.metrics.AUC(name="areas", multi_label=True, num_labels=CLASSES),
    "precision object": lambda k: k.metrics.Precision(name="p", class_id=1),
    "recall class": lambda k: k.metrics.Recall,
    "recall top k": lambda k: k.metrics.Recall(name="r2", top_k=2),
    "mae object": lambda k: k.metrics.MeanAbsoluteError(),
    "f1": lambda k: k.metrics.F1Score(average="macro"),
    "r2": lambda k: k.metrics.R2Score(),
    "iou": lambda k: k.metrics.OneHotMeanIoU(CLASSES, name="iou", dtype="float32"),
    "cosine": lambda k: k.metrics.CosineSimilarity(),
    "top k": lambda k: k.metrics.TopKCategoricalAccuracy(k=2, name="top2"),
    "pearson": lambda k: k.metrics.PearsonCorrelation(),
    "loss function": lambda k: k.losses.categorical_crossentropy,
    "metric function": lambda k: k.metrics.mean_absolute_error,
    "loss object": lambda k: k.losses.MeanSquaredError(),
    "own function": lambda k: spread,
    "own name": lambda k: HTMLCount,
    "own callable": lambda k: Margin(),
    "lambda": lambda k: lambda y_true, y_pred: (torch.as_tensor(y_true) - y_pred).abs().amax(-1),
    "wrapper": lambda k: k.metrics.MeanMetricWrapper(spread, name="wrapped"),
    "own class": lambda k: own_metric(k),
    "dict": dict_metric,
}
LOSSES: list[Callable[[Any], Any]] = [
    lambda k: "categorical_crossentropy",
    lambda k: ["mse"],
    lambda k: k.losses.CategoricalCrossentropy(label_smoothing=0.1, name="smooth"),
    lambda k: k.losses.mean_absolute_error,
    lambda k: "CrossEntropy",
]
MIXES = 24


def mix(rng: np.random.Generator) -> Callable[[Any], dict[str, Any]]:
    """Return what makes arguments of compile, the same ones for either library."""
    names = sorted(ENTRIES)
    chosen = {
        "metrics": list(rng.choice(names, rng.integers(0, 5))),
        # A loss object makes one value of a batch, which Keras cannot weigh, nor we.
        "weighted_metrics": list(rng.choice([n for n in names if n != "loss object"], 3)),
    }
    if rng.random() < 0.4:
        del chosen["weighted_metrics"]
    is_mapping, is_nested = rng.random() < 0.15, rng.random() < 0.15
    loss = LOSSES[rng.integers(len(LOSSES))]
    loss_weights = [None, 0.5, [2.0]][rng.integers(3)]

    def make(library: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"loss": loss(library), "loss_weights": loss_weights}
        for argument, entries in chosen.items():
            made[argument] = [ENTRIES[entry](library) for entry in entries]
        if is_mapping:
            made["metrics"] = {"z": made["metrics"][:1], "a": made["metrics"][1:]}
        elif is_nested:
            made["metrics"] = [[metric] for metric in made["metrics"]]
        return made

    make.__name__ = str(chosen)
    return make


def model_of(library: Any) -> Any:
    return library.Sequential(
        [library.Input((4,)), library.layers.Dense(CLASSES, activation="softmax", name="out")]
    )


def assert_same_logs(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        np.testing.assert_allclose(
            np.array(ours[name], "float64"),
            np.array(expected, "float64"),
            rtol=2e-5,
            atol=1e-6,
            err_msg=name,
        )


@pytest.mark.parametrize("number", range(MIXES))
def test_any_mix_of_metrics_equals_keras(number: int, rng: np.random.Generator) -> None:
    given = mix(rng)
    x = rng.normal(size=(21, 4)).astype("float32")
    y = np.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, 21)]
    weight = rng.uniform(0, 2, 21).astype("float32") if rng.random() < 0.6 else None
    ours, theirs = model_of(torchseq), model_of(keras)
    ours.set_weights(theirs.get_weights())
    batch_logs: list[list[Any]] = []
    histories = []
    for model, library in ((ours, torchseq), (theirs, keras)):
        seen: list[Any] = []
        batch_logs.append(seen)
        callback = library.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, seen=seen: seen.append(dict(logs)),
        )
        model.compile("sgd", **given(library))
        fitted = model.fit(
            x,
            y,
            batch_size=8,
            epochs=2,
            shuffle=False,
            verbose=0,
            sample_weight=weight,
            validation_data=(x, y),
            callbacks=[callback],
        )
        histories.append(fitted.history)
    assert_same_logs(*histories)
    for own, their in zip(*batch_logs, strict=True):
        assert_same_logs(own, their)
    options = {"sample_weight": weight, "verbose": 0}
    assert_same_logs(*[m.evaluate(x, y, return_dict=True, **options) for m in (ours, theirs)])
    own, their = (m.evaluate(x, y, **options) for m in (ours, theirs))
    np.testing.assert_allclose(own, their, rtol=2e-5, atol=1e-6)
    own, their = (m.test_on_batch(x, y, sample_weight=weight) for m in (ours, theirs))
    np.testing.assert_allclose(own, their, rtol=2e-5, atol=1e-6)
    assert ours.metrics_names == theirs.metrics_names


# Of the others some cannot be saved, and a class's config fails in Keras.
SAVED = sorted(set(ENTRIES) - {"lambda", "own callable", "own class", "dict", "recall class"})


@pytest.mark.parametrize("loss", range(len(LOSSES)))
@pytest.mark.parametrize("weighted", [False, True])
def test_compile_configs_equal_keras(loss: int, weighted: bool, rng: np.random.Generator) -> None:
    names = list(rng.permutation(SAVED))
    configs = []
    for library in (torchseq, keras):
        entries = [ENTRIES[name](library) for name in names]
        model = model_of(library)
        model.compile(
            loss=LOSSES[loss](library),
            metrics=entries[::2],
            weighted_metrics=entries[1::2] if weighted else None,
        )
        configs.append(json.loads(json.dumps(plain(model.get_compile_config()))))
    for config in configs:
        del config["optimizer"]
    assert configs[0] == configs[1]


def plain(config: Any) -> Any:
    """Return a config without what differs on purpose: where a function or class is defined."""
    if isinstance(config, dict):
        return {k: plain(v) for k, v in config.items() if k not in ("module", "registered_name")}
    if isinstance(config, list | tuple):
        return [plain(entry) for entry in config]
    return config


def test_values_that_are_vectors_stay_arrays(rng: np.random.Generator) -> None:
    """Keras's own fit has them in its history, while its list of results fails."""
    x = rng.normal(size=(20, 4)).astype("float32")
    y = np.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, 20)]
    found = []
    models = model_of(torchseq), model_of(keras)
    models[0].set_weights(models[1].get_weights())
    for model, library in zip(models, (torchseq, keras), strict=True):
        model.compile("sgd", "mse", metrics=[library.metrics.F1Score()])
        fitted = model.fit(x, y, epochs=2, shuffle=False, verbose=0)
        found.append(np.array([np.asarray(v) for v in fitted.history["f1_score"]]))
    assert found[0].shape == (2, CLASSES)
    np.testing.assert_allclose(*found, rtol=1e-5)
    listed = models[0].evaluate(x, y, verbose=0)
    assert listed[1].shape == (CLASSES,)
