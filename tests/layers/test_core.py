"""Input, Dense, Identity, Lambda and wrapped modules: their errors and what is theirs alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchseq import Input, Sequential, layers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of `shape` and `batch_shape` must be given; got shape=None, batch_s"),
        ({"shape": (2,), "batch_shape": (None, 2)}, "exactly one of `shape` and `batch_shape`"),
        ({"batch_shape": (None, 2), "batch_size": 3}, "`batch_size` goes with `shape`, not with"),
        ({"shape": (2.5,)}, r"must be None or an integer of at least 0; got \(None, 2.5\)"),
        ({"shape": (-1,)}, r"must be None or an integer of at least 0; got \(None, -1\)"),
        ({"shape": (2,), "dtype": "float31"}, "dtype: must be one of .* got 'float31'"),
        ({"shape": (2,), "sparse": True}, "sparse and ragged inputs are not offered; got sparse=T"),
    ],
)
def test_wrong_inputs_are_refused(options: Any, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        Input(**options)


def test_inputs_take_numpy_integers_and_a_single_size() -> None:
    assert Input((np.int64(3), None), batch_size=np.int32(2)).shape == (2, 3, None)
    assert Input(5).shape == (None, 5)
    assert Input(()).shape == (None,)
    assert Input(tensor=Input((4,), dtype="int32")).dtype == "int32"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "Dense: `units` must be a positive integer; got units=0"),
        ({"units": 2.0}, "Dense: `units` must be a positive integer; got units=2.0"),
        ({"units": True}, "Dense: `units` must be a positive integer; got units=True"),
        ({"units": 2, "activation": "rleu"}, "'rleu' is not a known name. Nearest: .*'relu'"),
        ({"units": 2, "kernel_initializer": "glorot"}, "'glorot' is not a known name"),
        ({"units": 2, "kernel_regularizer": "l3"}, "'l3' is not a known name"),
        ({"units": 2, "lora_rank": 4}, "Dense: LoRA and quantization are not offered"),
    ],
)
def test_wrong_arguments_of_dense_are_refused(options: Any, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        layers.Dense(**options)


def test_dense_needs_a_known_last_size() -> None:
    for shape in ((3,), (2, None)):
        with pytest.raises(
            ValueError, match=r"'d' \(Dense\): axis -1 of the input must have a kno"
        ):
            layers.Dense(2, name="d").build(shape)


def test_dense_takes_numpy_integers_and_wraps_a_linear() -> None:
    layer = layers.Dense(np.int64(3))
    layer.build((None, 2))
    assert isinstance(layer.linear, nn.Linear)
    assert type(layer.get_config()["units"]) is int
    assert layer.kernel.value.data_ptr() == layer.linear.weight.data_ptr()
    with torch.no_grad():
        layer.linear.weight[0, 1] = 7.0
    assert layer.get_weights()[0][1, 0] == 7.0


def test_weights_pruned_or_normed_by_torch_are_still_weights() -> None:
    layer = layers.Dense(3)
    layer.build((None, 2))
    expected = layer(torch.ones(1, 2))
    nn.utils.parametrizations.weight_norm(layer.linear)
    torch.testing.assert_close(layer(torch.ones(1, 2)), expected)
    assert layer.kernel.shape == (2, 3)


def test_initialization_does_not_draw_from_torch() -> None:
    state = torch.get_rng_state()
    layers.Dense(3).build((None, 2))
    layers.Conv2D(3, 2).build((None, 4, 4, 1))
    assert torch.equal(state, torch.get_rng_state())


def test_identity_returns_its_input() -> None:
    x = torch.ones(2, 3)
    assert layers.Identity()(x) is x


def scaled(x: torch.Tensor, by: float = 2.0) -> torch.Tensor:
    return x * by


def test_lambda_layers_have_shapes_arguments_and_configs_without_code() -> None:
    layer = layers.Lambda(scaled, arguments={"by": 3.0}, name="scaled")
    model = Sequential([Input((4,)), layer, layers.Lambda(lambda x: x[:, :2])])
    assert model.output_shape == (None, 2)
    assert torch.equal(model(torch.ones(1, 4)), torch.full((1, 2), 3.0))
    again = layers.Lambda.from_config(layer.get_config(), custom_objects={"scaled": scaled})
    assert torch.equal(again(torch.ones(1)), torch.full((1,), 3.0))
    with pytest.raises(ValueError, match="a lambda cannot be saved"):
        model.layers[1].get_config()
    with pytest.raises(TypeError, match="Lambda: `function` must be callable; got 3"):
        layers.Lambda(3)  # type: ignore[arg-type]
    assert layers.Lambda(scaled, output_shape=(9,)).compute_output_shape((None, 4)) == (None, 9)


def test_wrapped_modules_have_no_config_and_say_so() -> None:
    layer = layers.TorchModuleWrapper(nn.Linear(2, 3), name="wrapped")
    with pytest.raises(
        NotImplementedError, match="'wrapped' .*: a plain torch module has no config"
    ):
        layer.get_config()
    with pytest.raises(TypeError, match=r"must be an instance of torch.nn.Module; got <class"):
        layers.TorchModuleWrapper(nn.Linear)  # type: ignore[arg-type]
    assert not any(
        parameter.requires_grad
        for parameter in layers.TorchModuleWrapper(nn.Linear(2, 3), trainable=False).parameters()
    )
    assert layers.TorchModuleWrapper(nn.Linear(2, 3), output_shape=(3,)).compute_output_shape(
        (None, 2)
    ) == (None, 3)


def test_a_frozen_wrapper_of_a_lazy_module_is_frozen_once_it_is_made() -> None:
    layer = layers.TorchModuleWrapper(nn.LazyLinear(3), trainable=False)
    layer(torch.ones(2, 4))
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert len(layer.non_trainable_weights) == 2


def test_lists_reach_a_torch_module_in_the_dtype_of_the_layer() -> None:
    layer = layers.TorchModuleWrapper(nn.Linear(2, 3))
    x = [[0.5, 1.0], [2.0, 3.0]]
    torch.testing.assert_close(layer(x), layer(torch.tensor(x)))


def test_floats_reach_a_torch_module_in_the_layers_dtype() -> None:
    x = [[0.5, 1.0], [2.0, 3.0]]
    module = nn.Linear(2, 3)
    layer = layers.TorchModuleWrapper(module)
    expected = module(torch.tensor(x))
    torch.testing.assert_close(layer(np.asarray(x, "float64")), expected)
    torch.testing.assert_close(layer(torch.tensor(x).double()), expected)
    as_it_comes = layers.TorchModuleWrapper(nn.Identity(), autocast=False)
    assert as_it_comes(torch.tensor(x).double()).dtype is torch.float64
    words = layers.TorchModuleWrapper(nn.Embedding(4, 2))
    assert words(np.array([[1, 3]])).shape == (1, 2, 2)
