"""RNN and the ordinary layers: states, masks, dropout, errors, and torch's own tools."""

import copy
import pickle
import re
import unittest.mock
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from tests import checks
from torchseq import layers
from torchseq.layers.recurrent import fused

Rng = np.random.Generator
SHAPE = (3, 5, 4)

MAKERS: dict[str, Callable[[], Any]] = {
    "SimpleRNN": lambda: layers.SimpleRNN(3),
    "LSTM": lambda: layers.LSTM(3, return_sequences=True),
    "LSTM with states": lambda: layers.LSTM(3, return_state=True),
    "LSTM step by step": lambda: layers.LSTM(3, recurrent_dropout=0.2, dropout=0.3),
    "LSTM stateful": lambda: layers.LSTM(3, stateful=True),
    "GRU": lambda: layers.GRU(3, dropout=0.3),
    "GRU, reset before": lambda: layers.GRU(3, reset_after=False),
    "RNN": lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(3)),
    "ConvLSTM1D": lambda: layers.ConvLSTM1D(2, 3),
    "ConvLSTM2D": lambda: layers.ConvLSTM2D(2, 3, dropout=0.2, recurrent_dropout=0.2),
    "ConvLSTM3D": lambda: layers.ConvLSTM3D(2, 3, padding="same"),
}
SHAPES = {
    "ConvLSTM1D": (2, 3, 5, 2),
    "ConvLSTM2D": (2, 3, 5, 4, 2),
    "ConvLSTM3D": (2, 3, 4, 3, 3, 1),
}
EVERY = pytest.mark.parametrize("name", MAKERS)
FUSED = pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.GRU, layers.LSTM])


def made(name: str) -> tuple[Any, torch.Tensor, torch.Tensor]:
    layer, shape = MAKERS[name](), SHAPES.get(name, SHAPE)
    layer.build(shape)
    mask = torch.ones(shape[:2], dtype=torch.bool)
    mask[0, 1:] = False
    mask[1, 0] = False
    return layer, torch.randn(shape), mask


def flat(outputs: Any) -> list[torch.Tensor]:
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def assert_same(found: Any, expected: Any) -> None:
    for one, other in zip(flat(found), flat(expected), strict=True):
        torch.testing.assert_close(one, other)


# --- torch's own tools ----------------------------------------------------------------------------


@EVERY
def test_compiles_into_one_graph(name: str) -> None:
    layer, x, mask = made(name)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    found = compiled(x, mask=mask)
    if "stateful" not in name:
        assert_same(found, layer(x, mask=mask))


@pytest.mark.parametrize("name", ["LSTM step by step", "LSTM stateful", "GRU", "ConvLSTM2D"])
def test_compiles_into_one_graph_in_training(name: str) -> None:
    layer, x, _ = made(name)
    torch._dynamo.reset()
    flat(torch.compile(layer.train(), fullgraph=True, backend="eager")(x))[0].sum().backward()
    assert all(weight.grad is not None for weight in layer.weights)


@EVERY
def test_exports(name: str) -> None:
    layer, x, _ = made(name)
    exported = torch.export.export(layer, (x,)).module()
    if "stateful" not in name:
        assert_same(exported(x), layer(x))


@EVERY
def test_copies_and_pickles_are_independent(name: str) -> None:
    layer, x, _ = made(name)
    layer(x, training=True)
    before = layer.get_weights()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        if "stateful" not in name:
            assert_same(twin(x), layer(x))
        twin.weights[0].assign(twin.weights[0].value + 1)
        assert twin.weights[0].tensor is not layer.weights[0].tensor
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])


@EVERY
def test_runs_under_autocast_and_trains(name: str) -> None:
    layer, x, mask = made(name)
    expected = flat(layer(x, mask=mask))
    if "stateful" in name:
        layer.reset_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = flat(layer(x, mask=mask))
    sum(output.float().sum() for output in found).backward()
    assert all(weight.grad is not None for weight in layer.weights)
    for one, other in zip(found, expected, strict=True):
        checks.assert_close(one.float(), other, 0.1, 0.1)


@EVERY
@pytest.mark.parametrize("policy", ["float64", "bfloat16", "float16", "mixed_bfloat16"])
def test_dtype_policies(name: str, policy: str) -> None:
    torchseq.base.dtypes.set_global_policy(policy)
    try:
        layer, x, mask = made(name)
    finally:
        torchseq.base.dtypes.clear_global_policy()
    for options in ({}, {"mask": mask}):
        outputs = flat(layer(x, training=True, **options))
        assert {output.dtype for output in outputs} == {layer._compute_dtype}
        sum(output.sum() for output in outputs).backward()


@EVERY
def test_works_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        layer, x, mask = made(name)
        outputs = flat(layer(x, mask=mask, training=True))
    assert all(output.device.type == "meta" for output in outputs)


@EVERY
def test_follows_double(name: str) -> None:
    layer, x, mask = made(name)
    expected = flat(layer(x, mask=mask))
    if "stateful" in name:
        layer.reset_state()
    found = flat(layer.double()(x.double(), mask=mask))
    assert found[0].dtype == torch.float64
    for one, other in zip(found, expected, strict=True):
        checks.assert_close(one, other)


@FUSED
def test_weights_are_torchs_and_live_once(kind: Any) -> None:
    layer = kind(3, bias_initializer="random_normal")
    layer.build((None, None, 4))
    assert set(layer.state_dict()) == {"cell.weight_ih", "cell.weight_hh", "cell.bias"}
    assert len(list(layer.parameters())) == len(layer.weights) == 3
    theirs = getattr(torch.nn, kind.__name__.replace("Simple", ""))(4, 3, batch_first=True)
    state = dict(zip(theirs.state_dict(), layer.cell.fused_weights(), strict=True))
    theirs.load_state_dict(state)
    x = torch.randn(SHAPE)
    torch.testing.assert_close(layer(x), theirs(x)[0][:, -1])


# --- The fused path -------------------------------------------------------------------------------


class CountCalls(torch.overrides.TorchFunctionMode):
    """Counts calls into torch from Python."""

    count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def num_calls(layer: Any, time: int, kind: str) -> int:
    x, steps = torch.randn(2, time, 4), torch.arange(time)
    masks = {"none": None, "right": steps < time - 1, "left": steps > 0, "holes": steps % 3 != 1}
    mask = None if masks[kind] is None else masks[kind].expand(2, time)
    layer(x, mask=mask)
    with CountCalls() as calls:
        layer(x, mask=mask)
    return calls.count


@FUSED
@pytest.mark.parametrize("mask", ["none", "right", "left", "holes"])
def test_the_number_of_torch_calls_does_not_depend_on_the_length(kind: Any, mask: str) -> None:
    for options in ({}, {"return_sequences": True, "return_state": True, "go_backwards": True}):
        layer = kind(3, dropout=0.1, **options).train()
        assert num_calls(layer, 5, mask) == num_calls(layer, 50, mask) < 120


@FUSED
@pytest.mark.parametrize("pattern", ["none", "right", "left", "random", "empty"])
@pytest.mark.parametrize("flags", range(8))
def test_the_fused_path_equals_step_by_step(kind: Any, pattern: str, flags: int, rng: Rng) -> None:
    names = ("return_sequences", "go_backwards", "zero_output_for_mask")
    options = {name: bool(flags >> place & 1) for place, name in enumerate(names)}
    fast = kind(3, return_state=True, bias_initializer="random_normal", **options)
    slow = kind(3, return_state=True, use_cudnn=False, **options)
    for layer in (fast, slow):
        layer.build((None, None, 4))
    slow.set_weights(fast.get_weights())
    x = torch.tensor(rng.normal(size=(4, 7, 4)).astype("float32"))
    lengths, steps = torch.tensor(rng.integers(1, 8, (4, 1))), torch.arange(7)
    mask = {
        "none": None,
        "right": steps < lengths,
        "left": steps >= 7 - lengths,
        "random": torch.tensor(rng.integers(0, 2, (4, 7)).astype(bool)),
        "empty": torch.zeros(4, 7, dtype=torch.bool),
    }[pattern]
    states = [torch.tensor(rng.normal(size=(4, 3)).astype("float32")) for _ in fast.state_size]
    assert_same(fast(x, mask=mask, initial_state=states), slow(x, mask=mask, initial_state=states))
    if mask is not None:  # the path that looks at no values, as on a GPU
        with unittest.mock.patch.object(fused, "_is_known", return_value=False):
            assert_same(fast(x, mask=mask), slow(x, mask=mask))


def test_the_lstms_cell_state_survives_a_long_padding() -> None:
    layer = layers.LSTM(3, return_state=True)
    x = 10 * torch.randn(2, 300, 4)
    mask = torch.arange(300).expand(2, 300) < 7
    assert_same(layer(x, mask=mask), layer(x[:, :7]))


@pytest.mark.gpu
@FUSED
@pytest.mark.parametrize("use_bias", [True, False])
def test_cudnn_equals_the_cpu_without_a_warning(
    kind: Any, use_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    layer = kind(3, use_bias=use_bias, return_sequences=True, return_state=True)
    x = torch.randn(SHAPE)
    layer.build(SHAPE)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]]).bool()
    expected = layer.cpu()(x), layer(x, mask=mask)
    layer.cuda()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = layer(x.cuda()), layer(x.cuda(), mask=mask.cuda())
        sum(output.sum() for output in (*found[0], *found[1])).backward()
    for ours, theirs in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-3, atol=1e-4)


# --- States ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_cudnn", ["auto", False])
def test_a_stateful_layer_goes_on_where_it_ended(use_cudnn: Any) -> None:
    layer = layers.LSTM(3, stateful=True, return_sequences=True, use_cudnn=use_cudnn)
    layer.build(SHAPE)
    whole = layers.LSTM(3, return_sequences=True)
    whole.build(SHAPE)
    whole.set_weights(layer.get_weights())
    x = torch.randn(SHAPE)
    parts = torch.cat([layer(x[:, :2]), layer(x[:, 2:])], dim=1)
    torch.testing.assert_close(parts, whole(x))
    assert [state.shape for state in layer.states] == [(3, 3), (3, 3)]
    assert layer.states[0].numpy().any()
    for reset in (layer.reset_state, layer.reset_states):
        layer(x)
        reset()
        torch.testing.assert_close(layer(x), whole(x))
    layer.reset_states([np.ones((3, 3)), np.zeros((3, 3))])
    torch.testing.assert_close(layer.states[0].value, torch.ones(3, 3))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_a_stateful_layer_trains(name: str) -> None:
    model = torchseq.Sequential(
        [
            torchseq.Input((6, 2), batch_size=4),
            getattr(layers, name)(5, stateful=True, return_sequences=True),
            layers.Bidirectional(getattr(layers, name)(5, stateful=True)),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    x, y = np.random.normal(size=(16, 6, 2)), np.ones((16, 1))
    losses = model.fit(x, y, batch_size=4, epochs=5, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.abs(model.layers[1].states[0].numpy()).sum() > 0
    model.layers[1].reset_states()
    assert np.abs(model.layers[1].states[-1].numpy()).sum() == 0


def test_states_are_no_weights_and_in_no_state_dict() -> None:
    layer = layers.GRU(3, stateful=True)
    layer.build(SHAPE)
    assert len(layer.weights) == 3
    assert not any("state" in key for key in layer.state_dict())


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_first_states_come_as_an_argument_or_in_the_list_of_inputs(kind: Any) -> None:
    layer = kind(3)
    x = torch.randn(SHAPE)
    states = [torch.randn(3, 3) for _ in layer.state_size]
    expected = layer(x, initial_state=states)
    torch.testing.assert_close(layer([x, *states]), expected)
    arrays = [state.numpy() for state in states]
    torch.testing.assert_close(layer(x, initial_state=arrays), expected)
    fresh = kind(3)
    fresh([x, *states])
    assert [weight.shape for weight in fresh.weights] == [w.shape for w in layer.weights]


# --- Masks ----------------------------------------------------------------------------------------


def test_masks_travel_with_sequences_only(rng: Rng) -> None:
    x = torch.randn(SHAPE)
    x._keras_mask = torch.tensor(rng.integers(0, 2, SHAPE[:2]).astype(bool))
    for make in (layers.LSTM, lambda *a, **k: layers.Bidirectional(layers.LSTM(*a, **k))):
        assert make(3, return_sequences=True)(x)._keras_mask is x._keras_mask
        assert not hasattr(make(3)(x), "_keras_mask")
        outputs = make(3, return_sequences=True, return_state=True)(x)
        assert outputs[0]._keras_mask is x._keras_mask
        assert not hasattr(outputs[1], "_keras_mask")
    pair = layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode=None)(x)
    assert all(output._keras_mask is x._keras_mask for output in pair)


@pytest.mark.parametrize("use_cudnn", ["auto", False])
def test_masks_may_be_numbers_and_have_an_axis_more(use_cudnn: Any) -> None:
    layer = layers.LSTM(3, use_cudnn=use_cudnn)
    x = torch.randn(SHAPE)
    mask = torch.tensor([[1, 0, 1, 1, 0]] * 3)
    expected = layer(x, mask=mask.bool())
    for form in (mask, mask.float(), mask[..., None], [mask]):
        torch.testing.assert_close(layer(x, mask=form), expected)


# --- Dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}])
@pytest.mark.parametrize("name", ["SimpleRNN", "GRU", "LSTM", "ConvLSTM1D"])
def test_dropout_acts_in_training_only_and_repeats_with_a_seed(name: str, options: Any) -> None:
    shape = (2, 6, 5, 3) if name == "ConvLSTM1D" else (2, 6, 3)
    size = (8, 3) if name == "ConvLSTM1D" else (8,)
    first = getattr(layers, name)(*size, seed=3, **options)
    x = torch.randn(shape)
    plain = first(x)
    torch.testing.assert_close(first(x, training=False), plain)
    dropped = first(x, training=True)
    assert not torch.allclose(dropped, plain)
    assert not torch.allclose(first(x, training=True), dropped)
    second = getattr(layers, name)(*size, seed=3, **options)
    second.build(shape)
    second.set_weights(first.get_weights())
    torch.testing.assert_close(second(x, training=True), dropped)


@pytest.mark.parametrize("use_cudnn", ["auto", False])
def test_dropout_drops_the_same_inputs_at_all_steps(use_cudnn: Any) -> None:
    layer = layers.SimpleRNN(
        6,
        activation="relu",
        kernel_initializer="identity",
        recurrent_initializer="zeros",
        dropout=0.5,
        return_sequences=True,
        use_cudnn=use_cudnn,
    )
    outputs = layer(torch.ones(200, 4, 6), training=True)
    assert set(outputs.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(outputs, outputs[:, :1].expand_as(outputs))
    assert 0.4 < (outputs == 0).float().mean() < 0.6


def test_recurrent_dropout_drops_the_same_states_at_all_steps() -> None:
    layer = layers.SimpleRNN(
        50,
        activation="linear",
        kernel_initializer="identity",
        recurrent_initializer="identity",
        recurrent_dropout=0.5,
        return_sequences=True,
    )
    outputs = layer(torch.ones(4, 3, 50), training=True)  # 1, 1 + m, 1 + m + m^2 with m 0 or 2
    assert {tuple(row) for row in outputs.transpose(1, 2).reshape(-1, 3).tolist()} == {
        (1.0, 1.0, 1.0),
        (1.0, 3.0, 7.0),
    }


# --- Keras 2 --------------------------------------------------------------------------------------


def test_input_length_and_input_dim_declare_the_input() -> None:
    model = torchseq.Sequential([layers.LSTM(3, input_length=7, input_dim=2), layers.Dense(1)])
    assert model.input_shape == (None, 7, 2)
    model = torchseq.Sequential([layers.LSTM(3, input_dim=2, implementation=1), layers.Dense(1)])
    assert model.input_shape == (None, None, 2)
    assert "input_length" not in model.layers[0].get_config()


# --- Errors ---------------------------------------------------------------------------------------


class NoStates:
    def call(self, inputs: Any, states: Any) -> Any:
        return inputs, states


CONSTRUCTION_ERRORS = [
    (lambda: layers.LSTM(0), "LSTM: `units` must be a positive integer; got units=0."),
    (lambda: layers.GRU(2.5), "GRU: `units` must be a positive integer; got units=2.5."),
    (lambda: layers.SimpleRNN(-1), "SimpleRNN: `units` must be a positive integer; got units"),
    (lambda: layers.LSTM(2, dropout=1.5), "LSTM: `dropout` must be in [0, 1]; got dropout=1.5"),
    (
        lambda: layers.GRU(2, recurrent_dropout=-1),
        "GRU: `recurrent_dropout` must be in [0, 1]; got recurrent_dropout=-1",
    ),
    (
        lambda: layers.LSTM(2, use_cudnn="yes"),
        "LSTM: `use_cudnn` must be one of ['auto', True, False]; got use_cudnn='yes'.",
    ),
    (
        lambda: layers.GRU(2, reset_after=False, use_cudnn=True),
        "GRU: `use_cudnn=True` must go with options that torch's fused kernel has; got "
        "activation=tanh, recurrent_activation=sigmoid, reset_after=False",
    ),
    (lambda: layers.LSTM(2, unit=3), "LSTM: unrecognized arguments ['unit']"),
    (lambda: layers.LSTMCell(0), "LSTMCell: `units` must be a positive integer; got units=0."),
    (lambda: layers.RNN(3), "RNN: a cell must have a `call` method and a `state_size`"),
    (lambda: layers.RNN(NoStates()), "without `state_size`"),
    (lambda: layers.StackedRNNCells([NoStates()]), "StackedRNNCells: a cell must have a `call`"),
]


@pytest.mark.parametrize(("make", "text"), CONSTRUCTION_ERRORS)
def test_wrong_arguments_raise_at_construction(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        make()


def test_a_state_size_of_a_wrong_type_raises() -> None:
    cell = NoStates()
    cell.state_size = "large"
    with pytest.raises(ValueError, match=re.escape("RNN: the cell's `state_size` must be an int")):
        layers.RNN(cell)


BUILD_ERRORS = [
    (lambda: layers.LSTM(2, name="a"), (None, 4), "Layer 'a' (LSTM): its input must have 3 axes"),
    (lambda: layers.LSTM(2, name="a"), (2, 0, 4), "Layer 'a' (LSTM): its input must have at least"),
    (lambda: layers.GRU(2), (None, 5, None), "(GRUCell): the input of one step must have 2 axes"),
    (
        lambda: layers.LSTM(2, stateful=True, name="a"),
        (None, 5, 4),
        "Layer 'a' (LSTM): with stateful=True the batch size must be known; got an input of shape "
        "(None, 5, 4).",
    ),
]


@pytest.mark.parametrize(("make", "shape", "text"), BUILD_ERRORS)
def test_wrong_shapes_raise_at_build(make: Callable[[], Any], shape: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        make().build(shape)


def test_wrong_states_and_masks_raise() -> None:
    layer = layers.LSTM(2, stateful=True, name="a")
    layer(torch.zeros(3, 5, 4))
    with pytest.raises(ValueError, match="'a' .LSTM.: a stateful layer must get batches of one si"):
        layer(torch.zeros(2, 5, 4))
    plain = layers.LSTM(2, name="b")
    with pytest.raises(ValueError, match="'b' .LSTM.: `initial_state` must have one entry per sta"):
        plain(torch.zeros(3, 5, 4), initial_state=[torch.zeros(3, 2)])
    with pytest.raises(ValueError, match="LSTM: `mask` must have shape .batch, time.; got shape"):
        plain(torch.zeros(3, 5, 4), mask=torch.ones(3, 5, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(3),
        lambda: layers.LSTM(3, recurrent_dropout=0.5, seed=1),
        lambda: layers.GRU(3, reset_after=False),
        lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]),
        lambda: layers.ConvLSTM1D(2, 2, data_format="channels_last"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_integers_are_taken_as_numbers(make: Callable[[], Any], training: bool) -> None:
    layer = make()
    shape = (2, 3, 4, 2) if isinstance(layer, layers.ConvLSTM1D) else (2, 3, 4)
    x = torch.randint(0, 5, shape, dtype=torch.uint8)
    ints, floats = layer, copy.deepcopy(layer)
    ints.build(shape)
    floats.build(shape)
    floats.set_weights(ints.get_weights())
    torch.testing.assert_close(ints(x, training=training), floats(x.float(), training=training))


def test_a_cell_that_looks_integers_up_gets_integers() -> None:
    class LookUp(layers.Layer):
        state_size = 2

        def build(self, input_shape: Any) -> None:
            self.table = layers.Embedding(5, 2)
            self.table.build(input_shape)

        def call(self, inputs: torch.Tensor, states: Any) -> Any:
            assert not inputs.is_floating_point()
            output = states[0] + self.table(inputs)
            return output, [output]

    assert layers.RNN(LookUp())(torch.tensor([[1, 2, 4]])).shape == (1, 2)


def test_a_list_of_cells_has_the_dtype_of_the_layer() -> None:
    cells = [layers.LSTMCell(3, dtype="float64"), layers.GRUCell(2, dtype="float64")]
    outputs = layers.RNN(cells, dtype="float64")(torch.randn(2, 3, 4))
    assert outputs.dtype is torch.float64
