"""Batches that come by themselves: how often they are asked for, hooks, workers, errors."""

import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import torchseq
from tests.data.kinds import STREAMS, Batches, Endless, Samples, SampleStream, Stream, batches
from torchseq import callbacks, layers
from torchseq.data.adapters import source_for
from torchseq.data.epochs import Epochs
from torchseq.data.streams import GeneratorSource

Array = np.ndarray[Any, Any]


def numbered(count: int = 24) -> tuple[Array, Array]:
    x = np.arange(count, dtype="float32")[:, None] * np.ones(4, "float32")
    return x, np.arange(count) % 3


def model() -> Any:
    made = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3, activation="softmax")])
    made.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def shown(source: Any, seed: int | None = None) -> list[list[int]]:
    return [batch[0][:, 0].int().tolist() for batch in source.batches(seed)]


# --- order --------------------------------------------------------------------------------------


def test_order_of_a_py_dataset_is_a_function_of_the_seed() -> None:
    for options in ({}, {"workers": 3}, {"workers": 2, "use_multiprocessing": True}):
        source = source_for(Batches(numbered(40), **options), shuffle=True)
        first = shown(source, 5)
        assert shown(source, 5) == first
        assert shown(source, 6) != first
        assert sorted(number for batch in first for number in batch) == list(range(40))
        assert shown(source_for(Batches(numbered(40), **options))) == shown(
            source_for(numbered(40)[0], batch_size=8)
        )


def test_training_draws_from_the_global_stream_only_for_an_order_of_its_own() -> None:
    x, y = numbered()
    for kind, shuffle, draws in (
        ("generator", True, 0),
        ("PyDataset", False, 0),
        ("PyDataset", True, 1),
        ("Dataset", True, 1),
        ("DataLoader", True, 0),
        ("iterable", True, 0),
    ):
        made = model()
        torch.manual_seed(3)
        for _ in range(draws):
            torch.randint(0, 2**62, ())
        expected = torch.rand(2)
        torch.manual_seed(3)
        made.fit(STREAMS[kind]((x, y)), shuffle=shuffle, verbose=0)
        assert torch.equal(torch.rand(2), expected), kind


def test_a_data_loader_is_iterated_once_an_epoch_as_by_hand() -> None:
    x, y = map(torch.tensor, numbered())
    made = model()
    seen: list[list[int]] = []

    def collate(samples: list[Any]) -> Any:
        seen.append([int(sample[0][0]) for sample in samples])
        return torch.utils.data.default_collate(samples)

    loader = DataLoader(TensorDataset(x, y), 5, shuffle=True, drop_last=True, collate_fn=collate)
    torch.manual_seed(4)
    for _ in range(2):
        list(loader)
    by_hand, seen = seen, []
    torch.manual_seed(4)
    made.fit(loader, epochs=2, verbose=0)
    assert seen == by_hand
    assert len(seen) == 2 * 4


def test_generators_are_asked_for_no_more_than_is_used() -> None:
    asked = 0

    def endless() -> Iterator[Any]:
        nonlocal asked
        x, y = numbered(8)
        while True:
            asked += 1
            yield x, y

    generator = endless()
    model().fit(generator, steps_per_epoch=3, epochs=2, verbose=0)
    assert asked == 6
    model().evaluate(generator, steps=1, verbose=0)
    assert asked == 8  # two are looked at
    next(generator)  # which nobody has closed


def test_number_of_batches_is_none_until_known() -> None:
    params = []

    class Reader(callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            params.append(self.params["steps"])

    for kind in ("generator", "iterable", "PyDataset", "DataLoader", "Dataset"):
        model().fit(STREAMS[kind](numbered()), batch_size=8, verbose=0, callbacks=[Reader()])
    assert params == [None, None, 3, 3, 3]


def test_steps_beyond_an_iterable_warn_and_the_next_epoch_begins_anew() -> None:
    epochs = Epochs(source_for(Stream(numbered())), steps=2)
    sizes = []
    for _ in range(3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sizes.append(len(list(epochs.epoch())))
        if sizes[-1] < 2:
            assert "`steps_per_epoch` is 2, and the data has only 1 batches" in str(
                caught[0].message
            )
    assert sizes == [2, 1, 2]


def test_exhausted_generators_say_so() -> None:
    with pytest.warns(UserWarning, match="fit: the generator ran out of data; the pass that beg"):
        history = model().fit(batches(numbered()), epochs=2, verbose=0)
    assert len(history.epoch) == 2


# --- workers ------------------------------------------------------------------------------------


class Failing(Batches):
    """Raises in the third batch."""

    def __getitem__(self, index: int) -> Any:
        if index == 2:
            raise ZeroDivisionError("mine")
        return super().__getitem__(index)


@pytest.mark.parametrize(
    "options",
    [{}, {"workers": 3}, {"workers": 2, "use_multiprocessing": True}, {"workers": 0}],
    ids=str,
)
def test_exceptions_of_a_dataset_come_out_and_workers_end(options: dict[str, Any]) -> None:
    made = model()
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="mine"):
        made.fit(Failing(numbered(), **options), verbose=0)
    assert threading.active_count() == before
    assert not made.training
    assert made.history.history == {}


class Process(Batches):
    """Tells which process and thread a batch comes from, and a random number of NumPy's."""

    def __getitem__(self, index: int) -> Any:
        thread = threading.get_ident() % 2**20
        numbers = [os.getpid(), thread, np.random.randint(2**20), index]
        return np.array([numbers], dtype="int64")


def facts(seed: int, **options: Any) -> Array:
    source = source_for(Process(numbered(80), **options), shuffle=True)
    return np.concatenate([batch[0].numpy() for batch in source.batches(seed)])


def test_workers_are_threads_or_processes() -> None:
    here = os.getpid()
    alone = facts(1)
    assert set(alone[:, 0]) == {here}
    assert set(alone[:, 1]) == {threading.get_ident() % 2**20}
    threads = facts(1, workers=3)
    assert set(threads[:, 0]) == {here}
    assert threading.get_ident() % 2**20 not in set(threads[:, 1])
    processes = facts(1, workers=2, use_multiprocessing=True)
    assert here not in set(processes[:, 0])
    assert len(set(processes[:, 2])) > 5  # they do not all draw the same numbers
    again = facts(1, workers=1, use_multiprocessing=True)
    np.testing.assert_array_equal(again[:, 2:], processes[:, 2:])
    assert set(facts(2, workers=1, use_multiprocessing=True)[:, 2]) != set(again[:, 2])


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_fetched_ahead_up_to_the_queues_size(workers: int) -> None:
    fetched: list[int] = []

    class Noting(Endless):
        def __getitem__(self, index: int) -> Any:
            fetched.append(index)
            return super().__getitem__(index)

    source = source_for(Noting(numbered(), workers=workers, max_queue_size=4), steps=2)
    epochs = Epochs(source, steps=2)
    assert len(list(epochs.epoch())) == 2
    assert len(fetched) <= 2 + (4 if workers > 1 else 0)
    assert [int(batch[0][0, 0]) for batch in epochs.epoch()] == [16, 0]  # goes on
    before = threading.active_count()
    epochs.close()
    assert threading.active_count() <= before


def test_py_dataset_defaults_hold_without_its_constructor() -> None:
    class Bare(torchseq.utils.PyDataset):
        def __init__(self) -> None:
            pass

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return numbered()

    assert len(model().fit(Bare(), verbose=0).epoch) == 1
    assert torchseq.utils.Sequence is torchseq.utils.PyDataset


def test_py_dataset_may_change_its_length_at_an_epochs_end() -> None:
    class Growing(Batches):
        size = 0

        def __len__(self) -> int:
            return self.size

        def on_epoch_end(self) -> None:
            self.size += 1

    steps: list[int] = []
    counter = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: steps.append(0),
        on_train_batch_end=lambda batch, logs: steps.append(steps.pop() + 1),
    )
    growing = Growing(numbered(80))
    growing.size = 1
    model().fit(growing, epochs=3, verbose=0, callbacks=[counter])
    assert steps == [2, 3, 4]  # an epoch's end is told before the first, as by Keras


# --- errors -------------------------------------------------------------------------------------


def quadruples() -> Iterator[Any]:
    x, y = numbered()
    yield x, y, y, y


X, Y = numbered()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.fit(iter([])), "fit: the generator must yield at least one batch; it is empt"),
        (lambda m: m.predict(iter([])), "predict: the generator must yield at least one batch"),
        (lambda m: m.fit(Stream((X[:0], Y))), "fit: the iterable must yield at least one batch"),
        (
            lambda m: m.fit(DataLoader(Samples((X[:3], Y)), 8, drop_last=True)),
            "fit: the DataLoader must yield at least one batch",
        ),
        (lambda m: m.fit(Samples((X[:0], Y))), "fit: the Dataset must have at least one sample"),
        (lambda m: m.fit(Batches((X[:0], Y))), "fit: the PyDataset must yield at least one batch"),
        (
            lambda m: m.fit(quadruples()),
            r"fit: a batch of the generator must be x, \(x, y\) or .* ",
        ),
        (lambda m: m.fit(iter([(), ()])), "got a tuple of 0 entries"),
        (lambda m: m.fit(iter([(X,)])), "fit: the loss and the metrics need targets; got y=None"),
        (lambda m: m.fit(iter([X])), "fit: the loss and the metrics need targets; got y=None"),
        (lambda m: m.fit(iter([(X, Y[:5])])), "same number of samples; got x: 24, y: 5"),
        (lambda m: m.fit(iter([(X, Y, Y[:5])])), "got x: 24, y: 24, sample_weight: 5"),
        (lambda m: m.fit(iter([(X, Y + 1)])), r"must be in \[0, 3\), since the last layer has 3"),
        (
            lambda m: m.fit(iter([(X, Y)] * 3 + [(X, Y - 1)])),
            "fit: the labels for sparse_categorical_crossentropy must be in",
        ),
        (
            lambda m: m.fit(iter([{"x": X, "y": Y}])),
            r"a batch of the generator must be .* got a dict with the keys \['x', 'y'\]. Make tup",
        ),
        (
            lambda m: m.fit(iter([({"x": X}, Y)])),
            r"fit: `x` must be one array .* one input .*; got a dict with the keys \['x'\]",
        ),
        (lambda m: m.fit({"x": X}, Y), r"fit: `x` must be one array .* got a dict with the keys"),
        (lambda m: m.fit(iter([(["a"], Y)])), "fit: `x` must be an array or tensor of numbers"),
        (lambda m: m.fit(iter([(X[:, :3], Y)])), r"'dense.*4.*3"),
        (
            lambda m: m.fit(iter([(X, Y)]), steps_per_epoch=-1),
            "fit: `steps_per_epoch` must be a positive integer; got steps_per_epoch=-1",
        ),
        (
            lambda m: m.fit(X, Y, validation_data=Stream((X, Y)), validation_steps=-2),
            "fit, validation_data: `validation_steps` must be a positive integer",
        ),
        (lambda m: m.fit(Endless((X, Y))), "a PyDataset without end .* Pass `steps_per_epoch`"),
        (lambda m: m.predict(Endless((X,))), "predict: a PyDataset without end .* Pass `steps`"),
        (
            lambda m: m.fit(X, Y, validation_data=Endless((X, Y))),
            "fit, validation_data: a PyDataset without end .* Pass `validation_steps`",
        ),
        (
            lambda m: m.fit(DataLoader(Samples((X, Y))), Y),
            "when `x` is a DataLoader; got one of ty",
        ),
        (lambda m: m.fit(Samples((X, Y)), Y), "`y` must not be given when `x` is a Dataset"),
        (lambda m: m.fit(TensorDataset(torch.tensor(X)), Y), "when `x` is a TensorDataset"),
        (lambda m: m.fit(SampleStream((X, Y)), Y), "when `x` is a IterableDataset"),
        (
            lambda m: m.fit(Samples((X, Y)), validation_split=0.2),
            "`validation_split` is only supported for arrays, tensors and lists; got x of type Sam",
        ),
        (
            lambda m: m.fit(DataLoader(Samples((X, Y, Y))), class_weight={0: 2.0}),
            "fit: `class_weight` and `sample_weight` cannot both be given",
        ),
        (
            lambda m: m.fit(DataLoader(Samples((X,))), class_weight={0: 2.0}),
            "fit: `class_weight` needs targets; got y=None",
        ),
        (
            lambda m: m.fit(DataLoader(Samples((X, Y))), class_weight={"a": 2.0}),
            "fit: the keys of `class_weight` must be class indices",
        ),
        (lambda m: m.fit(Samples((X, Y)), batch_size=0), "`batch_size` must be a positive integer"),
        (lambda m: m.fit(SampleStream((X, Y)), batch_size=-1), "`batch_size` must be a positive"),
        (lambda m: m.fit(Samples((X, Y)), shuffle="all"), "fit: `shuffle` must be one of"),
        (
            lambda m: m.predict(iter([(X,), (X[:, :2],)])),
            r"'dense.*4.*2",
        ),
    ],
)
def test_bad_streams(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(model())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "PyDataset: `workers` must be an integer of at least 0; got workers=-1"),
        ({"workers": 1.5}, "PyDataset: `workers` must be an integer of at least 0"),
        ({"max_queue_size": 0}, "PyDataset: `max_queue_size` must be a positive integer"),
    ],
)
def test_bad_arguments_of_a_py_dataset(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torchseq.utils.PyDataset(**options)


def test_a_py_dataset_says_what_it_must_have() -> None:
    with pytest.raises(NotImplementedError, match="PyDataset: a PyDataset must have `__len__`"):
        model().fit(torchseq.utils.PyDataset())
    with pytest.raises(NotImplementedError, match=r"must have `__getitem__\(index\)`"):
        torchseq.utils.PyDataset()[0]


def test_a_generator_is_not_touched_when_arguments_are_refused() -> None:
    generator = batches(numbered())
    with pytest.raises(ValueError, match="`y` must not be given"):
        model().fit(generator, Y)
    assert next(generator)[0][0, 0] == 0


def test_labels_on_the_gpu_are_not_waited_for() -> None:
    checked: list[Any] = []
    meta = torch.zeros(3, device="meta")
    source = GeneratorSource(iter([(meta, meta)]), device="meta")
    source.examine(checked.append)
    list(source.batches())
    assert checked == []
