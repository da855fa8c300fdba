"""ConvLSTM layers: states, layouts and errors; the rest is in test_rnn.py and the parity tests."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from torchseq import layers


def test_channels_first_equals_channels_last() -> None:
    first = layers.ConvLSTM2D(3, 2, data_format="channels_first", return_sequences=True)
    last = layers.ConvLSTM2D(3, 2, data_format="channels_last", return_sequences=True)
    x = torch.randn(2, 4, 5, 6, 1)
    last(x)
    first.build((2, 4, 1, 5, 6))
    first.set_weights(last.get_weights())
    torch.testing.assert_close(first(x.movedim(-1, 2)), last(x).movedim(-1, 2))


def test_a_stateful_layer_goes_on_where_it_ended() -> None:
    layer = layers.ConvLSTM1D(3, 2, stateful=True, return_sequences=True)
    whole = layers.ConvLSTM1D(3, 2, return_sequences=True)
    x = torch.randn(2, 4, 6, 1)
    whole(x)
    layer.build(x.shape)
    layer.set_weights(whole.get_weights())
    parts = torch.cat([layer(x[:, :1]), layer(x[:, 1:])], dim=1)
    torch.testing.assert_close(parts, whole(x))


def test_the_forget_gates_bias_starts_at_one() -> None:
    layer = layers.ConvLSTM1D(2, 3, bias_initializer="zeros")
    layer.build((None, 3, 5, 1))
    assert layer.cell.bias.numpy().tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


ERRORS: list[tuple[Callable[[], Any], Any, str]] = [
    (lambda: layers.ConvLSTM2D(0, 3), None, "ConvLSTM2D: `filters` must be a positive integer"),
    (lambda: layers.ConvLSTM2D(2, (3, 0)), None, "ConvLSTM2D: `kernel_size` must be an integer"),
    (lambda: layers.ConvLSTM2D(2, 3, padding="causal"), None, "ConvLSTM2D: `padding` must be"),
    (lambda: layers.ConvLSTM2D(2, 3, data_format="last"), None, "`data_format` must be one of"),
    (
        lambda: layers.ConvLSTM2D(2, 3, strides=2, dilation_rate=2),
        None,
        "ConvLSTM2D: `strides` and `dilation_rate` cannot both be above 1; got strides=(2, 2), "
        "dilation_rate=(2, 2).",
    ),
    (
        lambda: layers.ConvLSTM2D(2, 3),
        (None, 4, 5, None, 1),
        "(ConvLSTMCell): the input of one step must have 4 axes, all but the batch of known size",
    ),
    (lambda: layers.ConvLSTM2D(2, 3), (None, 4, 5, 1), "(ConvLSTM2D): its input must have 5 axes"),
    (lambda: layers.ConvLSTM2D(2, 3), (None, 4, 2, 5, 1), "its kernel must fit into the input"),
]


@pytest.mark.parametrize(("make", "shape", "text"), ERRORS)
def test_wrong_arguments_and_shapes_raise(make: Any, shape: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        make().build(shape)


def test_images_of_another_size_need_first_states() -> None:
    layer = layers.ConvLSTM1D(3, 2, name="c")
    layer.build((2, 4, 5, 2))
    x = torch.randn(2, 4, 7, 2)
    message = r"'c' \(ConvLSTM1D\): .* built for, \(2, 4, 5, 2\).*; got an input of shape \(2, 4, 7"
    with pytest.raises(ValueError, match=message):
        layer(x)
    states = [torch.zeros(2, 6, 3)] * 2
    assert layer(x, initial_state=states).shape == (2, 6, 3)
