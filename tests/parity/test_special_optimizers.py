"""Adafactor, Muon, ScheduleFreeAdamW and LossScaleOptimizer against live Keras."""

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from tests import optimizer_parity
from tests.optimizer_parity import (
    MODELS,
    OPTIONS,
    STEPS,
    TOLERANCE,
    Array,
    Falling,
    Pair,
    assert_close,
    assert_same,
    assert_train_alike,
    assert_train_alike_at_new_rates,
    assert_train_alike_to_the_end,
    assert_train_alike_with_gaps,
    build,
    gradients,
    images,
    models,
    numbers,
    step,
    train,
)

# Name of the row -> class, its own options.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "adafactor": ("Adafactor", {"learning_rate": 0.05}),
    "adafactor options": (
        "Adafactor",
        {"learning_rate": 0.5, "beta_2_decay": -0.5, "epsilon_2": 0.1, "clip_threshold": 0.3},
    ),
    "adafactor epsilon": (
        "Adafactor",
        {"learning_rate": 0.02, "epsilon_1": 1e-2, "relative_step": False},
    ),
    "schedule free": ("ScheduleFreeAdamW", {"learning_rate": 0.02}),
    "schedule free options": (
        "ScheduleFreeAdamW",
        {"learning_rate": 0.05, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "schedule free warmup": ("ScheduleFreeAdamW", {"learning_rate": 0.05, "warmup_steps": 11}),
    "muon": ("Muon", {"learning_rate": 0.01}),
    "muon options": (
        "Muon",
        {
            "learning_rate": 0.02,
            "momentum": 0.8,
            "ns_steps": 3,
            "nesterov": False,
            "rms_rate": None,
            "adam_lr_ratio": 0.5,
            "adam_weight_decay": None,
            "exclude_embeddings": False,
        },
    ),
    "muon exclusions": (
        "Muon",
        {
            "exclude_layers": ["dense_1", "gru.*recurrent"],
            "weight_decay": None,
            "adam_weight_decay": 0.1,
            "adam_beta_1": 0.8,
            "adam_beta_2": 0.9,
            "epsilon": 1e-3,
            "muon_a": 2.0,
            "muon_b": -1.5,
            "muon_c": 0.5,
        },
    ),
}
CLASSES = ["Adafactor", "ScheduleFreeAdamW", "Muon"]
FIRST = ["adafactor", "schedule free", "muon"]


def tables(library: Any) -> Any:
    """Returns a model with an embedding, which torch keeps as Keras does."""
    layers = library.layers
    return library.Sequential(
        [
            library.Input((3,), dtype="int32"),
            layers.Embedding(5, 4),
            layers.Flatten(),
            layers.Dense(6),
            layers.LayerNormalization(),
            layers.Dense(2),
        ]
    )


optimizers = partial(optimizer_parity.optimizers, kinds=KINDS)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", FIRST)
def test_weights_and_state_equal_keras_after_30_steps(
    kind: str, options: str, rng: np.random.Generator
) -> None:
    assert_train_alike_to_the_end(optimizers(kind, **OPTIONS[options]), rng)


@pytest.mark.parametrize("make", [*MODELS, tables])
@pytest.mark.parametrize(
    ("kind", "options"), [*((kind, "plain") for kind in KINDS), *((kind, "all") for kind in FIRST)]
)
def test_all_layouts_of_weights(
    kind: str, make: Any, options: str, rng: np.random.Generator
) -> None:
    assert_train_alike(optimizers(kind, **OPTIONS[options]), rng, make)


@pytest.mark.filterwarnings("ignore:.*Gradients do not exist")
@pytest.mark.parametrize("options", ["plain", "accumulation", "all"])
@pytest.mark.parametrize("kind", FIRST)
def test_weights_without_gradient_stay_as_in_keras(
    kind: str, options: str, rng: np.random.Generator
) -> None:
    assert_train_alike_with_gaps(optimizers(kind, **OPTIONS[options]), rng)


@pytest.mark.parametrize("kind", FIRST)
def test_rate_that_changes_between_steps(kind: str, rng: np.random.Generator) -> None:
    assert_train_alike_at_new_rates(optimizers(kind, weight_decay=0.01), rng, numbers)


@pytest.mark.parametrize("name", CLASSES)
def test_schedules_and_gradients_of_zero(name: str, rng: np.random.Generator) -> None:
    of = models(numbers)
    pair = tuple(
        getattr(library.optimizers, name)(Falling(), gradient_accumulation_steps=2)
        for library in (torchseq, keras)
    )
    build(pair, of)
    step(pair, of, [np.zeros_like(grad) for grad in gradients(rng, of[0])])
    train(pair, of, rng, steps=9)
    assert_same(pair, of)


# --- LossScaleOptimizer -------------------------------------------------------------------------

INNER: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {"learning_rate": 0.01}),
    "adamw": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.1, "clipnorm": 0.7}),
    "adam averages": ("Adam", {"use_ema": True, "ema_overwrite_frequency": 3}),
    "momentum": ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    "accumulation": ("RMSprop", {"learning_rate": 0.01, "gradient_accumulation_steps": 3}),
    "nadam": ("Nadam", {"learning_rate": 0.01, "global_clipnorm": 1.0}),
    "schedule free": ("ScheduleFreeAdamW", {"learning_rate": 0.01, "warmup_steps": 5}),
    "adafactor": ("Adafactor", {"learning_rate": 0.05}),
    "muon": ("Muon", {"learning_rate": 0.01}),
    "schedule": ("SGD", {"learning_rate": Falling()}),
}


def scaled(kind: str, **options: Any) -> Pair:
    name, own = INNER[kind]
    ours, theirs = (
        library.optimizers.LossScaleOptimizer(
            getattr(library.optimizers, name)(**own), **{"initial_scale": 8.0, **options}
        )
        for library in (torchseq, keras)
    )
    return ours, theirs


@pytest.fixture(params=["host", "device"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Steps as on the CPU, or as where reading a flag would wait for a device."""
    if request.param == "device":
        monkeypatch.setattr("torchseq.optimizers.loss_scale._is_on_host", lambda tensor: False)
    return str(request.param)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("kind", "make"),
    [*((kind, numbers) for kind in INNER), ("adam", images), ("adafactor", images)],
)
def test_steps_that_are_not_finite_are_left_out_as_in_keras(
    kind: str, make: Any, rng: np.random.Generator
) -> None:
    of = models(make)
    pair = scaled(kind, dynamic_growth_steps=4)
    build(pair, of)
    for index in range(STEPS):
        scale = float(pair[0].dynamic_scale)
        grads = [np.asarray(grad * scale, "float32") for grad in gradients(rng, of[0])]
        if index in (0, 5, 6, 17):
            bad = grads[index % len(grads)]
            bad[(0,) * bad.ndim] = (np.inf, -np.inf, np.nan)[index % 3]
        step(pair, of, [*grads])
    if kind == "nadam":  # Keras's does not show the product of its momenta here, and forgets it
        assert_close("product", *([v.numpy()] for v in products(pair)), TOLERANCE)
        pair[0].inner_optimizer._variables.pop()
    assert_same(pair, of)
    assert int(pair[0].inner_optimizer._iterations) == STEPS - 4


def products(pair: Pair) -> tuple[Any, Any]:
    return pair[0].variables[-1], pair[1].inner_optimizer._u_product


@pytest.mark.usefixtures("place")
@pytest.mark.filterwarnings("ignore:.*Gradients do not exist")
def test_missing_gradients_and_scale_of_the_loss(rng: np.random.Generator) -> None:
    of = models(numbers)
    pair = scaled("adam", initial_scale=3.0, dynamic_growth_steps=2)
    assert float(pair[0].scale_loss(torch.tensor(2.0))) == 6.0
    build(pair, of)
    for index in range(9):
        grads: list[Array | None] = [*gradients(rng, of[0])]
        grads[index % 4] = None
        if index == 4:
            grads[0] = np.full((5, 6), np.inf, "float32") if grads[0] is not None else None
        step(pair, of, grads)
        loss = torch.tensor(1.5)
        assert float(pair[0].scale_loss(loss)) == float(pair[1].scale_loss(loss))
    assert_same(pair, of)
    assert bool(pair[0].check_finite([None, torch.ones(2)]))
    assert not bool(pair[0].check_finite([torch.ones(2), torch.tensor([1.0, np.nan])]))


# --- Configs and files --------------------------------------------------------------------------


def made(kind: str) -> Pair:
    return optimizers(kind) if kind in KINDS else scaled(kind.removeprefix("scaled "))


ALL = [*KINDS, "scaled adam", "scaled accumulation"]


@pytest.mark.parametrize("kind", ALL)
def test_config_equals_keras_and_goes_round(kind: str) -> None:
    ours, theirs = made(kind)
    config, expected = ours.get_config(), theirs.get_config()
    if "inner_optimizer" in config:  # Keras's "module" is a private one of its torch backend
        for one in (config, expected):
            one["inner_optimizer"] = one["inner_optimizer"]["config"]
    assert config == expected
    assert list(config) == list(expected)
    again = type(ours).from_config(ours.get_config())
    assert again.get_config() == ours.get_config()
    serialized = torchseq.optimizers.serialize(ours)
    assert torchseq.optimizers.deserialize(serialized).get_config() == ours.get_config()
    assert type(keras.optimizers.deserialize(serialized)) is type(theirs)


@pytest.mark.parametrize("name", CLASSES)
def test_default_config_equals_keras(name: str) -> None:
    ours = getattr(torchseq.optimizers, name)()
    assert ours.get_config() == getattr(keras.optimizers, name)().get_config()
    for identifier in (name, name.lower(), {"class_name": name, "config": {}}):
        assert type(torchseq.optimizers.get(identifier)) is type(ours)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("kind", ["adafactor", "schedule free", "muon", "scaled adam"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_state_travels_in_files_both_ways(
    kind: str, suffix: str, tmp_path: Any, rng: np.random.Generator
) -> None:
    of = models(numbers)
    pair = made(kind)
    for model, optimizer in zip(of, pair, strict=True):
        model.compile(optimizer, "mse")
    x, y = rng.normal(size=(8, 5)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")
    for model in of:
        model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
    cases = list(zip(of, readers(suffix), strict=True))
    if (kind, suffix) == ("adafactor", "h5"):
        cases.pop()  # Keras cannot write it: two variables have one path
    for index, (model, reader) in enumerate(cases):
        path = str(tmp_path / f"{index}.{suffix}")
        model.save(path)
        loaded = reader.models.load_model(path)
        saved, found = (list(m.optimizer.variables) for m in (model, loaded))
        for one, two in zip(found, saved, strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy())
        for one in (loaded, model):
            one.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
        assert_close("weight", loaded.get_weights(), model.get_weights(), TOLERANCE)


def readers(suffix: str) -> tuple[Any, Any]:
    """Returns who reads our file, and who reads Keras's.

    Keras builds the optimizer of a loaded `.h5` model for no weights: it reads no state.
    """
    return (torchseq if suffix == "h5" else keras), torchseq
