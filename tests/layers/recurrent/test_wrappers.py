"""Bidirectional and TimeDistributed: names, copies, masks, errors; outputs are in tests/parity."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import layers

SHAPE = (3, 5, 4)


def test_bidirectional_makes_both_layers_anew() -> None:
    layer = layers.LSTM(3, name="forward_lstm", use_cudnn=False)
    layer.build(SHAPE)
    both = layers.Bidirectional(layer)
    assert both.forward_layer is not layer
    assert (both.forward_layer.name, both.backward_layer.name) == (
        "forward_lstm",
        "backward_forward_lstm",
    )
    assert both.backward_layer.go_backwards
    assert both.backward_layer.use_cudnn is False
    both.build(SHAPE)
    assert not np.array_equal(both.get_weights()[0], layer.get_weights()[0])


def test_the_last_output_is_each_directions_own_last_step() -> None:
    both = layers.Bidirectional(layers.GRU(3), merge_mode=None)
    x = torch.randn(SHAPE)
    forward, backward = both(x)
    torch.testing.assert_close(forward, both.forward_layer(x))
    torch.testing.assert_close(backward, both.backward_layer(x))
    assert both.compute_output_shape((None, 5, 4)) == ((None, 3), (None, 3))


def test_masked_steps_give_zeros_in_sequences() -> None:
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True))
    mask = torch.tensor([[True, False, True, False, False]] * 3)
    outputs = both(torch.randn(SHAPE), mask=mask)
    assert not outputs[~mask].any()
    assert outputs[mask].all()


def test_initial_states_go_to_both_halves() -> None:
    both = layers.Bidirectional(layers.LSTM(2, return_state=True), merge_mode="sum")
    x, states = torch.randn(SHAPE), [torch.randn(3, 2) for _ in range(4)]
    outputs = both(x, initial_state=states)
    forward = both.forward_layer(x, initial_state=states[:2])
    backward = both.backward_layer(x, initial_state=states[2:])
    torch.testing.assert_close(outputs[0], forward[0] + backward[0])
    torch.testing.assert_close(outputs[1:], (*forward[1:], *backward[1:]))
    torch.testing.assert_close(both([x, *states])[0], outputs[0])


def test_weights_given_at_construction_are_set() -> None:
    first = layers.Bidirectional(layers.GRU(3))
    first.build(SHAPE)
    second = layers.Bidirectional(layers.GRU(3), weights=first.get_weights())
    x = torch.randn(SHAPE)
    torch.testing.assert_close(second(x), first(x))
    assert "weights" not in second.get_config()


def test_stateful_layers_reset_together() -> None:
    both = layers.Bidirectional(layers.GRU(3, stateful=True))
    x = torch.randn(SHAPE)
    assert both.states is None
    first = both(x)
    assert len(both.states) == 2
    assert not torch.allclose(both(x), first)
    both.reset_states()
    torch.testing.assert_close(both(x), first)
    with pytest.raises(AttributeError, match="it has no states; stateful is False"):
        layers.Bidirectional(layers.GRU(3)).reset_state()


BIDIRECTIONAL_ERRORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: layers.Bidirectional(3), "Bidirectional: `layer` must be a layer; got layer=3."),
    (
        lambda: layers.Bidirectional(layers.GRU(3), backward_layer="x"),
        "Bidirectional: `backward_layer` must be a layer; got backward_layer='x'.",
    ),
    (
        lambda: layers.Bidirectional(layers.GRU(3), merge_mode="max"),
        "Bidirectional: `merge_mode` must be one of ['sum', 'mul', 'ave', 'concat', None]; got "
        "merge_mode='max'.",
    ),
    (
        lambda: layers.Bidirectional(layers.GRU(3, go_backwards=True)),
        "Bidirectional: the forward and the backward layer must differ in `go_backwards`; both "
        "have go_backwards=True.",
    ),
    (
        lambda: layers.Bidirectional(
            layers.GRU(3), backward_layer=layers.GRU(3, go_backwards=True, return_sequences=True)
        ),
        "Bidirectional: the forward and the backward layer must have the same `return_sequences`; "
        "got False and True.",
    ),
]


@pytest.mark.parametrize(("make", "text"), BIDIRECTIONAL_ERRORS)
def test_wrong_arguments_raise(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        make()


# --- TimeDistributed ------------------------------------------------------------------------------


class Centered(layers.Layer):
    """A user's layer that mixes the samples of a batch."""

    def call(self, inputs: Any) -> Any:
        return inputs - inputs.mean(0)


def test_layers_that_mix_samples_see_one_step_at_a_time() -> None:
    x = torch.randn(SHAPE)
    torch.testing.assert_close(layers.TimeDistributed(Centered())(x), x - x.mean(0))


def test_one_call_serves_all_steps_of_layers_that_do_not(rng: np.random.Generator) -> None:
    inner = layers.Dense(2)
    calls: list[Any] = []
    inner.register_forward_hook(lambda module, args, output: calls.append(output.shape))
    outputs = layers.TimeDistributed(inner)(torch.randn(SHAPE))
    assert outputs.shape == (3, 5, 2)
    assert calls == [(15, 2)]


def test_a_stack_of_layers_can_be_distributed() -> None:
    stack = torchseq.Sequential([layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(3)])
    layer = layers.TimeDistributed(stack)
    x = torch.randn(2, 3, 4, 4, 1)
    torch.testing.assert_close(layer(x)[:, 1], stack(x[:, 1]))
    assert layer.compute_output_shape((None, None, 4, 4, 1)) == (None, None, 3)


def test_a_layer_that_takes_masks_gets_those_of_its_steps() -> None:
    x = torch.randn(2, 3, 5, 4)
    mask = torch.tensor(np.random.default_rng(0).integers(0, 2, (2, 3, 5)).astype(bool))
    inner = layers.LSTM(3)
    outputs = layers.TimeDistributed(inner)(x, mask=mask)
    for time in range(3):
        torch.testing.assert_close(outputs[:, time], inner(x[:, time], mask=mask[:, time]))


TIME_DISTRIBUTED_ERRORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: layers.TimeDistributed(3), "TimeDistributed: `layer` must be a layer; got layer=3."),
    (
        lambda: layers.TimeDistributed(layers.Dense(2), name="a").build((None, 4)),
        "Layer 'a' (TimeDistributed): its input must have at least 3 axes, batch, time and "
        "features; got shape (None, 4).",
    ),
    (
        lambda: layers.TimeDistributed(layers.Dense(2))(torch.zeros(SHAPE), mask=torch.ones(3, 4)),
        "TimeDistributed: `mask` must have shape (batch, time), as the input has; got shape (3, 4)",
    ),
]


@pytest.mark.parametrize(("make", "text"), TIME_DISTRIBUTED_ERRORS)
def test_wrong_time_distributed_arguments_raise(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        make()


@pytest.mark.parametrize(
    "layer", [layers.Dense(2), layers.Conv1D(2, 2), layers.BatchNormalization()]
)
def test_time_distributed_casts_integers_where_its_layer_does(layer: Any) -> None:
    x = torch.randint(0, 5, (2, 3, 4, 2), dtype=torch.uint8)
    wrapper = layers.TimeDistributed(layer)
    torch.testing.assert_close(wrapper(x), wrapper(x.float()))


def test_time_distributed_leaves_integers_to_be_looked_up() -> None:
    outputs = layers.TimeDistributed(layers.Embedding(5, 2))(torch.randint(0, 5, (2, 3, 4)))
    assert outputs.shape == (2, 3, 4, 2)
