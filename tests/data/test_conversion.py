"""Whatever users pass as data becomes the right tensor, or a clear error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchseq.base import settings
from torchseq.base.variable import Variable
from torchseq.data.conversion import to_tensor

Array = np.ndarray[Any, Any]


def converted(value: Any) -> Array:
    tensor = to_tensor("fit", "x", value)
    assert isinstance(tensor, torch.Tensor)
    assert not tensor.requires_grad
    return tensor.numpy()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float32"),
        ("longdouble", "float32"),
        ("bool", "bool"),
        ("int8", "int8"),
        ("uint8", "uint8"),
        ("int32", "int32"),
        ("int64", "int64"),
        ("uint16", "int32"),
        ("uint32", "int64"),
        ("uint64", "int64"),
        (">f8", "float32"),
        (">f4", "float32"),
        (">i2", "int16"),
        (">u4", "int64"),
    ],
)
def test_dtypes(given: str, expected: str, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2, (5, 3)).astype(given)
    result = converted(values)
    assert result.dtype == expected
    np.testing.assert_array_equal(result, values.astype(expected))


def test_floats_come_in_floatx() -> None:
    settings.set_floatx("float64")
    try:
        assert converted(np.zeros((2, 2), "float32")).dtype == "float64"
    finally:
        settings.set_floatx("float32")


def test_arrays_of_the_right_dtype_are_shared() -> None:
    for dtype in ("float32", "int64", "uint8"):
        values = np.zeros((4, 2), dtype)
        assert np.shares_memory(converted(values), values)
        assert np.shares_memory(converted(values[::2]), values)
        assert np.shares_memory(converted(values.T), values)


def test_layouts(rng: np.random.Generator) -> None:
    values = rng.normal(size=(6, 4)).astype("float32")
    for view in (
        values[::-1],
        values[:, ::-1],
        values[::2, 1:],
        values.T,
        np.asfortranarray(values),
    ):
        np.testing.assert_array_equal(converted(view), view)
    np.testing.assert_array_equal(converted(np.broadcast_to(values[0], (3, 4))), [values[0]] * 3)


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_come_without_a_warning(tmp_path: Path) -> None:
    values = np.arange(6, dtype="float32").reshape(3, 2)
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    values.flags.writeable = False
    for given in (values, mapped, values[::-1]):
        np.testing.assert_array_equal(converted(given), given)


def test_lists_tensors_and_variables(rng: np.random.Generator) -> None:
    rows = [[1.0, 2.0], [3.0, 4.0]]
    assert converted(rows).dtype == "float32"
    np.testing.assert_array_equal(converted(rows), rows)
    assert converted([1, 2, 3]).dtype == "int64"
    np.testing.assert_array_equal(converted(((1, 0), (0, 1))), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(converted([True, False]), [True, False])
    weight = torch.nn.Parameter(torch.tensor(rows, dtype=torch.float64))
    np.testing.assert_array_equal(converted(weight), rows)
    np.testing.assert_array_equal(converted(Variable(rows, trainable=True)), rows)


def test_list_of_one_array_is_the_array_and_of_several_their_rows() -> None:
    one = np.ones((3, 2), "float32")
    assert converted([one]).shape == (3, 2)
    assert converted([torch.ones(3, 2)]).shape == (3, 2)
    assert converted([one, 2 * one]).shape == (2, 3, 2)
    assert converted([torch.ones(3), torch.zeros(3)]).shape == (2, 3)
    assert converted([np.float32(1), np.float32(2)]).shape == (2,)
    assert converted([np.array(1.0)]).shape == (1,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "predict: `x` must be given; got None"),
        (3.0, "predict: `x` must have a batch axis; got a single number"),
        (np.float32(3), "predict: `x` must have a batch axis; got a single number"),
        (torch.tensor(3), "predict: `x` must have a batch axis; got a single number"),
        (
            [[1.0], [1.0, 2.0]],
            "predict: `x` must be an array or tensor of numbers; got a list that",
        ),
        (["a", "b"], "got a list that makes an array of dtype <U1. Convert it to numbers"),
        ("text", "got a str that makes an array of dtype <U4"),
        ([None, 1.0], "got a list that makes an array of dtype object"),
        (np.array([{}, 3]), "got a ndarray that makes an array of dtype object"),
        ({"a": 1}, "got a dict with the keys"),
        (np.array([1j]), "makes an array of dtype complex128"),
        (np.array(["2020-01-01"], "datetime64[D]"), "makes an array of dtype datetime64"),
        ([np.zeros(2), np.zeros(3)], r"list of 2 with the shapes \[\(2,\), \(3,\)\]"),
    ],
)
def test_what_is_no_array_of_numbers(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_tensor("predict", "x", value)
