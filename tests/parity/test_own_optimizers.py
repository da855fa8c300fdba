"""Optimizers that users wrote for Keras 3 run as they stand, and as on live Keras."""

import copy
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from tests.optimizer_parity import (
    OPTIONS,
    Pair,
    assert_close,
    assert_same,
    assert_train_alike,
    build,
    models,
    train,
)


def momentum(library: Any) -> Any:
    """Returns a class as Keras's documentation has it."""

    class Momentum(library.optimizers.Optimizer):  # type: ignore[misc]
        def __init__(self, learning_rate: float = 0.05, momentum: float = 0.9, **options: Any):
            super().__init__(learning_rate=learning_rate, **options)
            self.momentum = momentum

        def build(self, variables: Any) -> None:
            super().build(variables)
            self.momentums = []
            for variable in variables:
                self.momentums.append(
                    self.add_variable_from_reference(reference_variable=variable, name="momentum")
                )

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            m = self.momentums[self._get_variable_index(variable)]
            self.assign(m, m * self.momentum - gradient * learning_rate)
            self.assign_add(variable, m)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "momentum": self.momentum}

    return Momentum


def adaptive(library: Any) -> Any:
    """Returns a class with pairs of variables, one of its own, and the step count."""

    class Adaptive(library.optimizers.Optimizer):  # type: ignore[misc]
        def __init__(self, learning_rate: float = 0.01, **options: Any):
            super().__init__(learning_rate=learning_rate, **options)

        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            self.means, self.squares = self.add_optimizer_variables(
                variables, ["mean", "square"], ["zeros", "ones"]
            )
            self.total = self.add_variable(shape=(2,), initializer="ones", name="total")

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            index = self._get_variable_index(variable)
            mean, square = self.means[index], self.squares[index]
            step = int(self.iterations) + 1
            self.assign_add(mean, (gradient - mean) * 0.1)
            self.assign_add(square, (gradient * gradient - square) * 0.01)
            self.assign_add(self.total, self.total * 0.01)
            rate = learning_rate / step**0.5
            self.assign_sub(variable, rate * mean / (square**0.5 + 1e-3))

    return Adaptive


def halved(library: Any) -> Any:
    """Returns a built-in optimizer with a step of the user's before its own."""

    class Halved(library.optimizers.Adam):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient * 0.5, variable, learning_rate * 2.0)

    return Halved


def made(make: Any, **options: Any) -> Pair:
    ours, theirs = (make(library)(**options) for library in (torchseq, keras))
    return ours, theirs


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("make", [momentum, adaptive, halved])
def test_weights_and_state_equal_keras_after_30_steps(
    make: Any, options: str, rng: np.random.Generator
) -> None:
    assert_train_alike(made(make, **OPTIONS[options]), rng)


@pytest.mark.parametrize("make", [momentum, adaptive, halved])
def test_fit_twice_and_a_copy(make: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(8, 6, 6, 2)).astype("float32")
    y = rng.normal(size=(8, 4)).astype("float32")
    of, pair = models(), made(make)
    for model, optimizer in zip(of, pair, strict=True):
        model.compile(optimizer, "mse")
        for _ in range(2):
            model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert_close("weight", of[0].get_weights(), of[1].get_weights(), 1e-5)
    other = copy.deepcopy(of[0])
    for model in (of[0], other):
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    assert_close("weight", other.get_weights(), of[0].get_weights(), 0)


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop", "Adafactor", "Muon", "Lion"])
def test_update_step_of_built_in_optimizers(name: str, rng: np.random.Generator) -> None:
    of = models()
    pair = tuple(getattr(lib.optimizers, name)(learning_rate=0.01) for lib in (torchseq, keras))
    build(pair, of)
    for index in range(len(of[0].trainable_weights)):
        weights = [model.trainable_weights[index] for model in of]
        grad = rng.normal(size=tuple(weights[0].shape)).astype("float32")
        with torch.no_grad():
            for optimizer, weight in zip(pair, weights, strict=True):
                optimizer.update_step(torch.tensor(grad), weight, 0.01)
    assert_same(pair, of)


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_stateless_apply_equals_keras_and_changes_nothing(
    name: str, rng: np.random.Generator
) -> None:
    of = models()
    pair = tuple(getattr(lib.optimizers, name)(learning_rate=0.1) for lib in (torchseq, keras))
    build(pair, of)
    train(pair, of, rng, steps=2)
    grads = [rng.normal(size=w.shape).astype("float32") for w in of[0].trainable_weights]
    results = []
    for optimizer, model in zip(pair, of, strict=True):
        before = [v.numpy().copy() for v in (*model.trainable_weights, *optimizer.variables)]
        with torch.no_grad():
            weights, state = optimizer.stateless_apply(
                [torch.tensor(v.numpy()) for v in optimizer.variables],
                [torch.tensor(grad) for grad in grads],
                [torch.tensor(w.numpy()) * 2 for w in model.trainable_weights],
            )
        results.append([np.asarray(value) for value in (*weights, *state)])
        after = [v.numpy() for v in (*model.trainable_weights, *optimizer.variables)]
        assert_close("unchanged", after, before, 0)
    assert_close("value", *results, 1e-5)


def test_values_go_through_a_store(rng: np.random.Generator) -> None:
    of = models()
    pair = tuple(library.optimizers.Adam(0.1) for library in (torchseq, keras))
    build(pair, of)
    train(pair, of, rng, steps=2)
    stores: list[dict[str, Any]] = [{}, {}]
    for optimizer, store in zip(pair, stores, strict=True):
        optimizer.save_own_variables(store)
    assert list(stores[0]) == list(stores[1])
    assert_close("value", *(list(store.values()) for store in stores), 1e-5)
    fresh = torchseq.optimizers.Adam()
    with pytest.warns(UserWarning, match="Adam: load_own_variables needs as many values"):
        fresh.load_own_variables(stores[1])
    fresh.build(of[0].trainable_weights)
    fresh.load_own_variables(stores[1])
    assert_close("value", [v.numpy() for v in fresh.variables], list(stores[1].values()), 0)


def test_errors() -> None:
    optimizer = momentum(torchseq)()
    weight, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer.build([weight])
    for call in (
        lambda: optimizer.apply([torch.ones(2)], [other]),
        lambda: optimizer.update_step(torch.ones(2), other, 0.1),
    ):
        with pytest.raises(
            ValueError, match="Momentum: it can update only the weights that it was"
        ):
            call()
    with pytest.raises(ValueError, match="one initializer, or one per name; got name="):
        optimizer.add_optimizer_variables([weight], ["a", "b"], ["zeros"])
    with pytest.raises(ValueError, match="stateless_apply needs a built optimizer"):
        torchseq.optimizers.SGD().stateless_apply([], [], [])
    with pytest.raises(ValueError, match="stateless_apply needs 3 values .* and 1 of weights"):
        optimizer.stateless_apply([1.0], [torch.ones(2)], [torch.ones(2)])

    class Empty(torchseq.optimizers.Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Empty: an optimizer must have `update`, or"):
        Empty(0.1).apply([torch.ones(2)], [weight])
    with pytest.raises(ValueError, match="there must be a gradient for at least one weight"):
        torchseq.optimizers.SGD().apply([None], [weight])
    with pytest.warns(UserWarning, match=r"^Gradients do not exist for variables \['weight'\]"):
        torchseq.optimizers.SGD().apply([None, torch.ones(2)], [weight, other])


def test_decay_lowers_the_rate_as_in_keras_2() -> None:
    weight = nn.Parameter(torch.zeros(()))
    optimizer = torchseq.optimizers.SGD(lr=1.0, decay=0.5)
    steps = []
    for _ in range(3):
        before = weight.detach().clone()
        optimizer.apply([torch.tensor(1.0)], [weight])
        steps.append(float(before - weight.detach()))
    np.testing.assert_allclose(steps, [1, 1 / 1.5, 1 / 2], rtol=1e-6)
    assert float(optimizer.learning_rate) == 1.0
    again = torchseq.optimizers.SGD.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert "decay" not in torchseq.optimizers.SGD(decay=0.0).get_config()
    with pytest.raises(ValueError, match="SGD: `decay` must be at least 0; got decay=-1"):
        torchseq.optimizers.SGD(decay=-1)
