import hashlib

import numpy as np

from torchseq.datasets import digits


def test_shapes_types_and_ranges_are_as_documented() -> None:
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert (x_train.shape, y_train.shape) == ((1437, 8, 8), (1437,))
    assert (x_test.shape, y_test.shape) == ((360, 8, 8), (360,))
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert (x_train.min(), x_train.max(), x_test.min(), x_test.max()) == (0, 16, 0, 16)


def test_every_digit_is_in_both_parts() -> None:
    (_, y_train), (_, y_test) = digits.load_data()
    assert np.bincount(y_train).tolist() == [147, 147, 138, 150, 137, 153, 141, 139, 146, 139]
    assert np.bincount(y_test).tolist() == [31, 35, 39, 33, 44, 29, 40, 40, 28, 41]


def test_split_is_the_documented_permutation() -> None:
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    order = np.random.RandomState(0).permutation(1797)
    images, labels = np.empty((1797, 8, 8), np.uint8), np.empty(1797, np.uint8)
    images[order] = np.concatenate([x_train, x_test])
    labels[order] = np.concatenate([y_train, y_test])
    # The original begins with the ten digits in turn, then again.
    assert labels[:20].tolist() == [*range(10), *range(10)]
    assert images[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_values_never_change() -> None:
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    checksum = hashlib.sha256()
    for array in (x_train, y_train, x_test, y_test):
        checksum.update(array.tobytes())
    assert (
        checksum.hexdigest() == "25bb209edf45b4003a539309c103e25e19c4f663e9b7887c34213131060a2cfc"
    )


def test_each_call_gives_arrays_of_its_own() -> None:
    (first, _), _ = digits.load_data()
    first[:] = 0
    (second, _), _ = digits.load_data()
    assert second.max() == 16
