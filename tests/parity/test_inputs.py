"""Data that comes by itself, against live Keras: same batches, same histories, same hooks."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import torchseq

Array = np.ndarray[Any, Any]
SIZE, COUNT = 8, 5  # samples a batch, batches a pass

pytestmark = [
    pytest.mark.filterwarnings("ignore:Your input ran out of data"),  # Keras's
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed"),  # Keras's
    pytest.mark.filterwarnings("ignore:.*ran out of data"),
]


def data(seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SIZE * COUNT, 6)).astype("float32")
    return x, x[:, :4].argmax(1)


def pair() -> list[tuple[Any, Any]]:
    """Returns models of equal weights, each with its library."""
    made = []
    for library in (torchseq, keras):
        dense = library.layers.Dense
        model = library.Sequential(
            [library.Input((6,)), dense(9, activation="relu"), dense(4, activation="softmax")]
        )
        made.append((model, library))
    made[0][0].set_weights(made[1][0].get_weights())
    for model, library in made:
        model.compile(
            library.optimizers.SGD(0.05, momentum=0.9),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            weighted_metrics=["accuracy"],
        )
    return made


def assert_equal(ours: Any, theirs: Any) -> None:
    assert list(ours) == list(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-7, err_msg=name)


def compare(make: Callable[[Any], Any], validation: Any = None, **options: Any) -> None:
    """Fits, evaluates and predicts on both sides, with data that `make(library)` makes anew."""
    histories, evaluated, predicted = [], [], []
    for model, library in pair():
        # Once trained, Keras looks at no batch before the first epoch. With workers it would go on
        # where it stopped looking, and show the first batch last.
        model.fit(*data(1), verbose=0, shuffle=False)
        held_out = None if validation is None else validation(library)
        history = model.fit(make(library), verbose=0, validation_data=held_out, **options)
        histories.append(history)
        steps = options.get("steps_per_epoch")
        evaluated.append(model.evaluate(make(library), steps=steps, verbose=0, return_dict=True))
        predicted.append(model.predict(make(library), steps=steps, verbose=0))
    assert histories[0].epoch == histories[1].epoch
    assert histories[0].params["steps"] == histories[1].params["steps"]
    assert_equal(histories[0].history, histories[1].history)
    assert_equal(*evaluated)
    np.testing.assert_allclose(*predicted, rtol=1e-5, atol=1e-6)


def stream(count: int | None, weights: bool = False) -> Iterator[Any]:
    x, y = data()
    for index in itertools.count() if count is None else range(count):
        rows = slice(index % COUNT * SIZE, index % COUNT * SIZE + SIZE)
        parts = (x[rows], y[rows], np.linspace(0, 2, SIZE, dtype="float32"))
        yield parts if weights else parts[:2]


# --- generators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize(
    ("count", "options"),
    [
        (5, {}),
        (None, {"epochs": 3, "steps_per_epoch": 3}),
        (6, {"epochs": 3, "steps_per_epoch": 2}),
        (7, {"epochs": 5, "steps_per_epoch": 2}),  # ends within an epoch, and Keras goes on
        (5, {"epochs": 3}),  # the same
        (1, {"epochs": 2}),
    ],
    ids=str,
)
def test_generators(count: int | None, options: dict[str, Any], weights: bool) -> None:
    compare(lambda library: stream(count, weights), **options)


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (4, {}),
        (None, {"validation_steps": 2}),
        (None, {"validation_steps": 4}),
        (9, {"validation_steps": 3, "validation_freq": 2}),
    ],
    ids=str,
)
def test_generators_for_validation(count: int | None, options: dict[str, Any]) -> None:
    compare(lambda library: stream(5), lambda library: stream(count), epochs=3, **options)


# --- PyDataset ----------------------------------------------------------------------------------


def dataset(library: Any, notes: list[Any] | None = None, shuffle: bool = False, **options: Any):
    """Returns a PyDataset that shuffles its samples at the end of an epoch, as many do."""
    x, y = data()

    class Own(library.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__(**options)
            self.order = np.arange(len(x))
            self.generator = random.Random(3)

        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, index: int) -> Any:
            if notes is not None:
                notes.append(index)
            rows = self.order[index * SIZE : (index + 1) * SIZE]
            return x[rows], y[rows]

        def on_epoch_begin(self) -> None:
            if notes is not None:
                notes.append("begin")

        def on_epoch_end(self) -> None:
            if notes is not None:
                notes.append("end")
            if shuffle:
                self.generator.shuffle(self.order)

    return Own()


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_py_datasets(shuffle: bool, workers: int) -> None:
    compare(
        lambda library: dataset(library, shuffle=shuffle, workers=workers),
        lambda library: dataset(library, workers=workers),
        epochs=3,
        shuffle=False,
    )


@pytest.mark.parametrize("options", [{"steps_per_epoch": 2}, {"class_weight": {0: 3.0, 2: 0.5}}])
def test_options_beside_py_datasets(options: dict[str, Any]) -> None:
    compare(dataset, epochs=3, shuffle=False, **options)


def test_py_datasets_hear_of_epochs_as_from_keras() -> None:
    heard: list[list[Any]] = []
    for model, library in pair():
        notes: list[Any] = []
        given = dataset(library, notes)
        options = {"verbose": 0, "shuffle": False}
        model.fit(given, epochs=2, **options)
        model.fit(given, epochs=2, **options)
        model.evaluate(given, verbose=0)
        model.predict(given, verbose=0)
        model.fit(given, epochs=3, steps_per_epoch=2, **options)
        model.fit(*data(), validation_data=given, epochs=2, verbose=0)
        heard.append(notes)
    assert heard[0] == heard[1]


def test_keras_own_datasets_are_taken() -> None:
    ours, _ = pair()[0]
    twin, _ = pair()[0]
    twin.set_weights(ours.get_weights())
    options = {"epochs": 2, "shuffle": False, "verbose": 0}
    first = ours.fit(dataset(keras, workers=2), **options).history
    assert first == twin.fit(dataset(torchseq), **options).history


def test_endless_py_datasets() -> None:
    def make(library: Any) -> Any:
        class Endless(library.utils.PyDataset):
            num_batches = None

            def __getitem__(self, index: int) -> Any:
                rows = np.arange(index * 3, index * 3 + SIZE) % len(x)
                return x[rows], y[rows]

        return Endless()

    x, y = data()
    compare(make, epochs=3, steps_per_epoch=4, shuffle=False)


# --- torch's loaders, tables ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"shuffle": True}], ids=str)
def test_data_loaders(options: dict[str, Any]) -> None:
    x, y = map(torch.tensor, data())

    class Fixed(torch.utils.data.Sampler):  # Keras looks at an epoch more than it trains on
        def __iter__(self) -> Iterator[int]:
            return iter(np.random.default_rng(1).permutation(len(x)).tolist())

        def __len__(self) -> int:
            return len(x)

    if options.pop("shuffle", False):
        options = {"sampler": Fixed()}
    compare(lambda library: DataLoader(TensorDataset(x, y), 7, **options), epochs=3)


def test_pandas_tables() -> None:
    pandas = pytest.importorskip("pandas")
    x, y = data()
    table, labels = pandas.DataFrame(x), pandas.Series(y)
    results = []
    for model, _ in pair():
        history = model.fit(
            table, labels, epochs=2, shuffle=False, verbose=0, validation_split=0.25
        )
        predicted = model.predict(table, verbose=0)
        results.append((history.history, predicted))
    assert_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-6)


# --- weights per time step ------------------------------------------------------------------------


def test_weights_of_time_steps() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20, 5, 3)).astype("float32")
    y = rng.normal(size=(20, 5, 2)).astype("float32")
    weight = rng.uniform(0, 2, (20, 5)).astype("float32")
    histories = []
    start = None
    for library in (keras, torchseq):
        model = library.Sequential([library.Input((5, 3)), library.layers.Dense(2)])
        start = model.get_weights() if start is None else start
        model.set_weights(start)
        model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae"])
        options = {"epochs": 2, "shuffle": False, "verbose": 0, "batch_size": SIZE}
        histories.append(model.fit(x, y, sample_weight=weight, **options).history)
    assert_equal(histories[1], histories[0])


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (lambda m, lib: m.fit(stream(0)), "fit: the generator must yield at least one batch"),
        (
            lambda m, lib: m.fit(iter([(1, 2, 3, 4)] * 3) if lib is torchseq else quads()),
            "a batch of the generator must be x, .* got a tuple of 4 entries",
        ),
        (lambda m, lib: m.fit(stream(3), np.ones(3)), "`y` must not be given when `x` is a gene"),
        (
            lambda m, lib: m.evaluate(stream(3), sample_weight=np.ones(3)),
            "evaluate: `sample_weight` must not be given when `x` is a generator",
        ),
        (
            lambda m, lib: m.fit(dataset(lib), np.ones(3)),
            "`y` must not be given when `x` is a PyDataset",
        ),
        (
            lambda m, lib: m.fit(stream(3), validation_split=0.2),
            "`validation_split` is only supported for arrays, tensors and lists; got x of type gen",
        ),
        (lambda m, lib: m.fit(*data(), class_weight={0: 1.0}, sample_weight=np.ones(40)), "cannot"),
        (lambda m, lib: m.fit(data()[0], data()[1][:-1]), "same number of samples; got x: 40"),
    ],
    ids=range(8),
)
def test_both_refuse(case: Callable[[Any, Any], Any], message: str) -> None:
    for model, library in pair():
        with pytest.raises(ValueError, match=message if library is torchseq else "."):
            case(model, library)


def quads() -> Iterator[Any]:
    x, y = data()
    yield from [(x, y, y, y)] * 3
