"""Where a seeded layer's stream of random numbers stands: kept in files that Keras reads, too."""

from pathlib import Path
from typing import Any

import keras
import pytest
import torch

import torchseq


def noisy(library: Any) -> Any:
    layers = library.layers
    cells = [layers.GRUCell(3, dropout=0.5, seed=1), layers.LSTMCell(4, dropout=0.5, seed=2)]
    return library.Sequential(
        [
            library.Input((4, 6)),
            layers.GaussianNoise(1.0, seed=3),
            layers.LSTM(5, recurrent_dropout=0.5, return_sequences=True, seed=4),
            library.Sequential([layers.SpatialDropout1D(0.5, seed=5)]),
            layers.Bidirectional(layers.GRU(3, dropout=0.5, return_sequences=True, seed=6)),
            layers.RNN(cells),
            layers.Dropout(0.0),
        ]
    )


def loaded(path: Path, suffix: str) -> Any:
    if suffix != ".weights.h5":
        return torchseq.models.load_model(path)
    model = noisy(torchseq)
    model.load_weights(path)
    return model


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".safetensors"])
def test_draws_go_on_where_they_were(suffix: str, tmp_path: Path) -> None:
    model, path = noisy(torchseq), tmp_path / f"m{suffix}"
    x = torch.randn(2, 4, 6)
    for _ in range(3):
        model(x, training=True)
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    again = loaded(path, suffix)
    for _ in range(2):
        torch.testing.assert_close(again(x, training=True), model(x, training=True))
    fresh = noisy(torchseq)
    fresh.set_weights(model.get_weights())
    assert not torch.equal(fresh(x, training=True), again(x, training=True))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_keras_passes_over_them(suffix: str, tmp_path: Path) -> None:
    model, path = noisy(torchseq), tmp_path / f"m{suffix}"
    model(torch.randn(2, 4, 6), training=True)
    if suffix == ".keras":
        model.save(path)
        theirs = keras.models.load_model(path)
    else:
        model.save_weights(path)
        theirs = noisy(keras)
        theirs.load_weights(path)
    for own, their in zip(model.get_weights(), theirs.get_weights(), strict=True):
        assert (own == their).all()


def test_files_of_keras_leave_streams_as_they_are(tmp_path: Path) -> None:
    model, theirs = noisy(torchseq), noisy(keras)
    model(torch.randn(2, 4, 6), training=True)
    position = model.layers[0].stream.position.clone()
    theirs.save_weights(tmp_path / "k.weights.h5")
    model.load_weights(tmp_path / "k.weights.h5")
    assert model.layers[0].stream.position == position == 1
