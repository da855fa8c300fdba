"""Layers that reshape: their errors and views; values are compared in tests/parity."""

import json
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


@pytest.mark.parametrize("dims", [(0, 1), (1, 3), (1, 1), (2,), (-1, 1)])
def test_permute_refuses_what_is_no_order_of_axes(dims: Any) -> None:
    with pytest.raises(
        ValueError, match="Permute: `dims` must hold each number from 1 .* got dims"
    ):
        layers.Permute(dims)


def test_permute_refuses_other_ranks() -> None:
    with pytest.raises(ValueError, match=r"'p' \(Permute\): its input must have 3 axes"):
        layers.Permute((2, 1), name="p")(torch.ones(2, 3))


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "`n` must be a positive integer; got n=0"),
        (2.0, TypeError, "`n` must be an integer; got n=2.0"),
        (True, TypeError, "`n` must be an integer; got n=True"),
    ],
)
def test_repeat_vector_refuses_what_is_no_count(
    n: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"RepeatVector: {message}"):
        layers.RepeatVector(n)
    with pytest.raises(ValueError, match=r"'r' \(RepeatVector\): its input must have 2 axes"):
        layers.RepeatVector(np.int64(2), name="r")(torch.ones(2, 3, 4))


def test_permute_and_repeat_vector_are_views() -> None:
    x = torch.rand(2, 3, 4)
    assert layers.Permute((2, 1))(x).data_ptr() == x.data_ptr()
    assert layers.RepeatVector(3)(x[0]).data_ptr() == x.data_ptr()


def test_shapes_may_be_numpy_arrays_and_are_kept_as_integers() -> None:
    reshape, permute = layers.Reshape(np.array([3, 2])), layers.Permute(np.array([2, 1]))
    assert reshape(torch.ones(1, 2, 3)).shape == permute(torch.ones(1, 2, 3)).shape == (1, 3, 2)
    assert json.dumps([reshape.get_config(), permute.get_config()])
