"""Transposed convolutions: their errors and memory; values are compared in tests/parity."""

from typing import Any

import pytest
import torch
from torch import nn

from torchseq import layers

NAMES = ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": -1}, "`filters` must be a positive integer; got filters=-1"),
        ({"kernel_size": 0}, "`kernel_size` must be .* each at least 1; got kernel_size=0"),
        ({"kernel_size": (2,) * 4}, r"`kernel_size` must be .* got kernel_size=\(2, 2, 2, 2\)"),
        ({"strides": 0}, "`strides` must be .* got strides=0"),
        ({"padding": "causal"}, r"`padding` must be one of \['valid', 'same'\]; got .*'causal'"),
        ({"data_format": "first"}, "`data_format` must be one of .* got data_format='first'"),
        ({"output_padding": -1}, "`output_padding` must be .* at least 0; got output_padding=-1"),
        ({"output_padding": 1}, r"must be below `strides` .* got output_padding=1, strides=\(1"),
        ({"strides": 2, "dilation_rate": 2}, r"cannot both be above 1; got strides=\(2"),
        ({"groups": 2}, r"unrecognized arguments \['groups'\]"),
    ],
)
def test_wrong_arguments_are_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        getattr(layers, name)(**{"filters": 4, "kernel_size": 3, **options})


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'c' \(Conv1DTranspose\): its input must have 3 axes"):
        layers.Conv1DTranspose(4, 3, name="c").build((None, 8, 8, 3))
    with pytest.raises(ValueError, match="a known number of channels"):
        layers.Conv1DTranspose(4, 3).build((None, 8, None))
    layer = layers.Conv1DTranspose(4, 2, padding="same", output_padding=0)
    with pytest.raises(ValueError, match=r"Conv1DTranspose: .* \(1, 1, 2\), .* sizes \(0,\)"):
        layer.build((1, 1, 2))


@pytest.mark.parametrize(
    ("padding", "output_padding", "size"),
    [("valid", None, 13), ("valid", 1, 14), ("same", None, 12), ("same", 0, 11), ("same", 1, 12)],
)
def test_output_sizes_follow_the_rule(padding: str, output_padding: Any, size: int) -> None:
    layer = layers.Conv1DTranspose(4, 3, 2, padding, output_padding)
    assert layer(torch.zeros(1, 6, 2)).shape == (1, size, 4)
    assert layer.compute_output_shape((None, 6, 2)) == (None, size, 4)


def test_the_layer_is_a_torch_convolution_that_sees_the_input_itself() -> None:
    layer = layers.Conv2DTranspose(4, 3, 2, padding="same")
    x = torch.rand(2, 8, 8, 3)
    seen: list[torch.Tensor] = []
    layer.build(x.shape)
    layer.convolution.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    layer(x)
    assert isinstance(layer.convolution, nn.ConvTranspose2d)
    assert seen[0].data_ptr() == x.data_ptr()
    assert layer.kernel.shape == (3, 3, 4, 3)
    assert layer.kernel.value.data_ptr() == layer.convolution.weight.data_ptr()
