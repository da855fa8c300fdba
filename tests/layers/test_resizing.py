"""Padding and cropping: errors and views; values are compared in tests/parity."""

from typing import Any

import numpy as np
import pytest
import torch

from torchseq import Input, Sequential, layers


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "argument"), [("ZeroPadding", "padding"), ("Cropping", "cropping")]
)
@pytest.mark.parametrize(
    "value", [-1, "1", 1.5, (1, -1), (1,), (1, 2, 3, 4), ((1, 2, 3),) * 3, None]
)
def test_wrong_amounts_are_refused(rank: int, kind: str, argument: str, value: Any) -> None:
    name = f"{kind}{rank}D"
    with pytest.raises(ValueError, match=f"{name}: `{argument}` must be .*; got {argument}=") as e:
        getattr(layers, name)(value)
    assert f"{argument}={value!r}" in str(e.value)


@pytest.mark.parametrize("kind", ["ZeroPadding", "Cropping"])
def test_wrong_layouts_and_inputs_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind}2D: `data_format` must be one of .*'last'"):
        getattr(layers, f"{kind}2D")(1, "last")
    with pytest.raises(ValueError, match=rf"'r' \({kind}2D\): its input must have 4 axes"):
        getattr(layers, f"{kind}2D")(1, name="r")(torch.ones(2, 3, 4))


def test_something_must_be_left() -> None:
    message = (
        r"'r' \(Cropping2D\): `cropping` must leave something of each axis; got "
        r"cropping=\(\(0, 0\), \(2, 3\)\) for a spatial axis 1 of size 5"
    )
    layer = layers.Cropping2D(((0, 0), (2, 3)), name="r")
    with pytest.raises(ValueError, match=message):
        Sequential([Input((6, 5, 1)), layer])
    with pytest.raises(ValueError, match=message):
        layers.Cropping2D(((0, 0), (2, 3)), name="r")(torch.ones(1, 6, 5, 1))
    assert layer.compute_output_shape((None, None, 6, 1)) == (None, None, 1, 1)


def test_cropping_is_a_view() -> None:
    x = torch.arange(12.0).reshape(1, 4, 3, 1)
    outputs = layers.Cropping2D(((1, 0), (0, 2)))(x)
    assert outputs.shape == (1, 3, 1, 1)
    assert outputs.data_ptr() == x[:, 1:].data_ptr()


def test_numpy_integers_are_integers() -> None:
    assert layers.ZeroPadding2D(np.int64(2)).padding == ((2, 2), (2, 2))
    assert layers.ZeroPadding1D((np.int32(2), 1)).padding == (2, 1)
