"""Cells: the protocol, users' own, and stacks of them."""

from typing import Any

import numpy as np
import torch

import torchseq
from torchseq import layers
from torchseq.base import registry

SHAPE = (3, 5, 4)


@registry.register_keras_serializable("tests")
class Leaky(layers.Layer):
    """A user's cell in Keras's style, with a `training` argument."""

    def __init__(self, units: int, **options: Any):
        super().__init__(**options)
        self.units = units
        self.state_size = units
        self.seen: list[bool] = []

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.decay = self.add_weight(shape=(self.units,), initializer="zeros", name="decay")

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        self.seen.append(training)
        kept = torch.sigmoid(self.decay.value)
        output = kept * states[0] + (1 - kept) * (inputs @ self.kernel)
        return output, [output]

    def get_config(self) -> Any:
        return {**super().get_config(), "units": self.units}


class Plain:
    """A cell that is no layer, with two states of different sizes."""

    state_size = (2, 3)
    output_size = 2

    def call(self, inputs: Any, states: Any) -> Any:
        first = states[0] + inputs[:, :2]
        return first, (first, states[1] + 1)


class TorchCell(torch.nn.Module):
    """A cell that is a torch module, with first states of its own."""

    state_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.cell = torch.nn.GRUCell(4, 3)

    def get_initial_state(self, batch_size: int) -> Any:
        return torch.ones(batch_size, 3)

    def forward(self, inputs: Any, states: Any) -> Any:
        output = self.cell(inputs, states[0])
        return output, output


def test_a_users_cell_runs_over_time_and_trains() -> None:
    layer = layers.RNN(Leaky(3), return_sequences=True, return_state=True)
    x = torch.randn(SHAPE)
    outputs, state = layer(x)
    by_hand = torch.zeros(3, 3)
    for time in range(5):
        by_hand = 0.5 * by_hand + 0.5 * x[:, time] @ layer.cell.kernel.value
        torch.testing.assert_close(outputs[:, time], by_hand)
    torch.testing.assert_close(state, by_hand)
    assert layer.cell.seen == [False] * 5
    layer(x, training=True)
    assert layer.cell.seen[5:] == [True] * 5
    assert [weight.path for weight in layer.weights] == [
        f"{layer.name}/{layer.cell.name}/{name}" for name in ("kernel", "decay")
    ]
    model = torchseq.Sequential([layers.RNN(Leaky(3)), layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    history = model.fit(np.ones((8, 5, 4)), np.ones((8, 1)), epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_a_users_cell_goes_through_a_config() -> None:
    layer = layers.Bidirectional(layers.RNN([Leaky(3), layers.GRUCell(2)]))
    again = type(layer).from_config(layer.get_config())
    assert isinstance(again.backward_layer.cell.cells[0], Leaky)
    assert again.get_config() == layer.get_config()


def test_a_bidirectional_copies_an_unregistered_cell() -> None:
    class Unregistered(Leaky):
        pass

    layer = layers.Bidirectional(layers.RNN(Unregistered(3)))
    assert layer(torch.zeros(SHAPE)).shape == (3, 6)
    assert isinstance(layer.backward_layer.cell, Unregistered)


def test_a_cell_may_be_no_layer() -> None:
    layer = layers.RNN(Plain(), return_state=True, stateful=True)
    output, *states = layer(torch.ones(SHAPE))
    torch.testing.assert_close(output, torch.full((3, 2), 5.0))
    torch.testing.assert_close(states[1], torch.full((3, 3), 5.0))
    torch.testing.assert_close(layer(torch.ones(SHAPE))[0], torch.full((3, 2), 10.0))
    assert layer.compute_output_shape((None, 5, 4)) == ((None, 2), (None, 2), (None, 3))
    stack = layers.RNN([Plain(), layers.LSTMCell(2)], return_state=True)
    assert stack(torch.ones(SHAPE))[0].shape == (3, 2)


def test_a_cell_may_be_a_torch_module() -> None:
    layer = layers.RNN(TorchCell(), return_sequences=True)
    outputs = layer(torch.zeros(SHAPE))
    expected = layer.cell.cell(torch.zeros(3, 4), torch.ones(3, 3))
    torch.testing.assert_close(outputs[:, 0], expected)
    assert len(list(layer.parameters())) == 4


def test_masked_steps_keep_output_and_states_of_any_cell() -> None:
    layer = layers.RNN([Leaky(3), layers.LSTMCell(2)], return_sequences=True, return_state=True)
    x = torch.randn(1, 4, 4)
    outputs, first, second = layer(x, mask=torch.tensor([[False, True, False, True]]))
    short, *states = layer(x[:, [1, 3]])
    assert not outputs[0, 0].any()
    torch.testing.assert_close(outputs[0, 1:], short[0, [0, 0, 1]])
    torch.testing.assert_close([first, *second], [states[0], *states[1]])


def test_a_subclass_that_overrides_call_is_heard() -> None:
    class Doubled(layers.GRUCell):
        def call(self, inputs: Any, states: Any, training: bool | None = None) -> Any:
            output, new_states = super().call(inputs, states, training)
            return 2 * output, new_states

    plain, doubled = layers.RNN(layers.GRUCell(3)), layers.RNN(Doubled(3))
    x = torch.randn(SHAPE)
    plain(x)
    doubled(x)
    doubled.set_weights(plain.get_weights())
    torch.testing.assert_close(doubled(x), 2 * plain(x))


def test_a_cell_alone_does_one_step() -> None:
    for cell in (layers.SimpleRNNCell(3), layers.GRUCell(3), layers.LSTMCell(3)):
        cell.build((None, 4))
        states = cell.get_initial_state(batch_size=2)
        output, new_states = cell(torch.randn(2, 4), states)
        assert output.shape == (2, 3)
        assert len(new_states) == len(states)


def test_a_stack_of_one_lstm_takes_a_mask() -> None:
    layer = layers.RNN([layers.LSTMCell(3)], return_state=True)
    output, states = layer(torch.randn(SHAPE), mask=torch.ones(3, 5))
    assert [state.shape for state in states] == [(3, 3), (3, 3)]
    torch.testing.assert_close(output, states[0])


def test_dropout_masks_last_for_a_sequence() -> None:
    cell = layers.LSTMCell(3, dropout=0.5, recurrent_dropout=0.5)
    cell.build((None, 4))
    x = torch.ones(2, 4)
    masks = cell.get_dropout_mask(x)
    assert len(masks) == 4  # with recurrent dropout each gate has its own
    assert cell.get_dropout_mask(x) is masks
    cell.reset_dropout_mask()
    assert cell.get_dropout_mask(x) is not masks
    assert len(layers.LSTMCell(3, dropout=0.5).get_dropout_mask(x)) == 1
    assert layers.LSTMCell(3).get_dropout_mask(x) is None
