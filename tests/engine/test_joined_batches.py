"""Batches that `predict` and `evaluate` compute as one, with the bits of single ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchseq
from torchseq import callbacks, layers
from torchseq.base import logits, products
from torchseq.engine import prediction
from torchseq.engine.step import Step

Array = np.ndarray[Any, Any]


def network() -> Any:
    return torchseq.Sequential(
        [torchseq.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3)]
    )


def rows(count: int) -> Array:
    return np.random.default_rng(0).normal(size=(count, 4)).astype("float32")


def in_one_stack() -> list[Any]:
    return [torchseq.Input((40,)), layers.Dense(70, activation="relu"), layers.Dense(3), softmax()]


def softmax() -> Any:
    return layers.Activation("softmax")


def nested() -> list[Any]:
    inner = torchseq.Sequential([layers.Dense(9), layers.BatchNormalization(), layers.ReLU()])
    return [torchseq.Input((40,)), inner, layers.Dropout(0.5), layers.Dense(2)]


def recurrent() -> list[Any]:
    return [torchseq.Input((5, 8)), layers.GRU(6, return_sequences=True), layers.LSTM(4)]


def images() -> list[Any]:
    return [
        torchseq.Input((6, 6, 2)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3),
    ]


def wide() -> list[Any]:
    return [torchseq.Input((300,)), layers.Dense(256, activation="relu"), layers.Dense(77)]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list to which each step adds its number of samples."""
    seen: list[int] = []
    outputs_of = prediction.Predicting._outputs_of

    def noted(self: Any, *inputs: Tensor) -> Any:
        seen.extend(map(len, inputs))
        return outputs_of(self, *inputs)

    monkeypatch.setattr(prediction.Predicting, "_outputs_of", noted)
    return seen


@pytest.mark.parametrize("make", [in_one_stack, nested, recurrent, images, wide])
@pytest.mark.parametrize("count", [1280, 1191, 127, 129, 161])
def test_batches_go_as_one_with_the_same_bits(make: Any, count: int, sizes: list[int]) -> None:
    model = torchseq.Sequential(make())
    x = np.random.default_rng(count).normal(size=(count, *model.input_shape[1:])).astype("float32")
    stream = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(x)), batch_size=32
    )
    together = model.predict(x, verbose=0)
    assert sum(sizes) == count
    assert max(sizes) > 32
    assert all(size % 32 == 0 for size in sizes[:-1])
    np.testing.assert_array_equal(together, model.predict(stream, verbose=0))


def test_how_many_go_as_one_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def most(*stack: Any) -> int:
        model = torchseq.Sequential(stack)
        return model._most_at_once(model.input_shape[1:])

    dense = layers.Dense
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert most(torchseq.Input((4,)), dense(8)) == 1024
    assert most(torchseq.Input((4,)), dense(2048), dense(1)) == 128
    assert most(torchseq.Input((4096,)), dense(1)) == 64
    inner = torchseq.Sequential([dense(2048), dense(1)])
    assert most(torchseq.Input((4,)), inner, dense(1)) == 128
    stack = torchseq.Sequential([dense(4)])
    assert most(torchseq.Input((3, 4)), layers.TimeDistributed(stack)) == 0
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert most(torchseq.Input((4,)), dense(2048), dense(1)) == 16


class Own(layers.Layer):
    def call(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(0)


class Callable:
    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(0)


MIXING = {
    "lambda": lambda: layers.Lambda(lambda x: x),
    "activation of a user": lambda: layers.Dense(2, activation=lambda x: x - x.mean()),
    "partial": lambda: layers.Dense(2, activation=partial(torch.softmax, dim=0)),
    "callable": lambda: layers.Activation(Callable()),
    "module": lambda: layers.Activation(nn.Softmax(dim=0)),
    "of torch": lambda: layers.Activation(torch.flipud),
    "torch module": lambda: nn.Linear(4, 4),
    "stateful": lambda: layers.LSTM(2, stateful=True),
    "own layer": Own,
    "softmax": lambda: layers.Softmax(axis=0),
    "softmax from the end": lambda: layers.Softmax(axis=-2),
    "unit normalization": lambda: layers.UnitNormalization(axis=0),
    "layer normalization": lambda: layers.LayerNormalization(axis=[0, 1]),
}


@pytest.mark.parametrize("name", MIXING)
def test_layers_that_may_mix_samples_get_batches_apart(name: str, sizes: list[int]) -> None:
    shape = (32, 3, 4) if name == "stateful" else (32, 4)
    model = torchseq.Sequential([torchseq.Input(batch_shape=shape), MIXING[name]()])
    model.predict(np.random.default_rng(0).normal(size=(320, *shape[1:])), verbose=0)
    assert set(sizes) == {32}


def test_users_models_and_hooks_get_batches_apart(sizes: list[int]) -> None:
    class OwnModel(torchseq.Sequential):
        pass

    OwnModel([torchseq.Input((4,)), layers.Dense(1)]).predict(rows(320), verbose=0)
    hooked = network()
    hooked.layers[0].linear.register_forward_hook(lambda *given: None)
    hooked.predict(rows(320), verbose=0)
    assert set(sizes) == {32}


class Watching(callbacks.Callback):
    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        pass

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


@pytest.mark.parametrize(
    "options", [{"callbacks": [Watching()]}, {"steps": 10}, {"batch_size": 24}]
)
def test_batches_stay_apart(options: Any, sizes: list[int]) -> None:
    model = network()
    model.predict(rows(320), verbose=0, **options)
    assert set(sizes[:-1]) == {options.get("batch_size", 32)}


def test_the_bar_counts_batches_of_the_asked_size(capsys: pytest.CaptureFixture[str]) -> None:
    network().predict(rows(1000))
    assert capsys.readouterr().out.split()[0] == "32/32"


# --- evaluate -------------------------------------------------------------------------------------


def masked() -> list[Any]:
    return [
        torchseq.Input((5, 8)),
        layers.Masking(),
        layers.LSTM(6, return_sequences=True),
        layers.TimeDistributed(layers.Dense(3)),
    ]


@pytest.fixture
def joined_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list to which each step on joined batches adds its number of samples."""
    seen: list[int] = []
    test_joined = Step.test_joined

    def noted(self: Step, x: Tensor, *others: Any, batch_size: int) -> None:
        seen.append(len(x))
        test_joined(self, x, *others, batch_size)

    monkeypatch.setattr(Step, "test_joined", noted)
    return seen


@pytest.mark.parametrize("make", [in_one_stack, nested, recurrent, images, wide, masked])
@pytest.mark.parametrize("count", [640, 1191])
@pytest.mark.parametrize("is_weighted", [True, False])
def test_evaluate_has_the_bits_of_single_batches(
    make: Any, count: int, is_weighted: bool, joined_steps: list[int], rng: np.random.Generator
) -> None:
    model = torchseq.Sequential(make())
    x = rng.normal(size=(count, *model.input_shape[1:])).astype("float32")
    if make is masked:
        x[:, 3:] = np.where(rng.random((count, 2, 1)) < 0.5, x[:, 3:], 0)
    y = rng.random((count, *model.output_shape[1:])).astype("float32")
    weight = rng.random(count) if is_weighted else None
    loss = "categorical_crossentropy" if make is in_one_stack else "huber"
    metrics = {"metrics": ["mae", "cosine_similarity"], "weighted_metrics": ["mse"]}
    model.compile("sgd", loss, **metrics, run_eagerly=True)
    if isinstance(model.layers[-1], layers.Dense):
        model.layers[-1].kernel_regularizer = torchseq.regularizers.L2(0.1)
    options = {"sample_weight": weight, "verbose": 0}
    together = model.evaluate(x, y, **options)
    assert sum(joined_steps) == count
    assert max(joined_steps) > 32
    assert together == model.evaluate(x, y, callbacks=[Watching()], **options)
    assert sum(joined_steps) == count


def test_validation_joins_batches_while_nobody_watches(joined_steps: list[int]) -> None:
    model = network()
    model.compile("sgd", "mse", run_eagerly=True)
    x, y = rows(320), rows(320)[:, :3]
    options: Any = {"validation_data": (x, y), "verbose": 0}
    model.fit(x, y, **options, epochs=2)
    assert joined_steps == [320, 320]
    model.fit(x, y, **options, callbacks=[Watching()])
    assert joined_steps == [320, 320]
    model.layers[0].register_forward_hook(lambda *given: None)
    model.fit(x, y, **options)
    assert joined_steps == [320, 320]


class OnceAtATime(torchseq.metrics.Metric):
    """A metric that each batch changes as a whole."""

    def __init__(self) -> None:
        super().__init__(name="largest")
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign(self.total + y_pred.max())

    def result(self) -> Any:
        return self.total.value


def test_batches_joined_once_part_again() -> None:
    class Groups(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.steps_per_execution = 2

    model = network()
    model.compile("sgd", "mse", metrics=[OnceAtATime()], run_eagerly=True)
    model.optimizer.learning_rate = 0.0
    x, y = rows(320), rows(320)[:, :3]
    values = model.fit(
        x, y, epochs=2, verbose=0, validation_data=(x, y), callbacks=[Groups()]
    ).history["val_largest"]
    assert values[0] == values[1]


def test_several_outputs_are_cut_alike() -> None:
    model = torchseq.Sequential([torchseq.Input((5, 4)), layers.LSTM(3, return_state=True)])

    parts = [torch.rand(64, 3), torch.rand(64, 3)]
    cut = logits.rows_of({"a": parts, "b": tuple(parts)}, slice(32, 64))
    assert torch.equal(cut["a"][1], parts[1][32:])
    assert isinstance(cut["b"], tuple)
    assert len(model.predict(np.zeros((320, 5, 4)), verbose=0)) == 3


def test_weights_that_compiled_steps_write_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_is_amd_with_avx512", lambda: True)
    monkeypatch.setattr(products, "LEAST", 0)
    model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3)])
    model.compile("sgd", "mse", jit_compile={"backend": "eager"})
    x, y = torch.ones(32, 4), torch.zeros(32, 3)
    model.train_on_batch(x, y)
    with products.constant_weights(), torch.no_grad():
        model.eval()
        before = model(x)
        model.train_on_batch(x, y)
        model.eval()
        linear = model.layers[0].linear
        expected = torch.nn.functional.linear(x, linear.weight, linear.bias)
        torch.testing.assert_close(model(x), expected)
        assert not torch.allclose(before, expected)
