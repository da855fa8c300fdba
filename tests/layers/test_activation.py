"""Activation as a layer."""

import pytest
import torch

from torchseq import activations, layers


def test_names_and_callables() -> None:
    x = torch.linspace(-2, 2, 5)
    for activation in ("tanh", activations.tanh, torch.tanh):
        assert torch.equal(layers.Activation(activation)(x), torch.tanh(x))
    with pytest.raises(ValueError, match="'tahn' is not a known name. Nearest: .*'tanh'"):
        layers.Activation("tahn")


def test_it_is_built_at_once_and_keeps_the_shape() -> None:
    layer = layers.Activation("relu")
    assert layer.built
    assert layer.compute_output_shape((None, 3)) == (None, 3)
    assert layer.count_params() == 0
