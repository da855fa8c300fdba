"""Masks on their way through layers: where they go on, and the warning where they end."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from torchseq import Sequential, layers

LOST = "this layer does not support masking and will therefore destroy the mask information"


def masked(*shape: int) -> Tensor:
    x = torch.randn(shape)
    x._keras_mask = torch.ones(shape[:2], dtype=torch.bool)  # type: ignore[attr-defined]
    x._keras_mask[:, -1] = False  # type: ignore[attr-defined]
    return x


def test_a_layer_without_masking_warns_once() -> None:
    layer, x = layers.Conv1D(2, 1, name="conv"), masked(2, 3, 4)
    with pytest.warns(UserWarning, match=r"Layer 'conv' \(of type Conv1D\) was .*" + LOST):
        layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
    with pytest.warns(UserWarning, match=LOST):  # another layer tells for itself
        layers.Conv1D(2, 1)(x)


def test_a_mask_that_is_passed_counts_too() -> None:
    class Takes(layers.Layer):
        def call(self, inputs: Tensor, mask: Any = None) -> Tensor:
            return inputs * mask

    with pytest.warns(UserWarning, match=r"of type Takes\).*" + LOST):
        Takes()(torch.ones(2, 3), mask=torch.ones(2, 3))


def test_nothing_warns_without_a_mask_or_where_it_goes_on() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Conv1D(2, 1)(torch.randn(2, 3, 4))
        for layer in (layers.Dense(2), layers.LSTM(2), layers.GlobalAveragePooling1D()):
            layer(masked(2, 3, 4))
        inner = Sequential([layers.Dense(2)])
        outputs = Sequential([layers.Masking(), inner, layers.LSTM(3)])(masked(2, 3, 4))
    assert outputs.shape == (2, 3)


def test_compiled_models_run_without_the_warning() -> None:
    model = Sequential([layers.Masking(), layers.Conv1D(2, 1)])
    x = torch.randn(2, 3, 4)
    model.build(x.shape)
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs = torch.compile(model, fullgraph=True, backend="eager")(x)
    with pytest.warns(UserWarning, match=LOST):
        torch.testing.assert_close(model(x), outputs)


def test_each_output_gets_its_mask() -> None:
    class Split(layers.Layer):
        def call(self, inputs: Tensor) -> Any:
            return inputs[..., :1] + 0, {"rest": inputs[..., 1:] + 0}

        def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Any:
            return previous_mask, {"rest": ~previous_mask}

    x: Any = masked(2, 3, 4)
    first, others = Split()(x)
    assert first._keras_mask is x._keras_mask
    assert torch.equal(others["rest"]._keras_mask, ~x._keras_mask)


@pytest.mark.parametrize("is_list", [False, True])
def test_states_of_recurrent_layers_have_no_mask(is_list: bool) -> None:
    x: Any = masked(2, 3, 4)
    layer = layers.LSTM(5, return_sequences=True, return_state=True)
    given = [x, torch.zeros(2, 5), torch.zeros(2, 5)] if is_list else x
    outputs, *states = layer(given)
    assert torch.equal(outputs._keras_mask, x._keras_mask)
    assert len(states) == 2
    assert not any(hasattr(state, "_keras_mask") for state in states)
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode=None)(x)
    assert all(output._keras_mask is x._keras_mask for output in both)
