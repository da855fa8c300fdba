"""SpectralNormalization: the norm it reaches, zeros, errors."""

from typing import Any

import pytest
import torch

from torchseq import layers


@pytest.mark.parametrize(
    ("inner", "shape"),
    [
        (lambda: layers.Dense(6), (3, 8)),
        (lambda: layers.Conv2D(6, 3), (3, 5, 5, 2)),
        (lambda: layers.Embedding(9, 4), (3, 2)),
    ],
)
def test_training_brings_the_norm_to_one(inner: Any, shape: Any) -> None:
    layer = layers.SpectralNormalization(inner(), power_iterations=100)
    x = torch.ones(shape)
    layer(x)
    before = layer.kernel.numpy()
    layer(x)
    assert (layer.kernel.numpy() == before).all()
    layer(x, training=True)
    norm = torch.linalg.matrix_norm(layer.kernel.value.reshape(-1, layer.kernel.shape[-1]), 2)
    assert norm.item() == pytest.approx(1.0, abs=1e-2)


def test_zeros_stay() -> None:
    layer = layers.SpectralNormalization(layers.Dense(2, kernel_initializer="zeros"))
    layer.build((None, 3))
    vector = layer.vector_u.numpy()
    assert layer(torch.ones(1, 3), training=True).abs().sum() == 0
    assert (layer.vector_u.numpy() == vector).all()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(
        ValueError, match="`power_iterations` must be a positive integer; got power"
    ):
        layers.SpectralNormalization(layers.Dense(2), power_iterations=0)
    with pytest.raises(ValueError, match="must have a `kernel` or `embeddings`; got <ReLU"):
        layers.SpectralNormalization(layers.ReLU()).build((None, 3))
    with pytest.raises(ValueError, match="SpectralNormalization: `layer` must be a layer"):
        layers.SpectralNormalization(torch.nn.Linear(2, 3))  # type: ignore[arg-type]
