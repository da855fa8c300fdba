"""Overridden steps: when they are used, what they may return, what they leave behind."""

import copy
import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import layers
from torchseq.engine import hooks, logs
from torchseq.engine.hooked_step import HookedStep

Array = np.ndarray[Any, Any]


def data(rows: int = 20) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 4)).astype("float32"), rng.normal(size=(rows, 1))


class ByHand(torchseq.Sequential):
    """Trains in plain torch, with an optimizer's `step`."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        loss = torch.mean((self(x) - y) ** 2)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}


def compiled(cls: type = ByHand, **options: Any) -> Any:
    model = cls([torchseq.Input((4,)), layers.Dense(3), layers.Dense(1)])
    model.compile("adam", "mse", **options)
    return model


# --- when they are used -------------------------------------------------------------------------


def test_nothing_overridden_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("must not be called")

    model = compiled(torchseq.Sequential, metrics=["mae"])
    monkeypatch.setattr(HookedStep, "run_several", fail)
    model.fit(*data(), verbose=0, validation_data=data())
    model.evaluate(*data(), verbose=0)
    model.predict(data()[0], verbose=0)
    assert model.train_function is None


def test_the_long_way_gives_the_numbers_of_the_short_one() -> None:
    class Overriding(torchseq.Sequential):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

        def test_step(self, data: Any) -> Any:
            return super().test_step(data)

    found = []
    for cls in (torchseq.Sequential, Overriding):
        torchseq.utils.set_random_seed(1)
        options = {"metrics": ["mae"], "weighted_metrics": ["mse"], "jit_compile": False}
        model = compiled(cls, **options)
        weight = np.linspace(0, 1, 20)
        options = {"epochs": 3, "batch_size": 6, "validation_data": data(), "verbose": 0}
        history = model.fit(*data(), sample_weight=weight, **options).history
        found.append((history, model.evaluate(*data(), verbose=0), model.get_weights()))
    (first, second) = found
    assert list(first[0]) == list(second[0])
    assert first[:2] == second[:2]
    assert all(np.array_equal(a, b) for a, b in zip(first[2], second[2], strict=True))


def test_a_method_put_on_the_object_counts() -> None:
    model = compiled(torchseq.Sequential)
    model.train_step = lambda data: {"answer": 42}
    assert model.fit(*data(), verbose=0).history == {"answer": [42.0]}
    del model.train_step
    assert list(model.fit(*data(), verbose=0).history) == ["loss"]


def test_targets_of_an_own_step_may_be_anything() -> None:
    class Classes(torchseq.Sequential):
        def train_step(self, data: Any) -> Any:
            return {"sum": torch.sum(data[1])}

    model = Classes([torchseq.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, _ = data()
    assert model.fit(x, np.full(20, 7), verbose=0, batch_size=20).history == {"sum": [140.0]}
    plain = torchseq.Sequential(model.layers)
    plain.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"must be in \[0, 3\)"):
        plain.fit(x, np.full(20, 7), verbose=0)


def test_own_train_function_gets_lists_of_batches_and_is_made_once() -> None:
    sizes: list[int] = []
    made: list[bool] = []

    class Own(torchseq.Sequential):
        def make_train_function(self, force: bool = False) -> Any:
            made.append(force)

            def train(batches: Any) -> Any:
                sizes.append(len(batches))
                return {"loss": 0.0}

            self.train_function = train

    model = compiled(Own, steps_per_execution=3)
    model.fit(*data(), batch_size=4, epochs=2, verbose=0)
    assert sizes == [3, 2] * 2
    assert made == [False]
    assert model.train_function is not None
    model.compile("sgd", "mse")
    assert model.train_function is None


def test_an_optimizer_is_not_needed_where_the_step_has_its_own() -> None:
    class Own(torchseq.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(4, 1)

        def forward(self, inputs: Any) -> Any:
            return self.dense(inputs)

        def train_step(self, data: Any) -> Any:
            x, y = data
            loss = torch.mean((self(x) - y) ** 2)
            self.rule.zero_grad()
            loss.backward()
            self.rule.step()
            return {"loss": loss}

    model = Own()
    model.compile(optimizer=None)
    model.rule = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = model.fit(*data(), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# --- what they return ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 3.0, [1.0]])
def test_a_step_must_return_logs(value: Any) -> None:
    model = compiled()
    model.train_step = lambda data: value
    with pytest.raises(TypeError, match="Hand: `train_step` must return a dict of logs, name ->"):
        model.fit(*data(), verbose=0)


def test_a_loss_must_be_a_tensor() -> None:
    class Own(torchseq.Sequential):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            return None

    with pytest.raises(TypeError, match="Own: `compute_loss` must return a tensor; got None"):
        compiled(Own).fit(*data(), verbose=0)


def test_logs_are_read_once_an_epoch_and_when_a_callback_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[int] = []
    original = logs._numbers

    def counted(tensors: Any) -> Any:
        reads.append(len(tensors))
        return original(tensors)

    monkeypatch.setattr(logs, "_numbers", counted)
    model = compiled()
    blind = torchseq.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    model.fit(*data(), batch_size=2, epochs=3, verbose=0, callbacks=[blind])
    assert len(reads) == 3
    reads.clear()
    seen: list[float] = []
    looking = torchseq.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])
    )
    history = model.fit(*data(), batch_size=5, verbose=0, callbacks=[looking]).history
    assert len(reads) == 5
    assert history["loss"] == seen[-1:]


def test_a_metrics_dict_and_tensors_of_one_entry_come_as_numbers() -> None:
    model = compiled()
    model.train_step = lambda data: {"b": {"y": 2, "x": torch.ones(1)}, "a": np.float32(1)}
    history = model.fit(*data(), verbose=0).history
    assert history == {"a": [1.0], "x": [1.0], "y": [2.0]}
    assert list(history) == ["a", "x", "y"]


# --- what they leave behind ---------------------------------------------------------------------


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def live_tensors() -> int:
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_five_hundred_steps_leave_no_tensors(no_collector: None) -> None:
    class Tracking(torchseq.Sequential):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.tracker = torchseq.metrics.Mean(name="loss")

        def train_step(self, data: Any) -> Any:
            x, y = data
            self.zero_grad()
            loss = self.compute_loss(x, y, self(x, training=True))
            loss.backward()
            weights = self.trainable_weights
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
            self.tracker.update_state(loss.detach())
            return {"loss": self.tracker.result()}

    model = compiled(Tracking)
    counts: list[int] = []

    def count(batch: int, logs: Any) -> None:
        if batch in (20, 519):
            counts.append(live_tensors())

    note = torchseq.callbacks.LambdaCallback(on_train_batch_end=count)
    model.fit(*data(520), batch_size=1, verbose=0, shuffle=False, callbacks=[note])
    assert counts[0] == counts[1]


def test_interrupted_own_step_ends_training_in_order() -> None:
    calls: list[str] = []

    class Interrupted(ByHand):
        num_steps = 0

        def train_step(self, data: Any) -> Any:
            self.num_steps += 1
            if self.num_steps == 8:
                raise KeyboardInterrupt
            return super().train_step(data)

    model = compiled(Interrupted)
    ending = torchseq.callbacks.LambdaCallback(on_train_end=lambda logs: calls.append("end"))
    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), batch_size=4, epochs=3, verbose=0, callbacks=[ending])
    assert calls == ["end"]
    assert len(model.history.history["loss"]) == 1
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert not model.training
    model.fit(*data(), verbose=0)  # and goes on


def test_a_copy_trains_itself() -> None:
    model = compiled()
    model.fit(*data(), verbose=0)
    twin = copy.deepcopy(model)
    before = model.get_weights()
    twin.fit(*data(), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert not np.array_equal(before[0], twin.get_weights()[0])


# --- several batches in one execution, eager steps, losses --------------------------------------


def test_groups_of_a_stream_of_unknown_length() -> None:
    calls: list[tuple[str, int]] = []
    recorder = torchseq.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs=None: calls.append(("begin", batch)),
        on_train_batch_end=lambda batch, logs=None: calls.append(("end", batch)),
    )
    x, y = data()
    model = compiled(torchseq.Sequential, steps_per_execution=2)
    stream = ((x[i : i + 4], y[i : i + 4]) for i in range(0, 20, 4))
    model.fit(stream, verbose=0, callbacks=[recorder])
    pairs = [(0, 1), (2, 3), (4, 5)]
    assert calls == [(k, v) for a, b in pairs for k, v in (("begin", a), ("end", b))]


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_groups_change_no_number(size: int) -> None:
    found = []
    for steps in (1, size):
        torchseq.utils.set_random_seed(2)
        model = compiled(torchseq.Sequential, steps_per_execution=steps)
        history = model.fit(*data(), batch_size=3, epochs=2, verbose=0).history
        found.append((history["loss"], model.predict(data()[0], batch_size=3, verbose=0).tolist()))
    assert found[0] == found[1]


def test_a_backup_after_an_uneven_group_counts_the_batches_that_there_are(tmp_path: Any) -> None:
    model = compiled(torchseq.Sequential, steps_per_execution=3)
    steps: list[int] = []

    class Asking(torchseq.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append(self.model.get_fit_state(0, batch + 1, {})["step"])

    model.fit(*data(), batch_size=4, verbose=0, callbacks=[Asking()])
    assert steps == [3, 5]


def test_eager_running_turns_compiled_steps_off() -> None:
    model = compiled(torchseq.Sequential, run_eagerly=True, jit_compile=True)
    assert model.run_eagerly is True
    assert model.jit_compile is False


def test_an_added_loss_of_many_entries_is_summed() -> None:
    class Adding(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(torch.ones(3))
            return inputs

    model = torchseq.Sequential([torchseq.Input((4,)), Adding()])
    model.compile("sgd", loss=None)
    assert model.evaluate(*data(), verbose=0) == 3.0


def test_metrics_of_a_model_inside_are_not_reported_twice() -> None:
    class Inner(torchseq.Model):
        def __init__(self) -> None:
            super().__init__()
            self.own = torchseq.metrics.Mean(name="own")

        def call(self, inputs: Any) -> Any:
            return inputs

    inner = Inner()
    model = torchseq.Sequential([torchseq.Input((4,)), inner, layers.Dense(1)])
    model.compile("sgd", "mse")
    assert [metric.name for metric in inner.metrics] == ["own"]
    assert [metric.name for metric in model.metrics] == ["loss"]
    assert not list(hooks.own_metrics(model))
