"""Flatten and Reshape: their errors and views; values are compared in tests/parity."""

from typing import Any

import numpy as np
import pytest
import torch

from torchseq import Input, Sequential, layers


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((-1, -1), r"at most one entry of `target_shape` may be -1; got target_shape=\(-1, -1\)"),
        ((2, -2), "each at least -1; got"),
        ((2.0,), r"must be a tuple of integers, each at least -1; got target_shape=\(2.0,\)"),
    ],
)
def test_wrong_target_shapes_are_refused(shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Reshape(shape)


@pytest.mark.parametrize("target", [(4, 2), (-1, 4)])
def test_shapes_that_do_not_fit_are_refused(target: Any) -> None:
    message = r"'r' \(Reshape\): `target_shape` must hold as many entries .* of shape \(3, 3\)"
    with pytest.raises(ValueError, match=message):
        Sequential([Input((3, 3)), layers.Reshape(target, name="r")])
    with pytest.raises(ValueError, match=message):
        layers.Reshape(target, name="r")(torch.ones(2, 3, 3))


def test_reshape_takes_one_size_and_numpy_integers() -> None:
    assert layers.Reshape(np.int64(6)).compute_output_shape((None, 2, 3)) == (None, 6)
    assert layers.Reshape((-1, 2)).compute_output_shape((None, None, 3)) == (None, None, 2)
    assert layers.Reshape((-1, 2))(torch.ones(0, 4)).shape == (0, 2, 2)


def test_both_are_views_where_memory_allows() -> None:
    x = torch.rand(2, 3, 4)
    assert layers.Flatten()(x).data_ptr() == x.data_ptr()
    assert layers.Reshape((4, 3))(x).data_ptr() == x.data_ptr()
    assert layers.Flatten(data_format="channels_first")(x).data_ptr() != x.data_ptr()


def test_flatten_refuses_unknown_layouts() -> None:
    with pytest.raises(ValueError, match="Flatten: `data_format` must be one of"):
        layers.Flatten("last")
