"""Epochs cut from passes over the data."""

import warnings

import numpy as np
import pytest

from torchseq.data.arrays import ArraySource
from torchseq.data.epochs import Epochs


def source(
    count: int, batch_size: int = 4, shuffle: bool = False, owner: str = "fit"
) -> ArraySource:
    x = np.arange(count, dtype="float32")[:, None]
    return ArraySource(x, batch_size=batch_size, shuffle=shuffle, owner=owner)


def samples(epochs: Epochs) -> list[int]:
    return [int(row) for batch in epochs.epoch() for row in batch[0][:, 0]]


def test_epoch_is_a_pass_by_default() -> None:
    epochs = Epochs(source(10))
    assert epochs.num_batches == 3
    assert [samples(epochs) for _ in range(2)] == [list(range(10))] * 2


def test_each_pass_has_its_own_order_and_every_sample_once() -> None:
    epochs = Epochs(source(40, shuffle=True), seed=5)
    passes = [samples(epochs) for _ in range(3)]
    assert all(sorted(order) == list(range(40)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3
    again = Epochs(source(40, shuffle=True), seed=5)
    assert [samples(again) for _ in range(3)] == passes
    other = Epochs(source(40, shuffle=True), seed=6)
    assert samples(other) != passes[0]


def test_fewer_steps_go_on_where_the_last_epoch_ended() -> None:
    epochs = Epochs(source(16), steps=2)
    assert epochs.num_batches == 2
    assert samples(epochs) == list(range(8))
    assert samples(epochs) == list(range(8, 16))
    assert samples(epochs) == list(range(8))


def test_fewer_steps_of_shuffled_data_show_each_sample_once_a_pass() -> None:
    epochs = Epochs(source(16, shuffle=True), steps=2, seed=1)
    for _ in range(3):
        assert sorted(samples(epochs) + samples(epochs)) == list(range(16))


def test_pass_that_ends_within_an_epoch_ends_it_with_a_warning() -> None:
    epochs = Epochs(source(10), steps=2)
    assert samples(epochs) == list(range(8))
    with pytest.warns(UserWarning, match="`steps_per_epoch` is 2, and the data has only 1 batches"):
        assert samples(epochs) == [8, 9]
    assert samples(epochs) == list(range(8))


def test_more_steps_than_batches_warn_each_epoch() -> None:
    epochs = Epochs(source(10, owner="evaluate"), steps=7)
    for _ in range(2):
        with pytest.warns(UserWarning, match="^evaluate: `steps` is 7, .* only 3 batches left"):
            assert samples(epochs) == list(range(10))


def test_exact_steps_do_not_warn() -> None:
    epochs = Epochs(source(10), steps=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert samples(epochs) == list(range(10))
