"""Optimizers against live Keras: weights and state after many steps, configs, errors, rates."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq

Array = np.ndarray[Any, Any]
STEPS = 30

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {"learning_rate": 0.01}),
    "adam epsilon": ("Adam", {"learning_rate": 0.01, "epsilon": 1e-3, "beta_1": 0.8}),
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True, "beta_2": 0.9}),
    "sgd": ("SGD", {"learning_rate": 0.1}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01}),
    "rmsprop momentum": ("RMSprop", {"learning_rate": 0.01, "rho": 0.8, "momentum": 0.5}),
    "rmsprop centered": ("RMSprop", {"learning_rate": 0.01, "centered": True, "momentum": 0.3}),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipnorm": {"clipnorm": 0.7},
    "clipvalue": {"clipvalue": 0.2},
    "global_clipnorm": {"global_clipnorm": 1.3},
    "decay": {"weight_decay": 0.05},
    "ema": {"use_ema": True, "ema_momentum": 0.9},
    "ema overwriting": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 7},
    "accumulation": {"gradient_accumulation_steps": 4},
    "loss scale": {"loss_scale_factor": 16.0},
    "all": {
        "weight_decay": 0.02,
        "clipnorm": 0.5,
        "use_ema": True,
        "ema_overwrite_frequency": 3,
        "loss_scale_factor": 4.0,
        "gradient_accumulation_steps": 2,
    },
}


def network(library: Any) -> Any:
    layers = library.layers
    return library.Sequential(
        [
            library.Input((6, 6, 2)),
            layers.Conv2D(3, 3, kernel_constraint="non_neg"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


def pair() -> tuple[Any, Any]:
    """Returns our network and Keras's, with equal weights."""
    ours, theirs = network(torchseq), network(keras)
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def optimizers(kind: str, **options: Any) -> tuple[Any, Any]:
    name, own = KINDS[kind]
    settings = {**own, **options}
    return (
        getattr(torchseq.optimizers, name)(**settings),
        getattr(keras.optimizers, name)(**settings),
    )


def gradients(rng: np.random.Generator, model: Any) -> list[Array]:
    return [
        (rng.normal(size=weight.shape) * rng.choice([0.05, 1.0])).astype("float32")
        for weight in model.trainable_weights
    ]


def step(ours: tuple[Any, Any], theirs: tuple[Any, Any], grads: list[Array | None]) -> None:
    """Gives both pairs of optimizer and model the same gradients; None is no gradient."""
    ours[0].apply(grads, ours[1].trainable_weights)
    tensors = [None if grad is None else torch.tensor(grad) for grad in grads]
    with torch.no_grad():
        theirs[0].apply(tensors, theirs[1].trainable_weights)


def assert_same_state(ours: Any, theirs: Any) -> None:
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    assert [v.shape for v in ours.variables] == [tuple(v.shape) for v in theirs.variables]
    assert [v.dtype for v in ours.variables] == [v.dtype for v in theirs.variables]
    for own, their in zip(ours.variables, theirs.variables, strict=True):
        assert_close(own.numpy(), their.value.detach().numpy())


def assert_same_weights(ours: Any, theirs: Any) -> None:
    for own, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(own, their)


def assert_close(own: Array, their: Array) -> None:
    """Compares to 1e-5 of the largest entry.

    Not closer: Keras rounds Adam's 1 - 0.999**step to float32, in the first steps a relative error
    of up to 5e-5 of the update, which stays in the weights.
    """
    np.testing.assert_allclose(own, their, rtol=1e-5, atol=1e-5 * max(np.abs(their).max(), 1e-2))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_state_equal_keras_after_30_steps(
    kind: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    our_model, their_model = pair()
    ours, theirs = optimizers(kind, **options)
    for optimizer in (ours, theirs):
        optimizer.exclude_from_weight_decay(
            var_list=[(our_model if optimizer is ours else their_model).trainable_weights[2]],
            var_names=["bias"],
        )
    for _ in range(STEPS):
        step((ours, our_model), (theirs, their_model), [*gradients(rng, our_model)])
    assert_same_weights(our_model, their_model)
    assert_same_state(ours, theirs)
    assert int(ours.iterations) == int(theirs.iterations)
    ours.finalize_variable_values(our_model.trainable_weights)
    theirs.finalize_variable_values(their_model.trainable_weights)
    assert_same_weights(our_model, their_model)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["adam", "nesterov", "rmsprop centered"])
def test_weights_without_gradient_stay_as_in_keras(
    kind: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    our_model, their_model = pair()
    ours, theirs = optimizers(kind, **options)
    for index in range(STEPS):
        grads: list[Array | None] = [*gradients(rng, our_model)]
        if index % 3 == 0:
            grads[1] = None
        if index % 7 == 2:
            grads[0] = grads[2] = None
        step((ours, our_model), (theirs, their_model), grads)
    assert_same_weights(our_model, their_model)
    assert_same_state(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_rate_that_changes_between_steps(kind: str, rng: np.random.Generator) -> None:
    our_model, their_model = pair()
    ours, theirs = optimizers(kind, weight_decay=0.01)
    for index in range(STEPS):
        if index % 5 == 0:
            ours.learning_rate = theirs.learning_rate = 0.1 / (index + 1)
        if index % 7 == 3:
            ours.learning_rate.assign(0.02)
            theirs.learning_rate.assign(0.02)
        step((ours, our_model), (theirs, their_model), [*gradients(rng, our_model)])
    assert_same_weights(our_model, their_model)
    assert_same_state(ours, theirs)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_config_equals_keras_and_goes_round(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = optimizers(kind, **options)
    assert ours.get_config() == theirs.get_config()
    again = type(ours).from_config(ours.get_config())
    assert again.get_config() == ours.get_config()
    serialized = torchseq.optimizers.serialize(ours)
    # Keras's "module" is a private one of its torch backend.
    assert serialized["config"] == keras.optimizers.serialize(theirs)["config"]
    assert torchseq.optimizers.deserialize(serialized).get_config() == ours.get_config()
    assert keras.optimizers.deserialize(serialized).get_config() == ours.get_config()


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop"])
def test_default_config_equals_keras(name: str) -> None:
    ours = getattr(torchseq.optimizers, name)()
    assert ours.get_config() == getattr(keras.optimizers, name)().get_config()
    for identifier in (name, name.lower(), {"class_name": name, "config": {}}):
        found = torchseq.optimizers.get(identifier)
        assert type(found) is type(ours)


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clip_of_zero_does_not_clip_as_in_keras(clip: str, rng: np.random.Generator) -> None:
    our_model, their_model = pair()
    ours, theirs = optimizers("sgd", **{clip: 0.0})
    for _ in range(3):
        step((ours, our_model), (theirs, their_model), [*gradients(rng, our_model)])
    assert_same_weights(our_model, their_model)


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("bad", [np.inf, np.nan, 0.0])
def test_clipping_of_gradients_that_are_not_finite_or_zero_equals_keras(
    clip: str, bad: float, rng: np.random.Generator
) -> None:
    our_model, their_model = pair()
    ours, theirs = optimizers("sgd", **{clip: 0.5})
    grads = gradients(rng, our_model)
    grads[3] = np.full_like(grads[3], bad)
    step((ours, our_model), (theirs, their_model), [*grads])
    assert_same_weights(our_model, their_model)


def test_schedule_is_asked_for_the_step_count(rng: np.random.Generator) -> None:
    class Falling(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return 0.1 / (1.0 + step)

        def get_config(self) -> dict[str, Any]:
            return {}

    our_model, their_model = pair()
    ours = torchseq.optimizers.SGD(Falling(), gradient_accumulation_steps=2)
    theirs = keras.optimizers.SGD(Falling(), gradient_accumulation_steps=2)
    for _ in range(STEPS):
        step((ours, our_model), (theirs, their_model), [*gradients(rng, our_model)])
    assert_same_weights(our_model, their_model)
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    assert float(ours.learning_rate) == pytest.approx(float(theirs.learning_rate))


def test_adam_at_large_epsilon_is_kerass_and_not_torchs(rng: np.random.Generator) -> None:
    our_model, their_model = pair()
    ours, theirs = optimizers("adam epsilon")
    params = [torch.nn.Parameter(w.value.detach().clone()) for w in our_model.trainable_weights]
    torchs = torch.optim.Adam(params, lr=0.01, betas=(0.8, 0.999), eps=1e-3)
    for _ in range(STEPS):
        grads = [grad * 1e-3 for grad in gradients(rng, our_model)]
        step((ours, our_model), (theirs, their_model), [*grads])
        for param, grad in zip(params, grads, strict=True):
            param.grad = torch.tensor(grad)
        torchs.step()
    assert_same_weights(our_model, their_model)
    own = our_model.get_weights()[2]
    assert np.abs(own - params[2].detach().numpy()).max() > 1e-3
