"""Batches that `predict` and `evaluate` compute as one, with the bits of single ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchseq
from torchseq import callbacks, layers
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


def test_how_many_go_as_one_is_bounded() -> None:
    def most(*stack: Any) -> int:
        model = torchseq.Sequential(stack)
        model.eval()
        return model._most_at_once(model.input_shape[1:])

    dense = layers.Dense
    assert most(torchseq.Input((4,)), dense(8)) == 1024
    assert most(torchseq.Input((4,)), dense(2048), dense(1)) == 128
    assert most(torchseq.Input((4096,)), dense(1)) == 64
    inner = torchseq.Sequential([dense(2048), dense(1)])
    assert most(torchseq.Input((4,)), inner, dense(1)) == 128
    stack = torchseq.Sequential([dense(4)])
    assert most(torchseq.Input((3, 4)), layers.TimeDistributed(stack)) == 0
    assert most(torchseq.Input((4,)), layers.Lambda(lambda x: x)) == 0
    assert most(torchseq.Input((4,)), dense(2, activation=lambda x: x - x.mean())) == 0
    assert most(torchseq.Input((4,)), nn.Linear(4, 4)) == 0
    assert most(torchseq.Input(batch_shape=(32, 3, 4)), layers.LSTM(2, stateful=True)) == 0

    class Own(layers.Layer):
        def call(self, inputs: Tensor) -> Tensor:
            return inputs - inputs.mean(0)

    assert most(torchseq.Input((4,)), Own()) == 0

    class OwnModel(torchseq.Sequential):
        pass

    assert OwnModel([torchseq.Input((4,)), dense(1)])._most_at_once((4,)) == 0
    hooked = torchseq.Sequential([torchseq.Input((4,)), dense(1)])
    hooked.layers[0].linear.register_forward_hook(lambda *given: None)
    assert hooked._most_at_once((4,)) == 0


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
