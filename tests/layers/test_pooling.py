"""Pooling: its errors; values are compared in tests/parity."""

from typing import Any

import pytest
import torch

from torchseq import layers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_size": 0}, "MaxPooling2D: `pool_size` must be an integer or a tuple of 2 integers"),
        ({"strides": (1, 2, 3)}, r"`strides` must be .* got strides=\(1, 2, 3\)"),
        ({"padding": "full"}, "`padding` must be one of"),
        ({"data_format": "last"}, "`data_format` must be one of"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.MaxPooling2D(**options)


def test_wrong_inputs_are_refused() -> None:
    layer = layers.MaxPooling2D(3, name="p")
    with pytest.raises(ValueError, match=r"'p' \(MaxPooling2D\): its input must have 4 axes"):
        layer(torch.ones(2, 4, 4))
    with pytest.raises(ValueError, match=r"its window must fit into the input; .* \(1, 2, 4, 1\)"):
        layer(torch.ones(1, 2, 4, 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_integers_are_padded_with_their_lowest(dtype: torch.dtype) -> None:
    x = torch.arange(9, dtype=dtype).reshape(1, 3, 3, 1)
    if dtype is not torch.uint8:
        x = x - 20
    outputs = layers.MaxPooling2D(2, padding="same")(x)
    assert torch.equal(outputs, x[:, [1, 2]][:, :, [1, 2]])
    assert outputs.dtype == dtype
