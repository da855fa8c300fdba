"""Activations as layers: arguments, masks, errors."""

from typing import Any

import numpy as np
import pytest
import torch

from torchseq import activations, layers
from torchseq.base import logits


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ReLU", {"max_value": -1}, "ReLU: `max_value` must be at least 0; got max_value=-1"),
        ("ReLU", {"negative_slope": -0.1}, "ReLU: `negative_slope` must be at least 0; got"),
        ("ReLU", {"threshold": None}, "ReLU: `threshold` must be at least 0; got threshold=None"),
        ("LeakyReLU", {"negative_slope": -1}, "LeakyReLU: `negative_slope` must be at least 0"),
        ("PReLU", {"shared_axes": [0]}, r"PReLU: `shared_axes` must be axes from 1 on.*\[0\]"),
        ("PReLU", {"shared_axes": -1}, r"PReLU: `shared_axes` must be axes from 1 on.*-1"),
    ],
)
def test_wrong_arguments_are_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(layers, name)(**options)


def test_prelu_needs_known_sizes() -> None:
    with pytest.raises(ValueError, match=r"Layer 'p' \(PReLU\).*shape \(None, None, 3\)"):
        layers.PReLU(name="p").build((None, None, 3))
    with pytest.raises(ValueError, match=r"shared_axes=\[3\]"):
        layers.PReLU(shared_axes=[3]).build((None, 2, 3))
    layer = layers.PReLU(shared_axes=[1])
    layer.build((None, None, 3))
    assert layer.alpha.shape == (1, 3)
    with pytest.raises(ValueError, match="its input must have 3 entries on axis 2"):
        layer(torch.ones(2, 5, 4))


def test_the_old_name_of_the_slope() -> None:
    assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1
    assert layers.LeakyReLU().negative_slope == 0.3


def test_softmax_takes_the_mask_of_its_input() -> None:
    x = torch.randn(2, 3, 4)
    x[0, 1:] = 0
    outputs = layers.Softmax()(layers.Masking()(x))
    assert outputs[0, 1:].sum() == 0
    torch.testing.assert_close(outputs[1], torch.softmax(x[1], -1))
    torch.testing.assert_close(
        outputs._keras_mask, torch.tensor([[True, False, False], [True] * 3])
    )
    over_time = layers.Softmax(axis=1)(layers.Masking()(x))
    torch.testing.assert_close(over_time[0, 0], torch.ones(4))
    for policy in ("float16", "mixed_float16"):
        outputs = layers.Softmax(dtype=policy)(layers.Masking(dtype=policy)(x))
        assert outputs[0, 1:].sum() == 0


def test_softmax_notes_its_logits_for_the_loss() -> None:
    x = torch.randn(2, 3)
    assert logits.recall(layers.Softmax()(x), "softmax") is x


def test_softmax_takes_a_numpy_axis() -> None:
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(layers.Softmax(np.int64(1))(x), torch.softmax(x, 1))


def test_prelu_of_unsigned_integers_does_not_wrap_around() -> None:
    x = torch.tensor([[0, 3, 255]], dtype=torch.uint8)
    torch.testing.assert_close(layers.PReLU("ones")(x), x.float())
