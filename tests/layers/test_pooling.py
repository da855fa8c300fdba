"""Pooling: its errors; values are compared in tests/parity."""

from typing import Any

import pytest
import torch

from torchseq import layers

NAMES = [f"{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_size": 0}, "`pool_size` must be an integer or a tuple .* got pool_size=0"),
        ({"strides": (1, 2, 3, 4)}, r"`strides` must be .* got strides=\(1, 2, 3, 4\)"),
        ({"strides": 0}, "`strides` must be .* each at least 1; got strides=0"),
        ({"padding": "full"}, "`padding` must be one of .* got padding='full'"),
        ({"data_format": "last"}, "`data_format` must be one of .* got data_format='last'"),
    ],
)
def test_wrong_arguments_are_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        getattr(layers, name)(**{"pool_size": 2, **options})


@pytest.mark.parametrize("name", NAMES)
def test_wrong_inputs_are_refused(name: str) -> None:
    layer = getattr(layers, name)(3, name="p")
    sizes = (4,) * layer.rank
    with pytest.raises(ValueError, match=rf"'p' \({name}\): its input must have {layer.rank + 2}"):
        layer(torch.ones(2, *sizes))
    with pytest.raises(ValueError, match=f"{name}: its window must fit into the input; "):
        layer(torch.ones(1, *sizes[1:], 2, 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_same_padding_copies_nothing(name: str, strides: int) -> None:
    layer = getattr(layers, name)(2, strides, "same")
    x = torch.rand(1, *(5,) * layer.rank, 2)
    with torch.profiler.profile() as profile:
        layer(x)
    assert not {"aten::constant_pad_nd", "aten::pad"} & {event.key for event in profile.events()}


def test_means_count_the_cells_that_exist() -> None:
    layer = layers.AveragePooling1D(2, 1, "same")
    assert layer(torch.tensor([[[2.0], [4.0], [9.0]]])).flatten().tolist() == [3.0, 6.5, 9.0]


@pytest.mark.parametrize("name", NAMES)
def test_integers_have_floating_means_and_integer_maxima(name: str) -> None:
    outputs = getattr(layers, name)(2)(torch.ones([2] * (int(name[-2]) + 2), dtype=torch.int32))
    assert outputs.dtype == (torch.int32 if "Max" in name else torch.float32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_integers_are_padded_with_their_lowest(dtype: torch.dtype) -> None:
    x = torch.arange(9, dtype=dtype).reshape(1, 3, 3, 1)
    if dtype is not torch.uint8:
        x = x - 20
    outputs = layers.MaxPooling2D(2, padding="same")(x)
    assert torch.equal(outputs, x[:, [1, 2]][:, :, [1, 2]])
    assert outputs.dtype == dtype
