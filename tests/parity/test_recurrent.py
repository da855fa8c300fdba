"""Recurrent layers made of Keras's config, with Keras's weights, do as Keras's do."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import checks

Rng = np.random.Generator

NUM_DRAWS = 20
ACTIVATIONS = ("tanh", "tanh", "tanh", "relu", "sigmoid", "elu", "linear", None)
GATES = ("sigmoid", "sigmoid", "sigmoid", "hard_sigmoid", "tanh")
REGULARIZERS = (None, None, None, "l2", {"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.2}})
CONSTRAINTS = (None, None, None, "non_neg", {"class_name": "MaxNorm", "config": {"max_value": 1}})
MASKS = ("none", "right", "left", "random", "empty rows")


def one_of(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def flag(rng: Rng) -> bool:
    return bool(rng.integers(2))


def sizes(rng: Rng, low: int, high: int, count: int) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(low, high + 1, count))


def flow_options(rng: Rng) -> dict[str, Any]:
    names = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
    return {name: flag(rng) for name in names}


def weight_options(rng: Rng) -> dict[str, Any]:
    return {
        "activation": one_of(rng, ACTIVATIONS),
        "use_bias": bool(rng.integers(4)),
        "kernel_initializer": one_of(rng, ("glorot_uniform", "he_normal")),
        "recurrent_initializer": one_of(rng, ("orthogonal", "glorot_uniform")),
        "bias_initializer": one_of(rng, ("zeros", "random_normal")),
        "kernel_regularizer": one_of(rng, REGULARIZERS),
        "recurrent_regularizer": one_of(rng, REGULARIZERS),
        "bias_regularizer": one_of(rng, REGULARIZERS),
        "kernel_constraint": one_of(rng, CONSTRAINTS),
        "recurrent_constraint": one_of(rng, CONSTRAINTS),
        "bias_constraint": one_of(rng, CONSTRAINTS),
    }


def draw_simple_rnn(rng: Rng) -> Any:
    units = int(rng.integers(1, 6))
    options = {**weight_options(rng), **flow_options(rng)}
    options["trainable"] = bool(rng.integers(4))
    return keras.layers.SimpleRNN(units, **options)


def draw_lstm(rng: Rng) -> Any:
    options = {**weight_options(rng), **flow_options(rng)}
    options["recurrent_activation"] = one_of(rng, GATES)
    options["unit_forget_bias"] = flag(rng)
    options["activity_regularizer"] = one_of(rng, REGULARIZERS)
    options["trainable"] = bool(rng.integers(4))
    return keras.layers.LSTM(int(rng.integers(1, 6)), **options)


def draw_gru(rng: Rng) -> Any:
    options = {**weight_options(rng), **flow_options(rng)}
    options["recurrent_activation"] = one_of(rng, GATES)
    options["reset_after"] = bool(rng.integers(4))
    options["activity_regularizer"] = one_of(rng, REGULARIZERS)
    options["trainable"] = bool(rng.integers(4))
    return keras.layers.GRU(int(rng.integers(1, 6)), **options)


def draw_cell(rng: Rng) -> Any:
    name = one_of(rng, ("SimpleRNNCell", "LSTMCell", "GRUCell"))
    options = weight_options(rng)
    if name == "GRUCell":
        options["reset_after"] = flag(rng)
    return getattr(keras.layers, name)(int(rng.integers(1, 6)), **options)


def draw_rnn(rng: Rng) -> Any:
    cells = [draw_cell(rng) for _ in range(int(rng.integers(1, 4)))]
    return keras.layers.RNN(cells[0] if len(cells) == 1 else cells, **flow_options(rng))


def draw_bidirectional(rng: Rng) -> Any:
    layer = one_of(rng, (draw_simple_rnn, draw_lstm, draw_gru, draw_rnn))(rng)
    layer.go_backwards = False
    layer.activity_regularizer = None
    backward = None
    if not rng.integers(4):
        config = {**layer.get_config(), "go_backwards": True, "name": "back"}
        backward = type(layer).from_config(config)
    merge_mode = one_of(rng, ("concat", "sum", "mul", "ave", None))
    return keras.layers.Bidirectional(layer, merge_mode=merge_mode, backward_layer=backward)


def draw_time_distributed(rng: Rng) -> Any:
    name = one_of(rng, ("Dense", "Dropout", "Sequential", "Activation"))
    if name == "Dense":
        layer = keras.layers.Dense(
            int(rng.integers(1, 6)), activation=one_of(rng, ACTIVATIONS), use_bias=flag(rng)
        )
    elif name == "Sequential":
        layer = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
    elif name == "Dropout":
        layer = keras.layers.Dropout(0.0)
    else:
        layer = keras.layers.Activation("tanh")
    return keras.layers.TimeDistributed(layer, trainable=bool(rng.integers(4)))


def draw_conv_lstm(rank: int) -> Callable[[Rng], Any]:
    def draw(rng: Rng) -> Any:
        options = {**weight_options(rng), **flow_options(rng)}
        options["filters"] = int(rng.integers(1, 4))
        options["kernel_size"] = one_of(rng, (int(rng.integers(1, 4)), sizes(rng, 1, 3, rank)))
        options["strides"] = one_of(rng, (1, 1, 2, sizes(rng, 1, 2, rank)))
        options["padding"] = one_of(rng, ("valid", "same"))
        options["data_format"] = one_of(rng, ("channels_last", "channels_first", None))
        options["recurrent_activation"] = one_of(rng, GATES)
        options["unit_forget_bias"] = flag(rng)
        if options["strides"] == 1:
            options["dilation_rate"] = one_of(rng, (1, 2))
        return getattr(keras.layers, f"ConvLSTM{rank}D")(**options)

    return draw


DRAWS: dict[str, Callable[[Rng], Any]] = {
    "SimpleRNN": draw_simple_rnn,
    "LSTM": draw_lstm,
    "GRU": draw_gru,
    "RNN": draw_rnn,
    "Bidirectional": draw_bidirectional,
    "TimeDistributed": draw_time_distributed,
    "ConvLSTM1D": draw_conv_lstm(1),
    "ConvLSTM2D": draw_conv_lstm(2),
    "ConvLSTM3D": draw_conv_lstm(3),
}
CASES = pytest.mark.parametrize("name", DRAWS)


def draw_input(name: str, layer: Any, rng: Rng) -> np.ndarray:
    batch, time, features = sizes(rng, 1, 6, 3)
    shape = (batch, time, features)
    if name.startswith("ConvLSTM"):
        spatial = sizes(rng, 5, 6, int(name[-2]))
        batch, time, channels = sizes(rng, 1, 3, 3)
        is_first = layer.data_format == "channels_first"
        step = (channels, *spatial) if is_first else (*spatial, channels)
        shape = (batch, time, *step)
    return rng.normal(size=shape).astype("float32")


def draw_mask(rng: Rng, batch: int, time: int) -> np.ndarray | None:
    kind = one_of(rng, MASKS)
    lengths = rng.integers(1, time + 1, (batch, 1))
    steps = np.arange(time)
    if kind == "none":
        return None
    if kind == "right":
        return steps < lengths
    if kind == "left":
        return steps >= time - lengths
    mask = rng.integers(0, 2, (batch, time)).astype(bool)
    if kind == "empty rows":
        mask[int(rng.integers(batch))] = False
    return mask


def flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, list | tuple):
        return [leaf for entry in outputs for leaf in flat(entry)]
    return [outputs]


def run(layer: Any, x: np.ndarray, mask: np.ndarray | None, **options: Any) -> list[Any]:
    """Outputs and states, then the losses, then gradients of a fixed function of all of them."""
    inputs = torch.tensor(x, requires_grad=True)
    if mask is not None:
        options["mask"] = torch.tensor(mask)
    outputs = flat(layer(inputs, **options))
    total = sum(layer.losses) + sum(
        torch.sum(output * torch.linspace(-1.0, 1.0, output.numel()).reshape(output.shape))
        / output.numel() ** 0.5  # so that a gradient's rounding does not grow with the output
        for output in outputs
    )
    if not total.requires_grad:
        return outputs
    total.backward()
    gradients = [checks.gradient_of(weight) for weight in layer.trainable_weights]
    return [*outputs, *layer.losses, inputs.grad, *gradients]


def assert_all_close(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        checks.assert_close(one, other)


def draw_pair(name: str, rng: Rng) -> tuple[Any, Any, np.ndarray]:
    """Keras's layer of a random configuration, ours with its weights, and an input.

    The config is taken before the layer is built: a built cell's config builds the copy's cell on
    its own, in Keras as well, and its weights' paths then begin with the cell.
    """
    theirs = DRAWS[name](rng)
    config = checks.as_json(theirs.get_config())
    ours = getattr(torchseq.layers, name).from_config(config)
    x = draw_input(name, theirs, rng)
    theirs.build(x.shape)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    return theirs, ours, x


@CASES
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_outputs_states_losses_and_gradients_equal_keras(name: str, draw: int, rng: Rng) -> None:
    theirs, ours, x = draw_pair(name, rng)
    mask = draw_mask(rng, *x.shape[:2])
    training = name != "TimeDistributed" and flag(rng)
    expected = run(theirs, x, mask, training=training)
    assert_all_close(run(ours, x, mask, training=training), expected)


@CASES
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_weights_shapes_and_configs_equal_keras(name: str, draw: int, rng: Rng) -> None:
    theirs, ours, x = draw_pair(name, rng)
    checks.assert_same_weights(ours, theirs)
    for shape in (x.shape, (None, None, *x.shape[2:])):
        expected = checks.as_json(theirs.compute_output_shape(shape))
        assert checks.as_json(ours.compute_output_shape(shape)) == expected
    shapes = [tuple(output.shape) for output in flat(ours(x))]
    assert shapes == [tuple(output.shape) for output in flat(theirs(x))]
    assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())
    assert checks.as_json(ours.get_build_config()) == checks.as_json(theirs.get_build_config())
    again = type(ours).from_config(checks.as_json(ours.get_config()))
    again_theirs = type(theirs).from_config(checks.as_json(theirs.get_config()))
    assert checks.as_json(again.get_config()) == checks.as_json(again_theirs.get_config())


@CASES
@pytest.mark.parametrize("draw", range(NUM_DRAWS))
def test_weights_after_one_sgd_step_equal_keras(name: str, draw: int, rng: Rng) -> None:
    theirs = with_one_output(DRAWS[name](rng))
    x = draw_input(name, theirs, rng)
    model = keras.Sequential([keras.Input(batch_shape=x.shape), theirs])
    model.add(keras.layers.Dense(2))  # so that there always is something to train
    ours = checks.twin_of(model)
    y = rng.normal(size=model.output_shape).astype("float32")
    for each, library in ((model, keras), (ours, torchseq)):
        each.compile(optimizer=library.optimizers.SGD(0.01), loss="mse")
    expected = model.train_on_batch(x, y)
    np.testing.assert_allclose(ours.train_on_batch(x, y), expected, checks.RELATIVE)
    assert_all_close(ours.get_weights(), model.get_weights())


def with_one_output(layer: Any) -> Any:
    """A Sequential wants a layer that returns one tensor."""
    if isinstance(layer, keras.layers.Bidirectional):
        layer.forward_layer.return_state = layer.backward_layer.return_state = False
        layer.merge_mode = layer.merge_mode or "concat"
    layer.return_state = False
    return layer


# --- Single cases ---------------------------------------------------------------------------------


def fit_both(make: Callable[[Any], list[Any]], shape: tuple[int, ...], optimizer: Any) -> None:
    """30 steps from the same weights on the same data; weights and losses end up equal."""
    model = keras.Sequential([keras.Input(batch_shape=shape), *make(keras.layers)])
    ours = checks.twin_of(model)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, *shape)).astype("float32")
    y = rng.normal(size=(5, *model.output_shape)).astype("float32")
    for each, library in ((model, keras), (ours, torchseq)):
        each.compile(optimizer=optimizer(library.optimizers), loss="mse")
    for step in range(30):
        batch = x[step % 5], y[step % 5]
        expected = model.train_on_batch(*batch)
        np.testing.assert_allclose(ours.train_on_batch(*batch), expected, 1e-3)
    for one, other in zip(ours.get_weights(), model.get_weights(), strict=True):
        checks.assert_close(one, other, 1e-3, 1e-4)


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_weights_after_30_adam_steps_equal_keras(name: str) -> None:
    fit_both(
        lambda layers: [
            layers.Bidirectional(getattr(layers, name)(4, return_sequences=True)),
            getattr(layers, name)(3, bias_constraint="max_norm", kernel_regularizer="l2"),
        ],
        (4, 5, 3),
        lambda optimizers: optimizers.Adam(0.01, clipnorm=0.5),
    )


def test_statistics_of_distributed_batch_normalization_equal_keras() -> None:
    fit_both(
        lambda layers: [layers.TimeDistributed(layers.BatchNormalization()), layers.LSTM(2)],
        (4, 5, 3),
        lambda optimizers: optimizers.SGD(0.01),
    )


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU", "ConvLSTM1D"])
def test_stateful_layers_equal_keras(name: str, rng: Rng) -> None:
    size = (3, 2) if name == "ConvLSTM1D" else (3,)
    theirs = getattr(keras.layers, name)(*size, stateful=True, return_sequences=True)
    x = rng.normal(size=(2, 3, 5, 2) if name == "ConvLSTM1D" else (2, 3, 4)).astype("float32")
    theirs(x)
    theirs.reset_state()
    ours = checks.twin_of(theirs, x.shape)
    for _ in range(3):
        assert_all_close([ours(x)], [theirs(x)])
    assert_all_close([s.numpy() for s in ours.states], [s.numpy() for s in theirs.states])
    assert len(ours.weights) == len(theirs.weights)


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_first_states_equal_keras(name: str, is_masked: bool, rng: Rng) -> None:
    x = rng.normal(size=(4, 6, 3)).astype("float32")
    mask = rng.integers(0, 2, (4, 6)).astype(bool)
    mask[0] = False
    count = 2 if name == "LSTM" else 1
    states = [rng.normal(size=(4, 5)).astype("float32") for _ in range(2 * count)]
    for direction in (False, True):
        layer = getattr(keras.layers, name)(5, return_state=True, return_sequences=True)
        theirs = keras.layers.Bidirectional(layer) if direction else layer
        given = states if direction else states[:count]
        theirs.build(x.shape)
        ours = checks.twin_of(theirs, x.shape)
        options = {"mask": torch.tensor(mask)} if is_masked else {}
        tensors = [torch.tensor(state) for state in given]
        expected = theirs(x, initial_state=tensors, **options)
        assert_all_close(flat(ours(x, initial_state=tensors, **options)), flat(expected))


@CASES
@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16", "mixed_float16"])
def test_dtype_policies_equal_keras(name: str, policy: str, rng: Rng) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        theirs = DRAWS[name](rng)
        if name == "TimeDistributed":  # Keras gives a Sequential in it float32 whatever the policy
            theirs = keras.layers.TimeDistributed(keras.layers.Dense(2))
        config = checks.as_json(theirs.get_config())
        x = draw_input(name, theirs, rng)
        expected = flat(theirs(x))
    finally:
        keras.config.set_dtype_policy("float32")
    ours = getattr(torchseq.layers, name).from_config(config)
    ours.build(x.shape)
    ours.set_weights([weight.numpy() for weight in map(as_array, theirs.weights)])
    assert [w.dtype for w in ours.weights] == [w.dtype for w in theirs.weights]
    tolerance = 1e-6 if policy == "float64" else 0.1
    for one, other in zip(flat(ours(x)), expected, strict=True):
        assert one.dtype == other.dtype
        checks.assert_close(one, other, tolerance, tolerance)
    assert checks.as_json(ours.get_config()) == checks.as_json(theirs.get_config())


def as_array(weight: Any) -> torch.Tensor:
    value = weight.value.detach()
    return value.float() if value.dtype == torch.bfloat16 else value


def test_the_same_seed_gives_the_same_first_weights() -> None:
    def weights_of(library: Any) -> list[np.ndarray]:
        library.utils.set_random_seed(7)
        layers = library.layers
        model = library.Sequential(
            [
                library.Input((4, 6, 3)),
                layers.ConvLSTM1D(4, 2, return_sequences=True),
                layers.TimeDistributed(layers.Flatten()),
                layers.SimpleRNN(4, return_sequences=True),
                layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
                layers.GRU(4, return_sequences=True, bias_initializer="random_normal"),
                layers.RNN([layers.LSTMCell(4), layers.GRUCell(3, reset_after=False)]),
                layers.Dense(3),
            ]
        )
        return model.get_weights()

    for ours, theirs in zip(weights_of(torchseq), weights_of(keras), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-7)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_keras_files_load(suffix: str, tmp_path: Any, rng: Rng) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)], return_sequences=True),
            layers.GRU(4, reset_after=False, return_sequences=True),
            layers.TimeDistributed(layers.Dense(2)),
            layers.SimpleRNN(3),
        ]
    )
    ours = checks.twin_of(model)
    ours.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    path = str(tmp_path / f"model{suffix}")
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    if suffix == ".weights.h5":
        model.save_weights(path)
        ours.load_weights(path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras calls .h5 old
            model.save(path)
        ours = torchseq.saving.load_model(path)
    checks.assert_close(ours(x), model(x))


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_masks_that_layers_make_travel_through_the_stack(name: str, rng: Rng) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(5, 3, mask_zero=True),
            layers.TimeDistributed(layers.Dense(3)),
            layers.Bidirectional(getattr(layers, name)(4, return_sequences=True)),
            getattr(layers, name)(3, go_backwards=True),
        ]
    )
    ours = checks.twin_of(model)
    x = rng.integers(0, 3, (4, 6)).astype("int32")
    x[0] = 0
    checks.assert_close(ours(x), model(x))
    dense = keras.Sequential(
        [keras.Input((6, 2)), layers.Masking(), getattr(layers, name)(4, return_sequences=True)]
    )
    x = rng.normal(size=(4, 6, 2)).astype("float32") * rng.integers(0, 2, (4, 6, 1))
    checks.assert_close(checks.twin_of(dense)(x), dense(x.astype("float32")))
