"""Steps as graphs where something changes that a graph has fixed: what trains, metrics, counts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from tests.engine.test_captured import Tape
from tests.engine.test_whole_step import EAGER, assert_same, deep, fitted, mlp
from torchseq import callbacks, layers
from torchseq.engine import captured


class Freezes(callbacks.Callback):
    """Freezes the normalization in the second epoch, and trains it again in the fourth."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.layers[1].trainable = epoch not in (1, 2)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_layers_may_be_frozen_between_epochs(optimizer: str) -> None:
    results = []
    for jit in (EAGER, False):
        model, first = fitted(deep, jit, optimizer, validates=False)
        kept = model.get_weights()
        x, y = np.ones((21, 16), "float32"), np.arange(21) % 3
        options = {"epochs": 4, "shuffle": False, "verbose": 0, "callbacks": [Freezes()]}
        rest = model.fit(x, y, 8, **options).history
        results.append((model, {**first, **rest}))
        assert not np.allclose(kept[1], model.get_weights()[1])
    assert_same(*results)


def test_a_layer_frozen_between_two_fits_stays() -> None:
    model, _ = fitted(mlp, EAGER)
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(np.ones((8, 16)), np.ones(8), verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert not np.allclose(before[2], after[2])


@pytest.mark.parametrize("rule", ["constraint", "regularizer"])
def test_rules_of_weights_may_change_between_two_steps(rule: str) -> None:
    results = []
    for jit in (EAGER, False):
        model, _ = fitted(mlp, jit)
        kernel = model.layers[1].kernel
        kept = kernel.numpy()
        made = {"constraint": torchseq.constraints.NonNeg, "regularizer": torchseq.regularizers.L2}
        setattr(kernel, rule, made[rule](*(() if rule == "constraint" else (0.1,))))
        model.train_on_batch(np.ones((8, 16)), np.ones(8))
        results.append(kernel.numpy())
        assert not np.allclose(results[-1], kept)
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-7)


def test_a_loaded_model_is_compiled_as_the_environment_says(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHSEQ_JIT", "eager")
    model, _ = fitted(mlp, "auto", epochs=1)
    model.save(tmp_path / "m.safetensors")
    assert torchseq.models.load_model(tmp_path / "m.safetensors").jit_compile == EAGER
    monkeypatch.delenv("TORCHSEQ_JIT")
    assert torchseq.models.load_model(tmp_path / "m.safetensors").jit_compile is False


class Listing(torchseq.metrics.Metric):
    """Keeps what it saw where no graph writes to."""

    def __init__(self, name: str = "listing"):
        super().__init__(name=name)
        self.seen: list[torch.Tensor] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen.append(y_pred.detach().mean())

    def result(self) -> torch.Tensor:
        return torch.stack(self.seen).mean()

    def reset_state(self) -> None:
        self.seen = []


class Foreign(torch.nn.Module):
    """A metric as those of torchmetrics, which bind new tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.total = torch.zeros(())

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        self.total = self.total + float(preds.sum())

    def compute(self) -> torch.Tensor:
        return self.total.clone()

    def reset(self) -> None:
        self.total = torch.zeros(())


METRICS = {
    "state made by the first batch": lambda: torchseq.metrics.F1Score(average="macro"),
    "more state made by the first batch": lambda: torchseq.metrics.R2Score(),
    "a state for each label": lambda: torchseq.metrics.AUC(multi_label=True),
    "of torch": Foreign,
    "in Python": Listing,
}


@pytest.mark.parametrize("graph", [EAGER, "cudagraph"], ids=["recorded", "captured"])
@pytest.mark.parametrize("name", METRICS)
def test_every_kind_of_metric(name: str, graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "CudaGraph", Tape)
    results, steps = [], []
    for jit in (graph, False):
        torchseq.utils.set_random_seed(2)
        model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3, "softmax")])
        metrics = [METRICS[name](), "accuracy"]
        model.compile("sgd", "categorical_crossentropy", metrics=metrics, jit_compile=jit)
        x = np.random.default_rng(3).normal(size=(21, 4))
        y = np.eye(3)[np.arange(21) % 3]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = model.fit(x, y, 8, 2, verbose=0, validation_data=(x[:9], y[:9])).history
        steps.append(model._whole_step)
        texts = [str(warning.message) for warning in caught]
        assert bool(texts) == (name == "in Python" and bool(jit)), texts
        assert all("'listing' has no variables" in text for text in texts)
        results.append(np.array([*history.values(), model.evaluate(x, y, verbose=0)[:2]]))
    np.testing.assert_allclose(*results, rtol=1e-5)
    assert bool(steps[0]._graphs) == (name != "in Python")


class Counting(torchseq.optimizers.SGD):
    """Reads the number of steps, which a graph would have as it was when it was recorded."""

    def update(self, params: Any, grads: Any, slots: Any, learning_rate: Any) -> None:
        rate = learning_rate / (int(self.iterations) + 1)
        for param, grad in zip(params, grads, strict=True):
            param.sub_(grad * rate)


class ByWeight(torchseq.optimizers.Optimizer):
    """The same as it is written for Keras."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.01)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = learning_rate / (int(self.iterations) + 1)
        self.assign_sub(variable, gradient * rate)


@pytest.mark.parametrize("optimizer", [Counting, ByWeight])
def test_optimizers_of_users_that_count_steps(optimizer: Any) -> None:
    results = []
    for jit in (EAGER, False):
        torchseq.utils.set_random_seed(5)
        model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
        model.compile(optimizer(), "mse", jit_compile=jit)
        x = np.random.default_rng(3).normal(size=(8, 3))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(x, x[:, :1], 2, 2, shuffle=False, verbose=0)
        texts = [str(warning.message) for warning in caught]
        assert len(texts) == (bool(jit) and optimizer is Counting), texts
        assert all("return what it needs from `numbers`" in text for text in texts)
        results.append(model.get_weights()[0])
    np.testing.assert_array_equal(*results)
