"""Masks from the first layer to losses and metrics: training equals Keras's.

On torch, Keras 3.15.1 applies the mask to a batch's sample weights in place. The weights that its
weighted metrics get after the loss are then those that a mean over valid entries needs, another
factor for each batch. On its other backends the weights stay as they are; so they do here, and in
these tests in Keras.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src.losses import loss

import torchseq
from tests import checks

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")

Rng = np.random.Generator
CLASSES, STEPS, WORDS = 4, 4, 9
BATCH_SIZE, BATCHES = 4, 5


@pytest.fixture(autouse=True)
def weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Keras leave sample weights as they are."""
    plain = loss.apply_mask

    def apply_mask(sample_weight: Any, *others: Any, **options: Any) -> Any:
        weight = None if sample_weight is None else keras.ops.copy(sample_weight)
        return plain(weight, *others, **options)

    monkeypatch.setattr(loss, "apply_mask", apply_mask)


def tokens(rng: Rng) -> np.ndarray:
    """Sequences of words with zeros at the right, at the left, and in between; one is empty."""
    count = BATCH_SIZE * BATCHES - 1  # the last batch is smaller
    x = rng.integers(1, WORDS, (count, STEPS))
    for i, length in enumerate(rng.integers(1, STEPS + 1, count)):
        if i % 3 == 0:
            x[i, :length] = 0
        else:
            x[i, length:] = 0
    x[1::5, 2] = 0
    x[2] = 0
    return x


def features(rng: Rng) -> np.ndarray:
    x = tokens(rng)
    return (rng.normal(size=(*x.shape, 3)) * (x != 0)[:, :, None]).astype("float32")


def embedding(library: Any) -> list[Any]:
    layers = library.layers
    return [library.Input((STEPS,), dtype="int32"), layers.Embedding(WORDS, 5, mask_zero=True)]


def masking(library: Any) -> list[Any]:
    return [library.Input((STEPS, 3)), library.layers.Masking()]


def bidirectional(layers: Any, **options: Any) -> Any:
    return layers.Bidirectional(layers.LSTM(3, return_sequences=True), **options)


FIRST = {"embedding": (embedding, tokens), "masking": (masking, features)}
MIDDLE: dict[str, Callable[[Any], list[Any]]] = {
    "none": lambda layers: [],
    "lstm": lambda layers: [layers.LSTM(4, return_sequences=True)],
    "gru": lambda layers: [layers.GRU(4, return_sequences=True)],
    "rnn of cells": lambda layers: [
        layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)], return_sequences=True)
    ],
    "bidirectional": lambda layers: [bidirectional(layers)],
    "bidirectional sum": lambda layers: [bidirectional(layers, merge_mode="sum")],
    "zeros": lambda layers: [layers.LSTM(4, return_sequences=True, zero_output_for_mask=True)],
    "two": lambda layers: [
        layers.GRU(4, return_sequences=True),
        layers.Dropout(0.0),
        bidirectional(layers),
        layers.LayerNormalization(),
    ],
    "normalized": lambda layers: [layers.BatchNormalization(), layers.Activation("tanh")],
    "dense": lambda layers: [
        layers.Dense(3, activation="relu"),
        layers.LSTM(3, return_sequences=True, go_backwards=True),
    ],
}
LAST: dict[str, Callable[[Any], list[Any]]] = {
    "time distributed": lambda layers: [
        layers.TimeDistributed(layers.Dense(CLASSES, activation="softmax"))
    ],
    "dense": lambda layers: [layers.Dense(CLASSES, activation="softmax")],
}
POOLS: dict[str, Callable[[Any], list[Any]]] = {
    "average": lambda layers: [layers.GlobalAveragePooling1D()],
    "last step": lambda layers: [layers.LSTM(3)],
    "last step of both": lambda layers: [layers.Bidirectional(layers.GRU(3))],
    "last step of cells": lambda layers: [layers.RNN([layers.SimpleRNNCell(3)])],
    "maximum": lambda layers: [layers.GlobalMaxPooling1D()],
    "flat": lambda layers: [layers.Flatten()],
}


def pair(first: Any, make: Callable[[Any], list[Any]]) -> tuple[Any, Any]:
    ours, theirs = (
        library.Sequential([*first(library), *make(library.layers)])
        for library in (torchseq, keras)
    )
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def assert_same_training(
    models: tuple[Any, Any],
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None = None,
    loss_name: str = "sparse_categorical_crossentropy",
    **metrics: Any,
) -> None:
    """History, evaluation, predictions and weights are equal; so are single steps."""
    for model, library in zip(models, (torchseq, keras), strict=True):
        model.compile(library.optimizers.SGD(0.1), loss_name, **metrics)
    options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0}
    ours, theirs = (m.fit(x, y, sample_weight=weight, **options).history for m in models)
    assert_same_logs(ours, theirs)
    options = {"batch_size": BATCH_SIZE, "verbose": 0, "return_dict": True}
    assert_same_logs(*(m.evaluate(x, y, sample_weight=weight, **options) for m in models))
    few = slice(0, BATCH_SIZE)
    few_weights = None if weight is None else weight[few]
    steps = [m.train_on_batch(x[few], y[few], few_weights, return_dict=True) for m in models]
    assert_same_logs(*steps)
    checks.assert_close(*(m.predict(x, verbose=0) for m in models), 1e-5, 1e-5)
    for own, their in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_allclose(own, their, rtol=1e-5, atol=1e-5)


def assert_same_logs(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def layers_of(*parts: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    return lambda layers: [layer for part in parts for layer in part(layers)]


EACH_FIRST = pytest.mark.parametrize("first", FIRST)


@EACH_FIRST
@pytest.mark.parametrize("middle", MIDDLE)
def test_classes_of_steps(first: str, middle: str, rng: Rng) -> None:
    make, draw = FIRST[first]
    x = draw(rng)
    y = rng.integers(0, CLASSES, (len(x), STEPS))
    models = pair(make, layers_of(MIDDLE[middle], LAST[rng.choice(list(LAST))]))
    assert_same_training(models, x, y, metrics=["accuracy"])


@EACH_FIRST
@pytest.mark.parametrize("middle", ["none", "lstm", "bidirectional"])
@pytest.mark.parametrize("form", ["steps", "column"])
def test_weights_of_steps(first: str, middle: str, form: str, rng: Rng) -> None:
    make, draw = FIRST[first]
    x = draw(rng)
    y = rng.integers(0, CLASSES, (len(x), STEPS))
    if form == "column":
        y = y[:, :, None]
    weight = rng.uniform(0, 2, (len(x), STEPS))
    models = pair(make, layers_of(MIDDLE[middle], LAST["time distributed"]))
    names = ["accuracy", "sparse_categorical_crossentropy"]
    assert_same_training(models, x, y, weight, metrics=names, weighted_metrics=names)


@EACH_FIRST
@pytest.mark.parametrize("name", ["mse", "categorical_crossentropy", "binary_crossentropy", "mae"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_other_losses_of_steps(first: str, name: str, is_weighted: bool, rng: Rng) -> None:
    make, draw = FIRST[first]
    x = draw(rng)
    y = np.eye(CLASSES, dtype="float32")[rng.integers(0, CLASSES, (len(x), STEPS))]
    weight = rng.uniform(0, 2, (len(x), STEPS)) if is_weighted else None
    models = pair(make, layers_of(MIDDLE["gru"], LAST["dense"]))
    metrics = ["accuracy", "mse", "cosine_similarity"]
    assert_same_training(models, x, y, weight, name, metrics=metrics, weighted_metrics=["mae"])


@EACH_FIRST
@pytest.mark.parametrize("pool", POOLS)
def test_pooled_sequences(first: str, pool: str, rng: Rng) -> None:
    make, draw = FIRST[first]
    x = draw(rng)
    y = rng.integers(0, CLASSES, len(x))
    models = pair(make, layers_of(MIDDLE[rng.choice(list(MIDDLE))], POOLS[pool], LAST["dense"]))
    weight = rng.uniform(0, 2, len(x)) if rng.integers(2) else None
    assert_same_training(models, x, y, weight, metrics=["accuracy"], weighted_metrics=["accuracy"])


@EACH_FIRST
def test_a_weight_of_a_sample_is_one_of_all_its_steps(first: str, rng: Rng) -> None:
    make, draw = FIRST[first]
    x = draw(rng)
    y = rng.integers(0, CLASSES, (len(x), STEPS))
    weight = rng.uniform(0, 2, len(x))
    ours, theirs = pair(make, layers_of(MIDDLE["gru"], LAST["dense"]))
    given = (weight, np.repeat(weight[:, None], STEPS, axis=1))  # Keras refuses the first
    logs = []
    for model, weights in zip((ours, theirs), given, strict=True):
        model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
        options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0}
        logs.append(model.fit(x, y, sample_weight=weights, **options).history)
    assert_same_logs(*logs)


OF_LAYERS: dict[str, Callable[[Any], Any]] = {
    "Embedding": lambda layers: layers.Embedding(3, 2),
    "EinsumDense": lambda layers: layers.EinsumDense("ab,bc->ac", 2),
    "RNN": lambda layers: layers.RNN(layers.LSTMCell(2)),
    "StackedRNNCells": lambda layers: layers.StackedRNNCells([layers.LSTMCell(2)]),
    "Lambda": lambda layers: layers.Lambda(abs),
    "TorchModuleWrapper": lambda layers: layers.TorchModuleWrapper(torch.nn.Identity()),
    "Wrapper": lambda layers: layers.Wrapper(layers.Dense(2)),
    "SpectralNormalization": lambda layers: layers.SpectralNormalization(layers.Dense(2)),
    "TimeDistributed": lambda layers: layers.TimeDistributed(layers.Dense(2)),
    "Bidirectional": lambda layers: layers.Bidirectional(layers.LSTM(2)),
    "Activation": lambda layers: layers.Activation("relu"),
    "Reshape": lambda layers: layers.Reshape((2,)),
    "Permute": lambda layers: layers.Permute((1,)),
    "Rescaling": lambda layers: layers.Rescaling(2.0),
}
ARGUMENTS: list[tuple[Any, ...]] = [(), (2,), (0.5,), (2, 2)]
NAMES = [
    name
    for name, value in vars(torchseq.layers).items()
    if isinstance(value, type) and issubclass(value, torchseq.layers.Layer) and name != "InputLayer"
]


def made(library: Any, name: str) -> Any:
    if name in OF_LAYERS:
        return OF_LAYERS[name](library.layers)
    for arguments in ARGUMENTS:
        try:
            return getattr(library.layers, name)(*arguments)
        except (TypeError, ValueError):
            continue
    raise AssertionError(f"no arguments for {name}")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_layers_support_masks(name: str) -> None:
    ours, theirs = (made(library, name) for library in (torchseq, keras))
    assert ours.supports_masking == theirs.supports_masking


@pytest.mark.filterwarnings("default:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("pool", [*POOLS, *MIDDLE])
def test_the_same_layers_warn(pool: str, recwarn: pytest.WarningsRecorder) -> None:
    told = []
    for library in (torchseq, keras):
        recwarn.clear()
        layers = {**POOLS, **MIDDLE}[pool](library.layers)
        x = np.ones((2, STEPS, 3), "float32")
        outputs = library.layers.Masking()(x)
        for layer in layers:
            outputs = layer(outputs)
        texts = [str(warning.message) for warning in recwarn]
        told.append([text.split(") was")[0].split("of type ")[1] for text in texts])
    assert told[0] == told[1]
