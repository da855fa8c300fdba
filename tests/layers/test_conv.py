"""Convolutions: their errors and their memory; values are compared in tests/parity."""

from typing import Any

import pytest
import torch
from torch import nn

from torchseq import Input, Sequential, layers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "Conv2D: `filters` must be a positive integer; got filters=0"),
        ({"kernel_size": (3,)}, r"`kernel_size` must be an integer or a tuple of 2 integers"),
        ({"kernel_size": 0}, "each at least 1; got kernel_size=0"),
        ({"strides": (1, 0)}, r"each at least 1; got strides=\(1, 0\)"),
        ({"padding": "full"}, r"`padding` must be one of \['valid', 'same'\]; got padding='full'"),
        ({"padding": "causal"}, "got padding='causal'"),
        ({"data_format": "first"}, "`data_format` must be one of .* got data_format='first'"),
        ({"groups": 3, "filters": 32}, "must divide `filters`; got groups=3, filters=32. Use a nu"),
        ({"strides": 2, "dilation_rate": 2}, r"cannot both be above 1; got strides=\(2, 2\)"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Conv2D(**{"filters": 4, "kernel_size": 3, **options})


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
