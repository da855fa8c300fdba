"""Batches of arrays in memory: order, shuffling, class weights, the validation split, errors."""

from typing import Any

import numpy as np
import pytest
import torch

from torchseq import config
from torchseq.data import arrays
from torchseq.data.arrays import ArraySource
from torchseq.data.conversion import move

Array = np.ndarray[Any, Any]


def rows(source: ArraySource, seed: int | None = None) -> list[list[int]]:
    return [batch[0][:, 0].int().tolist() for batch in source.batches(seed)]


def numbered(count: int, width: int = 2) -> Array:
    return np.arange(count, dtype="float32")[:, None] * np.ones(width, "float32")


@pytest.mark.parametrize("count", [1, 5, 6, 7, 64])
@pytest.mark.parametrize("batch_size", [1, 3, 6, 100])
@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_each_sample_comes_once_with_its_target_and_weight(
    count: int, batch_size: int, shuffle: bool | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 50)  # several chunks
    x = numbered(count)
    source = ArraySource(x, x[:, 0] * 2, x[:, 0] + 1, batch_size=batch_size, shuffle=shuffle)
    batches = list(source.batches(seed=3))
    assert len(batches) == source.num_batches
    sizes = [len(batch[0]) for batch in batches]
    assert sizes == [batch_size] * (count // batch_size) + [count % batch_size] * (
        count % batch_size > 0
    )
    seen = torch.cat([batch[0][:, 0] for batch in batches])
    assert sorted(seen.tolist()) == list(range(count))
    for inputs, targets, weights in batches:
        assert torch.equal(targets, inputs[:, 0] * 2)
        assert torch.equal(weights, inputs[:, 0] + 1)


def test_order_without_shuffling_or_without_seed_is_the_datas() -> None:
    expected = [[0, 1, 2], [3, 4]]
    assert rows(ArraySource(numbered(5), batch_size=3)) == expected
    assert rows(ArraySource(numbered(5), batch_size=3), seed=1) == expected
    assert rows(ArraySource(numbered(5), batch_size=3, shuffle=True)) == expected


def test_order_is_a_function_of_the_seed() -> None:
    source = ArraySource(numbered(50), batch_size=8, shuffle=True)
    assert rows(source, 1) == rows(source, 1)
    assert rows(source, 1) != rows(source, 2)
    large = 2**62 - 1 + 7  # seeds of later passes
    assert sorted(number for batch in rows(source, large) for number in batch) == list(range(50))


def test_batch_shuffle_keeps_batches_together_and_the_rest_last() -> None:
    source = ArraySource(numbered(50), batch_size=8, shuffle="batch")
    order = rows(source, 5)
    assert order[-1] == [48, 49]
    assert all(batch == list(range(batch[0], batch[0] + 8)) for batch in order[:-1])
    assert [batch[0] for batch in order] != sorted(batch[0] for batch in order)


def test_what_is_missing_is_none() -> None:
    _, targets, weights = next(ArraySource(numbered(3)).batches())
    assert targets is None
    assert weights is None
    _, targets, weights = next(ArraySource(numbered(3), sample_weight=[1, 2, 3]).batches())
    assert targets is None
    assert weights is not None
    assert weights.dtype is torch.float32


def test_default_batch_size() -> None:
    assert ArraySource(numbered(70)).batch_size == 32
    assert ArraySource(numbered(70), steps=4).batch_size == 18
    assert ArraySource(numbered(70), batch_size=7, steps=4).batch_size == 7


# --- class weights ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 2, 1, 5, 0]),
        np.array([0, 2, 1, 5, 0], "uint8"),
        np.array([0.0, 2.2, 0.9, 5.0, -0.2]),
        np.array([[0], [2], [1], [5], [0]]),
        np.eye(6)[[0, 2, 1, 5, 0]],
        np.eye(6, dtype=bool)[[0, 2, 1, 5, 0]],
        np.eye(6, dtype="int32")[[0, 2, 1, 5, 0]],
    ],
    ids=str,
)
def test_class_weights_become_sample_weights(y: Array) -> None:
    source = ArraySource(numbered(5), y, class_weight={0: 0.5, 2: 3, np.int64(9): 7.0})
    assert source.weight is not None
    assert source.weight.tolist() == [0.5, 3.0, 1.0, 1.0, 0.5]


def test_class_weights_of_labels_far_outside_and_of_steps() -> None:
    y = np.array([-1, 0, 10**15])
    source = ArraySource(numbered(3), y, class_weight={0: 2.0})
    assert source.weight is not None
    assert source.weight.tolist() == [1.0, 2.0, 1.0]
    steps = np.array([[[0], [1]], [[1], [1]]])
    source = ArraySource(numbered(2), steps, class_weight={1: 2.0})
    assert source.weight is not None
    assert source.weight.tolist() == [[1.0, 2.0], [2.0, 2.0]]
    assert ArraySource(numbered(2), [0, 1], class_weight={}).weight is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"class_weight": {0: 1.0}, "sample_weight": [1, 1, 1]},
            "`class_weight` and `sample_weight` cannot both be given",
        ),
        ({"class_weight": {0: 1.0}, "y": None}, "`class_weight` needs targets; got y=None"),
        ({"class_weight": [1.0, 2.0]}, r"`class_weight` must be a dict .* got \[1.0, 2.0\]"),
        ({"class_weight": {"cat": 1.0}}, "keys of `class_weight` must be class indices"),
        ({"class_weight": {-1: 1.0}}, r"integers of at least 0; got \[-1\]"),
        ({"class_weight": {0.5: 1.0}}, r"integers of at least 0; got \[0.5\]"),
        ({"class_weight": {0: None}}, "values of `class_weight` must be numbers; got {0: None}"),
        ({"class_weight": "balanced"}, "must be a dict .* got 'balanced'"),
    ],
)
def test_class_weight_errors(options: dict[str, Any], message: str) -> None:
    given = {"y": [0, 1, 1], **options}
    with pytest.raises(ValueError, match=f"^train_on_batch: .*{message}"):
        ArraySource(numbered(3), owner="train_on_batch", **given)


# --- the validation split -----------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.8])
def test_split_takes_the_last_part(fraction: float) -> None:
    x = numbered(10)
    (head, y_head, no_weight), (tail, y_tail, _) = arrays.split(fraction, x, x[:, 0], None)
    at = int(10 * (1 - fraction))
    assert head[:, 0].tolist() == list(range(at))
    assert tail[:, 0].tolist() == list(range(at, 10))
    assert y_head.tolist() == head[:, 0].tolist()
    assert y_tail.tolist() == tail[:, 0].tolist()
    assert no_weight is None
    assert np.shares_memory(tail.numpy(), x)


@pytest.mark.parametrize(
    ("fraction", "count", "message"),
    [
        (-0.1, 10, r"must be in \(0, 1\); got -0.1"),
        (1.0, 10, r"must be in \(0, 1\); got 1.0"),
        (20, 10, r"must be in \(0, 1\); got 20"),
        (0.99, 10, "must leave samples in both parts; got 0.99 of 10 samples"),
        (0.5, 1, "must leave samples in both parts; got 0.5 of 1 samples"),
        (0.5, 0, "must leave samples in both parts; got 0.5 of 0 samples"),
    ],
)
def test_split_bounds(fraction: float, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"fit: `validation_split` {message}"):
        arrays.split(fraction, numbered(count), None, None)


def test_split_of_unequal_lengths_names_those_that_came() -> None:
    with pytest.raises(ValueError, match="got x: 10, y: 8"):
        arrays.split(0.5, numbered(10), np.zeros(8), None)
    with pytest.raises(ValueError, match="fit: `x` must be given"):
        arrays.split(0.5, None, np.zeros(8), None)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": [1, 2]}, "must have the same number of samples; got x: 3, y: 2"),
        (
            {"y": [1, 2, 3], "sample_weight": [1.0]},
            "got x: 3, y: 3, sample_weight: 1",
        ),
        ({"batch_size": 0}, "`batch_size` must be a positive integer; got batch_size=0"),
        ({"batch_size": -4}, "`batch_size` must be a positive integer; got batch_size=-4"),
        ({"batch_size": 2.5}, "`batch_size` must be a positive integer; got batch_size=2.5"),
        ({"shuffle": "yes"}, r"`shuffle` must be one of \[True, False, 'batch'\]; got"),
    ],
)
def test_errors_name_the_method(options: dict[str, Any], message: str) -> None:
    for owner in ("evaluate", "fit"):
        with pytest.raises(ValueError, match=f"^{owner}: .*{message}"):
            ArraySource(numbered(3), owner=owner, **options)


@pytest.mark.parametrize("empty", [[], np.zeros((0, 4)), torch.zeros(0, 4), ()], ids=repr)
def test_empty_data(empty: Any) -> None:
    with pytest.raises(ValueError, match=r"predict: the data must have at least one sample; got x"):
        ArraySource(empty, owner="predict")


# --- where arrays live --------------------------------------------------------------------------


def test_share_of_a_gpus_memory_is_checked_and_kept() -> None:
    assert config.device_data_share() == 0.5
    try:
        config.set_device_data_share(0)
        assert config.device_data_share() == 0.0
    finally:
        config.set_device_data_share(0.5)
    for share in (-0.1, 1.5, "all", True, None):
        with pytest.raises(ValueError, match=r"set_device_data_share: `share` must be in \[0, 1\]"):
            config.set_device_data_share(share)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_copies_to_the_gpu_are_whole_when_they_are_used(size: int) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    for number in range(20):
        given = torch.full((size,), float(number))
        moved = move(given, device)
        given.fill_(-1.0)  # the copy reads other memory
        assert (moved + 1).double().sum().item() == (number + 1) * size
        del moved  # whose memory the next may get


@pytest.mark.gpu
def test_arrays_live_on_the_gpu_unless_told_otherwise() -> None:
    x = numbered(40)
    options = {"batch_size": 8, "shuffle": True, "device": "cuda:0"}
    source = ArraySource(x, x[:, 0], **options)
    assert source.x.device.type == "cuda"
    config.set_device_data_share(0)
    try:
        streamed = ArraySource(x, x[:, 0], **options)
        assert streamed.x.device.type == "cpu"
        for ours, theirs in zip(source.batches(3), streamed.batches(3), strict=True):
            assert torch.equal(ours[0], theirs[0])
            assert theirs[1] is not None
            assert theirs[1].device.type == "cuda"
    finally:
        config.set_device_data_share(0.5)


def test_moved_tensors_lie_row_after_row() -> None:
    given = torch.arange(12.0).reshape(3, 4).T
    moved = move(given, torch.device("cpu"))
    assert moved.is_contiguous()
    assert torch.equal(moved, given)
    assert move(moved, torch.device("cpu")) is moved
