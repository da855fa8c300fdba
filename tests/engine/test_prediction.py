"""`predict`: one host array, a short path for few rows, no memory that grows."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchseq
from torchseq import callbacks, layers
from torchseq.engine import gather, prediction
from torchseq.engine.gather import Gatherer

Array = np.ndarray[Any, Any]


def network(*extra: Any) -> Any:
    return torchseq.Sequential(
        [torchseq.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3), *extra]
    )


def rows(count: int) -> Array:
    return np.random.default_rng(0).normal(size=(count, 4)).astype("float32")


# --- the host array -----------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[3], [4, 4, 2], [4, 9, 1, 30], [1] * 40])
@pytest.mark.parametrize("known", [(True, True), (False, True), (True, False), (False, False)])
@pytest.mark.parametrize("wrong", [0, 7, -2])
@pytest.mark.parametrize("most_waiting", [None, 1, 50, 1000])
def test_gathered_outputs_are_the_parts_in_order(
    sizes: list[int],
    known: tuple[bool, bool],
    wrong: int,
    most_waiting: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [torch.rand(size, 2) for size in sizes]
    gatherer = Gatherer(sum(sizes) + wrong if known[0] else None, len(sizes) if known[1] else None)
    gatherer.add(parts[0])
    if most_waiting is not None:  # as on a GPU
        monkeypatch.setattr(gather, "_MOST_WAITING", most_waiting)
        gatherer._buffers[0]._lets_wait = True
    for part in parts[1:]:
        gatherer.add(part)
    result = gatherer.result()
    np.testing.assert_array_equal(result, torch.cat(parts).numpy())
    assert result.flags.owndata
    assert result.base is None


def test_outputs_that_wait_are_copies() -> None:
    whole = torch.zeros(4, 100, 3)
    gatherer = Gatherer()
    for number in range(5):
        whole.fill_(number)  # as a model that writes to one buffer
        gatherer.add(whole[:, 0])
        gatherer._buffers[0]._lets_wait = True  # as on a GPU
    waiting = gatherer._buffers[0]._waiting
    assert all(part.untyped_storage().nbytes() == part.nbytes for part in waiting)
    assert gatherer.result()[:, 0].tolist() == [n for n in range(5) for _ in range(4)]


def test_known_number_of_rows_is_allocated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Noted(gather._Buffer):
        def __init__(self, part: Tensor, num_rows: int):
            sizes.append(num_rows)
            super().__init__(part, num_rows)

        def _resize(self, num_rows: int) -> None:
            raise AssertionError

    monkeypatch.setattr(gather, "_Buffer", Noted)
    network().predict(rows(100), verbose=0)
    assert sizes == [100]
    network().predict(rows(100), batch_size=10, steps=3, verbose=0)
    assert sizes[1:] == [30]


def test_outputs_of_several_dtypes_and_structures() -> None:
    gatherer = Gatherer()
    for _ in range(3):
        gatherer.add({"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.arange(2)})
    result = gatherer.result()
    assert result["a"].dtype == "float32"
    assert result["b"].tolist() == [0, 1] * 3
    both = gather.copied([torch.ones(2, dtype=torch.bfloat16), torch.arange(2)])
    assert [array.dtype.name for array in both] == ["float32", "int64"]


def test_outputs_of_unequal_shapes_are_refused() -> None:
    gatherer = Gatherer()
    gatherer.add(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"must have the same shape; got \(2, 6\) after \(2, 5\)"):
        gatherer.add(torch.zeros(2, 6))


# --- few rows -----------------------------------------------------------------------------------


def long_path(model: Any, x: Any, **options: Any) -> Array:
    """Predicts with a callback, which the short path does not have."""
    return model.predict(x, verbose=0, callbacks=[callbacks.Callback()], **options)


@pytest.mark.parametrize("count", [1, 5, 32])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint16", "bool"])
def test_few_rows_give_what_many_give(count: int, dtype: str) -> None:
    model = network()
    x = np.abs(rows(count)).astype(dtype)
    for given in (x, torch.tensor(x.astype("float32")), np.asfortranarray(x), x[::-1], [x]):
        short = model.predict(given, verbose=0)
        np.testing.assert_array_equal(short, long_path(model, given))
        assert short.flags.owndata
        assert short.flags.writeable


def test_short_path_makes_no_loader_and_no_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    model = network()
    for name in ("Epochs", "run_batches"):
        monkeypatch.setattr(prediction, name, refuse)
    monkeypatch.setattr(type(model), "_callbacks", refuse)
    assert model.predict(rows(7), verbose=0).shape == (7, 3)
    assert model.predict(rows(50), batch_size=64, verbose=0).shape == (50, 3)
    for options in ({"verbose": 2}, {"steps": 1}, {"batch_size": 3}, {"callbacks": []}):
        with pytest.raises(AssertionError):
            model.predict(rows(7), **{"verbose": 0, **options})


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "a"])
def test_bad_batch_size_of_few_rows(batch_size: Any) -> None:
    with pytest.raises(ValueError, match="predict: `batch_size` must be a positive integer"):
        network().predict(rows(3), batch_size=batch_size, verbose=0)


def test_few_rows_are_predicted_in_evaluation_mode_of_every_part() -> None:
    modes: list[bool] = []

    class Mode(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            modes.append(self.training)
            return inputs

    inner = Mode()
    model = network(inner)
    inner.train()
    model.predict(rows(2), verbose=0)
    assert modes[-1] is False
    assert inner.training
    with pytest.raises(ZeroDivisionError):
        network(lambda x: 1 / 0 if isinstance(x, Tensor) and len(x) == 2 else x).predict(
            rows(2), verbose=0
        )


def test_predict_makes_no_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchseq.engine import compiled

    model = network()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(compiled, "Objective", refuse)
    model.predict(rows(3), verbose=0)
    model.predict(rows(100), verbose=0)
    model.predict_on_batch(rows(3))


def test_stop_predicting_and_stop_evaluating() -> None:
    model = network()
    model.compile("sgd", "mse")

    class Stop(callbacks.Callback):
        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            assert logs["outputs"].shape == (10, 3)
            self.model.stop_predicting = batch == 1

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_evaluating = batch == 1
            self.seen = batch

    x = rows(50)
    stop = Stop()
    assert model.predict(x, batch_size=10, verbose=0, callbacks=[stop]).shape == (20, 3)
    model.evaluate(x, np.zeros((50, 3)), batch_size=10, verbose=0, callbacks=[stop])
    assert stop.seen == 1
    assert model.predict(x, batch_size=10, verbose=0).shape == (50, 3)


# --- memory -------------------------------------------------------------------------------------


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def live_tensors() -> int:
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def pieces(count: int) -> Iterator[Any]:
    x = rows(16)
    for _ in range(count):
        yield x, np.zeros((16, 3), "float32")


RUNS: dict[str, Callable[[Any, int], Any]] = {
    "fit": lambda m, n: m.fit(rows(16 * n), np.zeros((16 * n, 3)), 16, verbose=0),
    "fit of a generator": lambda m, n: m.fit(pieces(n), verbose=0),
    "train_on_batch": lambda m, n: [m.train_on_batch(*next(pieces(1))) for _ in range(n)],
    "evaluate": lambda m, n: m.evaluate(pieces(n), verbose=0),
    "predict": lambda m, n: m.predict(rows(16 * n), 16, verbose=0),
    "predict of a generator": lambda m, n: m.predict(pieces(n), verbose=0),
    "predict, row by row": lambda m, n: [m.predict(rows(1), verbose=0) for _ in range(n)] and None,
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_500_steps_without_the_garbage_collector_leave_nothing(run: Any) -> None:
    model = network()
    model.compile("adam", "mse", metrics=["mae"])
    run(model, 20)
    gc.collect()
    gc.disable()
    try:
        run(model, 500)
        counts, sizes = [live_tensors()], [resident_bytes()]
        run(model, 500)
        counts.append(live_tensors())
        sizes.append(resident_bytes())
    finally:
        gc.enable()
    assert counts[1] == counts[0]
    assert sizes[1] - sizes[0] < 4 * 2**20


def test_memory_of_predict_is_that_of_its_outputs() -> None:
    width, count = 2000, 100  # outputs of 8 kB a row, of 64 rows a batch: 51 MB
    model = torchseq.Sequential([torchseq.Input((1,)), layers.Dense(width)])
    x = np.zeros((64, 1), "float32")

    def many(number: int) -> Iterator[Any]:
        return ((x,) for _ in range(number))

    model.predict(many(3), verbose=0)
    gc.collect()
    before = resident_bytes()
    peak = 0

    class Peak(callbacks.Callback):
        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            nonlocal peak
            peak = max(peak, resident_bytes())

    outputs = model.predict(many(count), verbose=0, callbacks=[Peak()])
    assert outputs.nbytes == 64 * count * width * 4
    assert peak - before < 1.9 * outputs.nbytes  # a second copy would be 2
