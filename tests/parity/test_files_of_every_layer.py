"""Files of every layer: what torchseq writes Keras reads with the same results, and back."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks
from tests.layers.test_every_layer import ROWS, Row, plus_training
from torchseq import layers

Rng = np.random.Generator
SEQUENCE = (2, 4, 3)


def recurrent(make: Any, shape: tuple[int, ...] = SEQUENCE) -> Row:
    return Row(lambda **o: make(), shape)


def wrapped(inner: Any) -> Any:
    """A model in which the layer lies a level deeper."""
    return torchseq.Sequential([inner, layers.Dense(2)])


RECURRENT = {
    "SimpleRNN": recurrent(lambda: layers.SimpleRNN(3, bias_initializer="ones")),
    "LSTM": recurrent(lambda: layers.LSTM(3)),
    "LSTM without bias": recurrent(lambda: layers.LSTM(3, use_bias=False, return_sequences=True)),
    "LSTM with dropout": recurrent(lambda: layers.LSTM(3, dropout=0.5, recurrent_dropout=0.5)),
    "LSTM with seeded dropout": recurrent(lambda: layers.LSTM(3, dropout=0.5, seed=3)),
    "GRU": recurrent(lambda: layers.GRU(3)),
    "GRU, reset before": recurrent(lambda: layers.GRU(3, reset_after=False)),
    "RNN": recurrent(lambda: layers.RNN(layers.GRUCell(3))),
    "RNN of cells": recurrent(
        lambda: layers.RNN([layers.LSTMCell(3), layers.LSTMCell(2), layers.GRUCell(4)])
    ),
    "RNN of cells with dropout": recurrent(
        lambda: layers.RNN([layers.LSTMCell(3, dropout=0.5, seed=1), layers.GRUCell(2)])
    ),
    "RNN of stacked cells": recurrent(
        lambda: layers.RNN(
            layers.StackedRNNCells([layers.SimpleRNNCell(3), layers.SimpleRNNCell(2)])
        )
    ),
    "ConvLSTM1D": recurrent(lambda: layers.ConvLSTM1D(3, 2, padding="same"), (2, 3, 5, 2)),
    "ConvLSTM2D": recurrent(lambda: layers.ConvLSTM2D(3, 2), (2, 3, 5, 4, 2)),
    "ConvLSTM3D": recurrent(
        lambda: layers.ConvLSTM3D(2, 2, return_sequences=True), (2, 3, 3, 4, 3, 2)
    ),
    "Bidirectional": recurrent(lambda: layers.Bidirectional(layers.LSTM(3))),
    "Bidirectional of RNN": recurrent(
        lambda: layers.Bidirectional(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]))
    ),
    "Bidirectional with a backward layer": recurrent(
        lambda: layers.Bidirectional(
            layers.LSTM(3, name="there"),
            backward_layer=layers.GRU(3, go_backwards=True, name="back"),
        )
    ),
    "TimeDistributed": recurrent(lambda: layers.TimeDistributed(layers.Dense(2))),
    "TimeDistributed normalization": recurrent(
        lambda: layers.TimeDistributed(layers.BatchNormalization())
    ),
    "TimeDistributed model": recurrent(
        lambda: layers.TimeDistributed(wrapped(layers.BatchNormalization()))
    ),
    "TimeDistributed bidirectional": recurrent(
        lambda: layers.TimeDistributed(layers.Bidirectional(layers.GRU(2))), (2, 3, 4, 2)
    ),
    "SpectralNormalization of Conv2D": recurrent(
        lambda: layers.SpectralNormalization(layers.Conv2D(3, 2)), (2, 5, 5, 2)
    ),
    "stateful LSTM": Row(lambda **o: layers.LSTM(3, stateful=True), SEQUENCE),
    "models in models": recurrent(lambda: wrapped(wrapped(wrapped(layers.LSTM(3))))),
    "equal layers": recurrent(
        lambda: torchseq.Sequential([layers.Dense(3), layers.Dense(3), wrapped(layers.Dense(3))])
    ),
    "frozen": recurrent(lambda: layers.BatchNormalization(trainable=False)),
    "frozen in a model": recurrent(lambda: wrapped(layers.BatchNormalization(trainable=False))),
}
EVERY = {**ROWS, **RECURRENT}
# What Keras 3.15.1 cannot do on torch: it pickles modules, and fails in a call.
NOT_IN_KERAS = (
    "TorchModuleWrapper",
    "TorchModuleWrapper of a lazy module",
    "UpSampling2D, lanczos3",
    "LayerNormalization of axis 1",
)
KERAS_WRITES_NO_H5 = ("AlphaDropout with a seed", "Bidirectional of RNN")  # its own errors
CUSTOM = {"plus_training": plus_training}


def model_of(row: Row, library: Any, rng: Rng) -> tuple[Any, np.ndarray]:
    """A model of the layer with weights unlike the initial ones, after training calls."""
    if row.integers:
        x = rng.integers(0, row.integers, row.shape).astype("int32")
    else:
        x = rng.normal(size=row.shape).astype("float32")
    is_stateful = getattr(layer := row.make(), "stateful", False)
    size = row.shape[0] if is_stateful else None
    model = torchseq.Sequential(
        [torchseq.Input(row.shape[1:], batch_size=size, dtype=x.dtype.name), layer]
    )
    model(torch.tensor(x))
    if library is keras:
        model = in_keras(model)
    model.set_weights([changed(value, rng) for value in model.get_weights()])
    model(torch.tensor(x), training=True)  # seeds go on, moving statistics too
    return model, x


def in_keras(model: Any) -> Any:
    return keras.Sequential.from_config(checks.as_json(model.get_config()), CUSTOM)


def changed(value: np.ndarray, rng: Rng) -> np.ndarray:
    """Positive values of the same dtype, as a variance must be."""
    if value.dtype.kind != "f":
        return value
    return rng.uniform(0.1, 1, value.shape).astype(value.dtype)


def predictions(model: Any, x: np.ndarray) -> np.ndarray:
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
    return checks.numpy_of(model(torch.tensor(x), training=False))


def described(model: Any) -> list[Any]:
    trainable = {id(weight) for weight in model.trainable_weights}
    return [(w.name, tuple(w.shape), w.dtype, id(w) in trainable) for w in model.weights]


def entries(path: Path) -> list[Any]:
    found: list[Any] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append((name, getattr(item, "shape", None))))
    return [entry for entry in found if "seed_generator" not in entry[0]]


EACH = pytest.mark.parametrize("row", EVERY.values(), ids=EVERY)
EACH_OF_KERAS = pytest.mark.parametrize("name", [n for n in EVERY if n not in NOT_IN_KERAS])
WRITERS = pytest.mark.parametrize("writer", [keras, torchseq], ids=["theirs", "ours"])


@EACH
def test_our_own_files_keep_every_bit(row: Row, tmp_path: Path, rng: Rng) -> None:
    model, x = model_of(row, torchseq, rng)
    if "Wrapper" in type(model.layers[0]).__name__:
        pytest.skip("the module is the user's to make")
    model.save(tmp_path / "m.safetensors")
    again = torchseq.models.load_model(tmp_path / "m.safetensors", CUSTOM)
    state = model.state_dict()
    torch.testing.assert_close(again.state_dict(), state, rtol=0, atol=0)
    assert list(again.state_dict()) == list(state)
    np.testing.assert_array_equal(predictions(again, x), predictions(model, x))
    assert checks.as_json(again.get_config()) == checks.as_json(model.get_config())
    torch.manual_seed(1)
    expected = model(torch.tensor(x), training=True)
    torch.manual_seed(1)
    torch.testing.assert_close(again(torch.tensor(x), training=True), expected, rtol=0, atol=0)
    again.set_weights([0 * value for value in again.get_weights()])
    model.save_weights(tmp_path / "w.safetensors")
    again.load_weights(tmp_path / "w.safetensors")
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


@EACH_OF_KERAS
@WRITERS
def test_models_go_to_the_other_side(writer: Any, name: str, tmp_path: Path, rng: Rng) -> None:
    model, x = model_of(EVERY[name], writer, rng)
    reader = torchseq if writer is keras else keras
    for file in ("m.keras", "m.h5"):
        if file == "m.h5" and writer is keras and name in KERAS_WRITES_NO_H5:
            continue
        model.save(tmp_path / file)
        loaded = reader.models.load_model(tmp_path / file, CUSTOM)
        checks.assert_close(predictions(loaded, x), predictions(model, x), 1e-5, 1e-5)
        assert described(loaded) == described(model)


@EACH_OF_KERAS
@WRITERS
def test_weights_go_to_the_other_side(writer: Any, name: str, tmp_path: Path, rng: Rng) -> None:
    model, x = model_of(EVERY[name], writer, rng)
    config = checks.as_json(model.get_config())
    reader = torchseq if writer is keras else keras
    read = reader.Sequential.from_config(config, CUSTOM)
    model.save_weights(tmp_path / "m.weights.h5")
    read.load_weights(tmp_path / "m.weights.h5")
    checks.assert_close(predictions(read, x), predictions(model, x), 1e-5, 1e-5)
    read.save_weights(tmp_path / "n.weights.h5")
    assert entries(tmp_path / "n.weights.h5") == entries(tmp_path / "m.weights.h5")
