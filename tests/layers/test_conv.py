"""Convolutions: their errors and their memory; values are compared in tests/parity."""

from typing import Any

import pytest
import torch
from torch import nn

from torchseq import Input, Sequential, layers

NAMES = ["Conv1D", "Conv2D", "Conv3D"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "`filters` must be a positive integer; got filters=0"),
        ({"kernel_size": (3,) * 4}, r"`kernel_size` must be .* got kernel_size=\(3, 3, 3, 3\)"),
        ({"kernel_size": 0}, "`kernel_size` must be .* each at least 1; got kernel_size=0"),
        ({"strides": -1}, "`strides` must be .* each at least 1; got strides=-1"),
        ({"dilation_rate": 0}, "`dilation_rate` must be .* got dilation_rate=0"),
        ({"padding": "full"}, r"`padding` must be one of \['valid', 'same'.*got padding='full'"),
        ({"data_format": "first"}, "`data_format` must be one of .* got data_format='first'"),
        ({"groups": 0}, "`groups` must be a positive integer; got groups=0"),
        ({"groups": 3, "filters": 32}, "`groups` must divide `filters`; got groups=3, filters=32"),
        ({"strides": 2, "dilation_rate": 2}, r"cannot both be above 1; got strides=\(2"),
        ({"kernel": 3}, r"unrecognized arguments \['kernel'\]"),
    ],
)
def test_wrong_arguments_are_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        getattr(layers, name)(**{"filters": 4, "kernel_size": 3, **options})


@pytest.mark.parametrize("name", NAMES[1:])
def test_only_sequences_have_a_past(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: `padding` must be one of .* got .*'causal'"):
        getattr(layers, name)(4, 3, padding="causal")


def test_causal_outputs_see_no_later_steps() -> None:
    layer = layers.Conv1D(2, 3, padding="causal", dilation_rate=2)
    x = torch.rand(1, 9, 2)
    before = layer(x)
    x[:, 5:] = 7.0
    assert torch.equal(layer(x)[:, :5], before[:, :5])
    assert not torch.equal(layer(x)[:, 5:], before[:, 5:])


def test_same_padding_puts_the_extra_cell_at_the_end() -> None:
    layer = layers.Conv1D(1, 3, 2, "same", kernel_initializer="ones")
    assert layer(torch.arange(6.0).reshape(1, 6, 1)).flatten().tolist() == [3.0, 9.0, 9.0]


@pytest.mark.parametrize("name", ["Conv1D", "Conv1DTranspose", "Dense"])
def test_no_initializer_means_the_default_one(name: str) -> None:
    options = {} if name == "Dense" else {"kernel_size": 3}
    nothing = {"kernel_initializer": None, "bias_initializer": None}
    layer = getattr(layers, name)(4, **options, **nothing)
    layer.build((None, 8, 4))
    assert 0 < layer.kernel.value.abs().max() < 1
    assert 0 < layer.bias.value.abs().max() < 1  # of Keras's add_weight, whatever the weight
    assert layer.get_config()["kernel_initializer"] is None


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (None, 8, 3), r"'c' \(Conv2D\): its input must have 4 axes, .* shape \(None, 8, 3\)"),
        ({}, (None, 8, 8, None), "a known number of channels"),
        ({"groups": 2}, (None, 8, 8, 3), "number of input channels; got groups=2, 3 channels"),
        ({}, (None, 2, 8, 1), r"its kernel must fit into the input; got .* sizes \(0, 6\)"),
    ],
)
def test_wrong_inputs_are_refused(options: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Conv2D(4, 3, name="c", **options).build(shape)


def test_later_inputs_are_checked_too() -> None:
    layer = layers.Conv2D(4, 3, name="c")
    layer.build((None, None, None, 2))
    with pytest.raises(ValueError, match=r"must have 2 entries on axis -1; .* \(1, 8, 8, 3\)"):
        layer(torch.ones(1, 8, 8, 3))
    with pytest.raises(ValueError, match="its kernel must fit into the input"):
        layer(torch.ones(1, 2, 8, 2))
    assert layer(torch.ones(1, 5, 4, 2)).shape == (1, 3, 2, 4)


def test_the_layer_is_a_torch_convolution_over_views() -> None:
    layer = layers.Conv2D(4, 3, padding="same")
    x = torch.rand(2, 8, 8, 3)
    outputs = layer(x)
    assert isinstance(layer.convolution, nn.Conv2d)
    assert layer.convolution.padding == (1, 1)
    seen: list[torch.Tensor] = []
    layer.convolution.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    layer(x)
    assert seen[0].data_ptr() == x.data_ptr()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert outputs.is_contiguous()
    assert layer.kernel.value.data_ptr() == layer.convolution.weight.data_ptr()


def test_both_layouts_compile_and_export() -> None:
    for data_format in ("channels_last", "channels_first"):
        model = Sequential(
            [
                Input((9, 9, 9)),
                layers.Conv2D(4, 2, 2, padding="same", data_format=data_format),
                layers.MaxPooling2D(2, padding="same", data_format=data_format),
            ]
        )
        x = torch.rand(2, 9, 9, 9)
        expected = model(x)
        assert torch.equal(torch.compile(model, fullgraph=True, backend="eager")(x), expected)
        assert torch.equal(torch.export.export(model, (x,)).module()(x), expected)
