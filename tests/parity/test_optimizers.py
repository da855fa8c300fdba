"""Optimizers against live Keras: weights and state after many steps, whatever the options."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests.optimizer_parity import (
    CLASSES,
    FIRST,
    KINDS,
    MODELS,
    OPTIONS,
    ROWS,
    STEPS,
    Falling,
    assert_same,
    assert_train_alike,
    assert_train_alike_at_new_rates,
    assert_train_alike_to_the_end,
    assert_train_alike_with_gaps,
    build,
    gradients,
    models,
    optimizers,
    step,
    train,
)


@pytest.mark.parametrize(("kind", "options"), ROWS)
def test_weights_and_state_equal_keras_after_30_steps(
    kind: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    assert_train_alike_to_the_end(optimizers(kind, **options), rng)


@pytest.mark.parametrize("make", MODELS[1:])
@pytest.mark.parametrize("kind", FIRST)
def test_all_layouts_of_weights(kind: str, make: Any, rng: np.random.Generator) -> None:
    assert_train_alike(optimizers(kind, **OPTIONS["all"]), rng, make)


@pytest.mark.filterwarnings("ignore:.*Gradients do not exist")
@pytest.mark.parametrize("options", ["plain", "accumulation", "all"])
@pytest.mark.parametrize("kind", FIRST)
def test_weights_without_gradient_stay_as_in_keras(
    kind: str, options: str, rng: np.random.Generator
) -> None:
    assert_train_alike_with_gaps(optimizers(kind, **OPTIONS[options]), rng)


@pytest.mark.parametrize("kind", FIRST)
def test_rate_that_changes_between_steps(kind: str, rng: np.random.Generator) -> None:
    assert_train_alike_at_new_rates(optimizers(kind, weight_decay=0.01), rng)


@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("name", CLASSES)
def test_schedule_is_asked_for_the_step_count(
    name: str, steps: int | None, rng: np.random.Generator
) -> None:
    of = models()
    options = {"gradient_accumulation_steps": steps, "weight_decay": 0.05}
    pair = tuple(
        getattr(library.optimizers, name)(Falling(), **options) for library in (torchseq, keras)
    )
    build(pair, of)
    train(pair, of, rng, steps=8)
    assert_same(pair, of)
    assert float(pair[0].learning_rate) == pytest.approx(float(pair[1].learning_rate))


@pytest.mark.parametrize("name", CLASSES)
def test_callable_rate_is_asked_in_each_step(name: str, rng: np.random.Generator) -> None:
    rate = 0.1
    of = models()
    pair = tuple(getattr(library.optimizers, name)(lambda: rate) for library in (torchseq, keras))
    build(pair, of)
    for rate in np.linspace(0.1, 0.01, 8):  # noqa: B007  # the optimizers read it
        train(pair, of, rng, steps=1)
    assert_same(pair, of)


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clip_of_zero_does_not_clip_as_in_keras(clip: str, rng: np.random.Generator) -> None:
    of = models()
    pair = optimizers("sgd", **{clip: 0.0})
    train(pair, of, rng, steps=3)
    assert_same(pair, of)


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("bad", [np.inf, np.nan, 0.0])
def test_clipping_of_gradients_that_are_not_finite_or_zero_equals_keras(
    clip: str, bad: float, rng: np.random.Generator
) -> None:
    of = models()
    pair = optimizers("sgd", **{clip: 0.5})
    grads = gradients(rng, of[0])
    grads[4] = np.full_like(grads[4], bad)
    step(pair, of, [*grads])
    for own, their in zip(of[0].get_weights(), of[1].get_weights(), strict=True):
        np.testing.assert_allclose(own, their, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_zero_equal_keras(kind: str, rng: np.random.Generator) -> None:
    of = models()
    pair = optimizers(kind)
    build(pair, of)
    for index in range(6):
        grads = gradients(rng, of[0])
        step(pair, of, [grad * (index > 2) * (np.abs(grad) > 0.5) for grad in grads])
    assert_same(pair, of)


def test_adam_at_large_epsilon_is_kerass_and_not_torchs(rng: np.random.Generator) -> None:
    of = models()
    pair = optimizers("adam epsilon")
    params = [torch.nn.Parameter(w.value.detach().clone()) for w in of[0].trainable_weights]
    torchs = torch.optim.Adam(params, lr=0.01, betas=(0.8, 0.999), eps=1e-3)
    for _ in range(STEPS):
        grads = [grad * 1e-3 for grad in gradients(rng, of[0])]
        step(pair, of, [*grads])
        for param, grad in zip(params, grads, strict=True):
            param.grad = torch.tensor(grad)
        torchs.step()
    assert_same(pair, of)
    own = of[0].get_weights()[3]
    assert np.abs(own - params[3].detach().numpy()).max() > 1e-3
