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


def test_calls_before_one_backward_have_their_own_kernels() -> None:
    layer = layers.SpectralNormalization(layers.Dense(3, use_bias=False))
    inputs = [torch.randn(4, 5, requires_grad=True) for _ in range(3)]
    layer.build((4, 5))
    kernels, total = [], torch.zeros(())
    for x, training in zip(inputs, (False, True, True), strict=True):
        total = total + layer(x, training=training).square().sum()
        kernels.append(layer.kernel.value.detach().clone())
    assert not torch.equal(kernels[1], kernels[2])
    total.backward()
    expected = torch.zeros(5, 3)
    for x, kernel in zip(inputs, kernels, strict=True):
        slopes = 2 * x.detach() @ kernel
        torch.testing.assert_close(x.grad, slopes @ kernel.T)
        expected += x.detach().T @ slopes
    torch.testing.assert_close(layer.kernel.grad, expected)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(
        ValueError, match="`power_iterations` must be a positive integer; got power"
    ):
        layers.SpectralNormalization(layers.Dense(2), power_iterations=0)
    with pytest.raises(ValueError, match="must have a `kernel` or `embeddings`; got <ReLU"):
        layers.SpectralNormalization(layers.ReLU()).build((None, 3))
    with pytest.raises(ValueError, match="SpectralNormalization: `layer` must be a layer"):
        layers.SpectralNormalization(torch.nn.Linear(2, 3))  # type: ignore[arg-type]
