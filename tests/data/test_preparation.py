"""One-hot rows, against live Keras."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchseq.utils import to_categorical


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 3],
        np.array([0, 2, 1], "uint8"),
        np.array([[0], [2], [1]]),
        np.array([[0, 1, 2], [2, 1, 0]]),
        np.array([[[0], [1]], [[2], [2]]]),
        np.array([0.0, 1.0, 2.0]),
        np.array([True, False]),
        (1, 2),
        np.int64(2),
        2,
        [[0]],
    ],
    ids=repr,
)
@pytest.mark.parametrize("num_classes", [None, 5])
def test_one_hot_rows_equal_keras(labels: Any, num_classes: int | None) -> None:
    ours = to_categorical(labels, num_classes)
    theirs = keras.utils.to_categorical(labels, num_classes)
    assert type(ours) is np.ndarray
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(ours, theirs)


def test_tensors_give_tensors() -> None:
    labels = torch.tensor([[0], [2]])
    ours = to_categorical(labels, 3)
    assert (
        ours.dtype is torch.float32
    )  # Keras's torch backend gives integers, which few losses take
    assert torch.equal(ours, keras.utils.to_categorical(labels, 3).float())


@pytest.mark.parametrize(
    ("labels", "num_classes", "message"),
    [
        ([0, -1], 3, r"must be in \[0, 3\); got numbers from -1 to 0"),
        ([0, 3], 3, r"must be in \[0, 3\); got numbers from 0 to 3"),
    ],
)
def test_numbers_that_are_no_classes(labels: Any, num_classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"to_categorical: class numbers {message}"):
        to_categorical(labels, num_classes)
