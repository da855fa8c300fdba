"""Depthwise and separable convolutions: errors and memory; tests/parity compares values."""

from typing import Any

import pytest
import torch
from torch import nn

from torchseq import layers

OPTIONS: dict[str, Any] = {
    "DepthwiseConv1D": {},
    "DepthwiseConv2D": {},
    "SeparableConv1D": {"filters": 4},
    "SeparableConv2D": {"filters": 4},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "`kernel_size` must be .* each at least 1; got kernel_size=0"),
        ({"strides": "2"}, "`strides` must be .* got strides='2'"),
        ({"padding": "causal"}, r"`padding` must be one of \['valid', 'same'\]; got .*'causal'"),
        ({"data_format": "first"}, "`data_format` must be one of .* got data_format='first'"),
        ({"depth_multiplier": 0}, "`depth_multiplier` must be a positive integer; got .*=0"),
        ({"kernel_initializer": "zeros"}, r"unrecognized arguments \['kernel_initializer'\]"),
    ],
)
def test_wrong_arguments_are_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        getattr(layers, name)(**{"kernel_size": 3, **OPTIONS[name], **options})


@pytest.mark.parametrize("name", ["SeparableConv1D", "SeparableConv2D"])
def test_filters_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: `filters` must be a positive integer; got f"):
        getattr(layers, name)(0, 3)


@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_inputs_are_refused(name: str) -> None:
    layer = getattr(layers, name)(**OPTIONS[name], kernel_size=3, name="c")
    spatial = (8,) * layer.rank
    with pytest.raises(ValueError, match=rf"'c' \({name}\): its input must have {layer.rank + 2}"):
        layer.build((None, *spatial, 8, 8))
    with pytest.raises(ValueError, match="a known number of channels"):
        layer.build((None, *spatial, None))
    with pytest.raises(ValueError, match=f"{name}: its kernel must fit into the input"):
        layer.build((None, *spatial[1:], 2, 3))
    layer.build((None, *spatial, 3))
    with pytest.raises(ValueError, match="must have 3 entries on axis -1"):
        layer(torch.zeros(1, *spatial, 4))


def test_the_depthwise_kernel_is_a_view_of_torchs() -> None:
    layer = layers.SeparableConv2D(4, 3, depth_multiplier=2)
    layer(torch.rand(2, 8, 8, 3))
    assert isinstance(layer.depthwise, nn.Conv2d)
    assert (layer.depthwise.groups, layer.depthwise.bias) == (3, None)
    assert layer.depthwise_kernel.shape == (3, 3, 3, 2)
    assert layer.depthwise_kernel.value.data_ptr() == layer.depthwise.weight.data_ptr()
    assert layer.pointwise_kernel.shape == (1, 1, 6, 4)


def test_each_channel_keeps_to_itself() -> None:
    layer = layers.DepthwiseConv1D(1, depth_multiplier=2, depthwise_initializer="ones")
    outputs = layer(torch.tensor([[[1.0, 10.0]]]))
    assert outputs.tolist() == [[[1.0, 1.0, 10.0, 10.0]]]
