"""What the parity tests of optimizers share: the rows, the models, steps on both sides."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq

Array = np.ndarray[Any, Any]
Pair = tuple[Any, Any]  # ours, Keras's
STEPS = 30
TOLERANCE = 1e-5  # of the largest entry

# Name of the row -> class, its own options.
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
    "adamw": ("AdamW", {"learning_rate": 0.01}),
    "adamw amsgrad": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    "adamw epsilon": ("AdamW", {"epsilon": 1e-3, "beta_1": 0.7, "beta_2": 0.95}),
    "adamax": ("Adamax", {"learning_rate": 0.01}),
    "adamax epsilon": ("Adamax", {"epsilon": 0.1, "beta_1": 0.8, "beta_2": 0.9}),
    "nadam": ("Nadam", {"learning_rate": 0.01}),
    "nadam epsilon": ("Nadam", {"epsilon": 1e-3, "beta_1": 0.8, "beta_2": 0.9}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adadelta epsilon": ("Adadelta", {"learning_rate": 0.3, "rho": 0.8, "epsilon": 1e-3}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adagrad epsilon": ("Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 0.01}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
    "ftrl penalties": (
        "Ftrl",
        {
            "learning_rate": 0.2,
            "l1_regularization_strength": 0.3,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.05,
        },
    ),
    "ftrl power": (
        "Ftrl",
        {
            "learning_rate": 0.2,
            "learning_rate_power": -0.8,
            "initial_accumulator_value": 0.5,
            "beta": 0.3,
        },
    ),
    "ftrl fixed rate": ("Ftrl", {"learning_rate": 0.05, "learning_rate_power": 0.0}),
    "lion": ("Lion", {"learning_rate": 0.003}),
    "lion betas": ("Lion", {"learning_rate": 0.01, "beta_1": 0.7, "beta_2": 0.8}),
    "lamb": ("Lamb", {"learning_rate": 0.01}),
    "lamb epsilon": ("Lamb", {"epsilon": 0.01, "beta_1": 0.8, "beta_2": 0.9}),
}
CLASSES = sorted({name for name, _ in KINDS.values()})
FIRST = list({name: kind for kind, (name, _) in reversed(KINDS.items())}.values())
"""The first row of each class."""

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

# Every class with every option, every row plain and with many of them at once.
ROWS = [
    pytest.param(kind, options, id=f"{kind}-{name}")
    for kind in KINDS
    for name, options in OPTIONS.items()
    if kind in FIRST or name in ("plain", "all")
]


def _scale(library: Any) -> Any:
    """Returns a layer with a single weight of shape ()."""

    class Scale(library.layers.Layer):  # type: ignore[misc]
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight(shape=(), initializer="ones", name="factor")

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    return Scale(name="scale")


def images(library: Any) -> Any:
    """Returns a model whose torch kernels have Keras's axes in another order."""
    layers = library.layers
    return library.Sequential(
        [
            library.Input((6, 6, 2)),
            layers.Conv2D(3, 3, kernel_constraint="non_neg"),
            _scale(library),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


def sequences(library: Any) -> Any:
    """Returns a model of kernels with gates in another order, transposed and depthwise ones."""
    layers = library.layers
    return library.Sequential(
        [
            library.Input((7, 3)),
            layers.DepthwiseConv1D(2, depth_multiplier=2),
            layers.Conv1DTranspose(2, 3),
            layers.GRU(2, return_sequences=True),
            layers.LSTM(3),
            layers.Dense(2, use_bias=False),
        ]
    )


def numbers(library: Any) -> Any:
    """Returns a perceptron."""
    layers = library.layers
    return library.Sequential(
        [library.Input((5,)), layers.Dense(6, activation="relu"), layers.Dense(1)]
    )


MODELS = [images, sequences, numbers]


def models(make: Any = images) -> Pair:
    """Returns our model and Keras's, with equal weights."""
    ours, theirs = make(torchseq), make(keras)
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def optimizers(
    kind: str, *, kinds: dict[str, tuple[str, dict[str, Any]]] = KINDS, **options: Any
) -> Pair:
    """Returns our optimizer and Keras's for a row, with more options."""
    name, own = kinds[kind]
    settings = {**own, **options}
    return (
        getattr(torchseq.optimizers, name)(**settings),
        getattr(keras.optimizers, name)(**settings),
    )


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule as users write it."""

    def __call__(self, step: Any) -> Any:
        return 0.1 / (1.0 + step)

    def get_config(self) -> dict[str, Any]:
        return {}


def build(pair: Pair, of: Pair) -> None:
    """Makes the state of both optimizers, as `fit` does before the first step."""
    for optimizer, model in zip(pair, of, strict=True):
        optimizer.build(model.trainable_weights)


def gradients(rng: np.random.Generator, model: Any) -> list[Array]:
    return [
        (rng.normal(size=tuple(weight.shape)) * rng.choice([0.05, 1.0])).astype("float32")
        for weight in model.trainable_weights
    ]


def step(pair: Pair, of: Pair, grads: list[Array | None]) -> None:
    """Gives both optimizers and models the same gradients; None is no gradient."""
    pair[0].apply(grads, of[0].trainable_weights)
    tensors = [None if grad is None else torch.tensor(grad) for grad in grads]
    with torch.no_grad():
        pair[1].apply(tensors, of[1].trainable_weights)


def train(pair: Pair, of: Pair, rng: np.random.Generator, steps: int = STEPS) -> None:
    for _ in range(steps):
        step(pair, of, [*gradients(rng, of[0])])


def assert_train_alike(pair: Pair, rng: np.random.Generator, make: Any = images) -> None:
    """Weights and state are equal after many steps."""
    of = models(make)
    build(pair, of)
    train(pair, of, rng)
    assert_same(pair, of)


def assert_train_alike_to_the_end(pair: Pair, rng: np.random.Generator) -> None:
    """So they are with weights that do not decay, also after what `fit` does last."""
    of = models()
    for optimizer, model in zip(pair, of, strict=True):
        optimizer.exclude_from_weight_decay([model.trainable_weights[3]], ["bias"])
    build(pair, of)
    train(pair, of, rng)
    assert_same(pair, of)
    for optimizer, model in zip(pair, of, strict=True):
        optimizer.finalize_variable_values(model.trainable_weights)
    assert_same(pair, of)


def assert_train_alike_with_gaps(pair: Pair, rng: np.random.Generator) -> None:
    """So they are where some gradients are missing."""
    of = models()
    build(pair, of)
    for index in range(STEPS):
        grads: list[Array | None] = [*gradients(rng, of[0])]
        if index % 3 == 0:
            grads[1] = None
        if index % 7 == 2:
            grads[0] = grads[2] = None
        step(pair, of, grads)
    assert_same(pair, of)


def assert_train_alike_at_new_rates(
    pair: Pair, rng: np.random.Generator, make: Any = images
) -> None:
    """So they are where the rate is set between steps, in both ways."""
    of = models(make)
    build(pair, of)
    for index in range(STEPS):
        if index % 5 == 0:
            for optimizer in pair:
                optimizer.learning_rate = 0.1 / (index + 1)
        if index % 7 == 3:
            for optimizer in pair:
                optimizer.learning_rate.assign(0.02)
        train(pair, of, rng, steps=1)
    assert_same(pair, of)


def assert_same(pair: Pair, of: Pair, tolerance: float = TOLERANCE) -> None:
    """Weights, and paths, names, shapes, dtypes and values of the state are equal, in order."""
    weights = [model.get_weights() for model in of]
    assert_close("weight", weights[0], weights[1], tolerance)
    ours, theirs = (optimizer.variables for optimizer in pair)
    assert [v.path for v in ours] == [v.path for v in theirs]
    assert [v.name for v in ours] == [v.name for v in theirs]
    assert [v.shape for v in ours] == [tuple(v.shape) for v in theirs]
    assert [v.dtype for v in ours] == [v.dtype for v in theirs]
    slots: dict[str, list[tuple[Array, Array]]] = {}
    for own, their in zip(ours, theirs, strict=True):
        values = (own.numpy(), their.value.detach().numpy())
        slots.setdefault(own.name.rpartition("_")[2], []).append(values)
    for name, pairs in slots.items():
        assert_close(name, *map(list, zip(*pairs, strict=True)), tolerance)
    assert int(pair[0].iterations) == int(pair[1].iterations)


def assert_close(what: str, ours: list[Array], theirs: list[Array], tolerance: float) -> None:
    """Compares to `tolerance` times the largest entry of each of Keras's arrays.

    Few entries may all happen to be near 0 after many steps: they are taken for a tenth of the
    largest entry of all arrays at least, a single one for that entry.
    """
    largest = [np.abs(their).max(initial=0) for their in theirs]
    for own, their, scale in zip(ours, theirs, largest, strict=True):
        least = max(largest) / (1 if their.size == 1 else 10)
        bound = tolerance * max(scale, least)
        np.testing.assert_allclose(own, their, rtol=0, atol=bound, err_msg=what)
