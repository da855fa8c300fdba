"""Every kind of data × fit, evaluate, predict: the same numbers to the last bit."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from tests.data.kinds import ARRAYS, BATCH_SIZE, STREAMS, Batches, Samples, TensorLike
from torchseq import layers
from torchseq.data import arrays

Array = np.ndarray[Any, Any]
COUNT = 27  # the last batch is smaller


def model() -> Any:
    torchseq.utils.set_random_seed(7)
    made = torchseq.Sequential(
        [
            torchseq.Input((4,)),
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.25),
            layers.Dense(3, activation="softmax"),
        ]
    )
    made.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    return made


def samples() -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    # Numbers of few bits, so that float16 holds them too.
    x = rng.integers(-8, 9, (COUNT, 4)).astype("float32") / 4
    return x, rng.integers(0, 3, COUNT), rng.integers(1, 5, COUNT).astype("float32")


def results(x: Any, *rest: Any, again: Any = None, **options: Any) -> list[Any]:
    """Fits two epochs, evaluates and predicts; `again` makes the data anew for each."""
    made = model()
    again = again or (lambda: x)
    sources = [again() for _ in range(3)]
    if "batch_size" not in options:
        options["batch_size"] = BATCH_SIZE
    weight = {"sample_weight": rest[1]} if len(rest) > 1 else {}
    history = made.fit(
        sources[0], *rest[:1], **weight, epochs=2, shuffle=False, verbose=0, **options
    )
    size = options["batch_size"]
    evaluated = made.evaluate(sources[1], *rest[:1], **weight, batch_size=size, verbose=0)
    predicted = made.predict(sources[2], batch_size=size, verbose=0)
    return [history.history, evaluated, predicted.tolist()]


@pytest.fixture(scope="module")
def expected() -> dict[int, list[Any]]:
    x, y, weight = samples()
    return {2: results(x, y), 3: results(x, y, weight)}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", STREAMS)
def test_streams_give_the_numbers_of_arrays(kind: str, count: int, expected: Any) -> None:
    parts = samples()[:count]
    if kind in ("generator", "iterator"):  # which have one epoch
        made = model()
        history = made.fit(STREAMS[kind](parts), verbose=0)
        twin = model()
        x, y, *weight = parts
        theirs = twin.fit(x, y, BATCH_SIZE, 1, 0, shuffle=False, sample_weight=(*weight, None)[0])
        assert history.history == theirs.history
        assert made.evaluate(STREAMS[kind](parts), verbose=0) == twin.evaluate(
            x, y, BATCH_SIZE, 0, (*weight, None)[0]
        )
        np.testing.assert_array_equal(
            made.predict(STREAMS[kind](parts), verbose=0), twin.predict(x, BATCH_SIZE, 0)
        )
        return
    assert results(STREAMS[kind](parts)) == expected[count]


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_any_kind_give_the_same_numbers(kind: str, expected: Any) -> None:
    assert results(*map(ARRAYS[kind], samples())) == expected[3]


@pytest.mark.parametrize("dtype", ["float16", "int8", "int64", "uint16", "bool", "float64"])
def test_dtypes_give_the_numbers_of_their_values(dtype: str, tmp_path: Path) -> None:
    x, y, _ = samples()
    x = np.abs(x * 4).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    of_floats = results(x.astype("float32"), y)
    assert results(x, y) == of_floats
    assert results(np.load(tmp_path / "x.npy", mmap_mode="r"), y) == of_floats
    assert results(Batches((x, y))) == of_floats


def test_files_mapped_into_memory_are_shuffled_and_split_as_arrays(tmp_path: Path) -> None:
    x, y, _ = samples()
    for dtype in ("float16", "float32"):
        np.save(tmp_path / f"{dtype}.npy", x.astype(dtype))
        np.save(tmp_path / "y.npy", y.astype("uint16"))
        found = []
        for inputs, targets in (
            (x, y),
            [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in (dtype, "y")],
        ):
            history = model().fit(
                inputs, targets, 4, 2, 0, validation_split=0.3, class_weight={1: 3.0}
            )
            found.append(history.history)
        assert found[0] == found[1]


def test_pandas(expected: Any) -> None:
    pandas = pytest.importorskip("pandas")
    x, y, weight = samples()
    table = pandas.DataFrame(x, columns=list("abcd"))
    labels = pandas.Series(y, index=np.arange(COUNT) + 100)
    assert results(table, labels, pandas.Series(weight))[0] == expected[3][0]
    assert results(table, labels)[1:] == expected[2][1:]
    mixed = table.assign(a=table["a"] > 0, b=(table["b"] * 4).astype("Int64"))
    plain = np.stack([x[:, 0] > 0, x[:, 1] * 4, x[:, 2], x[:, 3]], 1).astype("float32")
    assert results(mixed, labels) == results(plain, y)
    history = model().fit(table, labels, verbose=0, validation_split=0.3, epochs=2)
    theirs = model().fit(x, y, verbose=0, validation_split=0.3, epochs=2)
    assert history.history == theirs.history
    with pytest.raises(ValueError, match="fit: `x` must be an array or tensor of numbers; got a D"):
        model().fit(table.assign(a="text"), labels)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil"])
def test_sparse_matrices(form: str, expected: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x, y, weight = samples()
    matrix = getattr(sparse, f"{form}_matrix")(x)
    assert results(matrix, y, weight) == expected[3]
    array = getattr(sparse, f"{form}_array")(x.astype("float64"))
    assert results(array, y) == expected[2]
    options = {"epochs": 2, "verbose": 0, "validation_split": 0.3}
    assert model().fit(matrix, y, **options).history == model().fit(x, y, **options).history
    targets = sparse.csr_matrix(np.eye(3)[y])
    found = []
    for given in (targets, targets.toarray()):
        made = model()
        made.compile("sgd", "categorical_crossentropy")
        found.append(made.fit(x, given, verbose=0, class_weight={0: 2.0}).history)
    assert found[0] == found[1]
    assert results(Batches((x, y)))[2] == expected[2][2]


def test_sparse_matrices_are_never_dense_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 2**16)
    x = sparse.random(4000, 200, density=0.01, format="csr", dtype="float32", random_state=0)
    largest = 0
    original = type(x).toarray

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal largest
        largest = max(largest, self.shape[0])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(x), "toarray", noted)
    made = torchseq.Sequential([torchseq.Input((200,)), layers.Dense(1)])
    made.compile("sgd", "mse")
    made.fit(x, np.zeros(4000), batch_size=16, verbose=0)
    assert 16 <= largest <= 2**16 / (4 * 200)


def test_sparse_tensors(expected: Any) -> None:
    x, y, weight = samples()
    tensor = torch.tensor(x)
    assert results(tensor.to_sparse_coo(), y, weight) == expected[3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the layout is young
        tensor = tensor.to_sparse_csr()
    assert results(tensor, y) == expected[2]


def test_objects_that_only_know_numpy(expected: Any) -> None:
    x, y, weight = (TensorLike(part) for part in samples())
    assert results(x, y, weight) == expected[3]


@pytest.mark.parametrize("shuffle", [True, "batch"])
def test_datasets_are_shuffled_as_arrays(shuffle: Any) -> None:
    x, y, _ = samples()
    options = {"batch_size": 4, "epochs": 3, "verbose": 0, "shuffle": shuffle}
    arrays = model().fit(x, y, **options).history
    assert model().fit(Samples((x, y)), **options).history == arrays
    assert model().fit(STREAMS["TensorDataset"]((x, y)), **options).history == arrays


@pytest.mark.parametrize("kind", STREAMS)
def test_validation_data_of_any_kind(kind: str) -> None:
    x, y, weight = samples()
    if kind in ("generator", "iterator"):
        return  # as in Keras, each pass begins with the first two batches
    options = {"epochs": 2, "verbose": 0, "batch_size": BATCH_SIZE}
    theirs = model().fit(x, y, validation_data=(x, y, weight), **options).history
    validation = STREAMS[kind]((x, y, weight))
    assert model().fit(x, y, validation_data=validation, **options).history == theirs
    assert model().fit(x, y, validation_data=(validation,), **options).history == theirs


@pytest.mark.parametrize("kind", STREAMS)
def test_class_weights_of_any_kind(kind: str) -> None:
    x, y, _ = samples()
    options = {"verbose": 0, "shuffle": False, "class_weight": {0: 2.0, 2: 0.5}}
    theirs = model().fit(x, y, BATCH_SIZE, **options).history
    assert model().fit(STREAMS[kind]((x, y)), batch_size=BATCH_SIZE, **options).history == theirs


@pytest.mark.parametrize("kind", STREAMS)
def test_inputs_alone_can_be_predicted(kind: str, expected: Any) -> None:
    x = samples()[0]
    made = model()
    found = made.predict(STREAMS[kind]((x,)), batch_size=BATCH_SIZE, verbose=0)
    np.testing.assert_array_equal(found, made.predict(x, batch_size=BATCH_SIZE, verbose=0))


@pytest.mark.parametrize("kind", STREAMS)
def test_models_are_built_by_any_kind(kind: str) -> None:
    x, y, _ = samples()
    for method, parts in (("fit", (x, y)), ("evaluate", (x, y)), ("predict", (x,))):
        made = torchseq.Sequential([layers.Dense(3, activation="softmax")])
        made.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        getattr(made, method)(STREAMS[kind](parts), verbose=0)
        assert made.input_shape[1:] == (4,)
