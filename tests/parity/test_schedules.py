"""Schedules against live Keras: 200 steps of each with its options, configs, training, files."""

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchseq
from torchseq.optimizers import schedules

STEPS = 200

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "exponential": ("ExponentialDecay", {"decay_steps": 30, "decay_rate": 0.7}),
    "exponential staircase": (
        "ExponentialDecay",
        {"decay_steps": 30, "decay_rate": 0.7, "staircase": True, "name": "own"},
    ),
    "exponential growing": ("ExponentialDecay", {"decay_steps": 7.5, "decay_rate": 1.3}),
    "exponential to zero": ("ExponentialDecay", {"decay_steps": 9, "decay_rate": 0.0}),
    "inverse": ("InverseTimeDecay", {"decay_steps": 11, "decay_rate": 0.5}),
    "inverse staircase": (
        "InverseTimeDecay",
        {"decay_steps": 11, "decay_rate": 0.5, "staircase": True},
    ),
    "inverse through infinity": ("InverseTimeDecay", {"decay_steps": 10, "decay_rate": -1.0}),
    "polynomial": ("PolynomialDecay", {"decay_steps": 150}),
    "polynomial root": ("PolynomialDecay", {"decay_steps": 190, "power": 0.5}),
    "polynomial to zero": (
        "PolynomialDecay",
        {"decay_steps": 199, "power": 2.3, "end_learning_rate": 0.0},
    ),
    "polynomial cycle": ("PolynomialDecay", {"decay_steps": 40, "power": 1.5, "cycle": True}),
    "polynomial rising": ("PolynomialDecay", {"decay_steps": 60, "end_learning_rate": 0.9}),
    "cosine": ("CosineDecay", {"decay_steps": 200}),
    "cosine short": ("CosineDecay", {"decay_steps": 120, "alpha": 0.1}),
    "cosine fraction": ("CosineDecay", {"decay_steps": 110.5, "alpha": 1.5}),
    "cosine warm-up": (
        "CosineDecay",
        {"decay_steps": 130, "warmup_target": 0.3, "warmup_steps": 37, "alpha": 0.01},
    ),
    "cosine no warm-up steps": ("CosineDecay", {"decay_steps": 50, "warmup_target": 0.3}),
    "cosine no target": ("CosineDecay", {"decay_steps": 50, "warmup_steps": 20}),
    "restarts": ("CosineDecayRestarts", {"first_decay_steps": 20}),
    "restarts even": (
        "CosineDecayRestarts",
        {"first_decay_steps": 17, "t_mul": 1.0, "m_mul": 0.8, "alpha": 0.05},
    ),
    "restarts slower": (
        "CosineDecayRestarts",
        {"first_decay_steps": 13, "t_mul": 1.5, "m_mul": 0.6, "alpha": 0.1},
    ),
    "restarts that end": ("CosineDecayRestarts", {"first_decay_steps": 90, "t_mul": 0.5}),
    "piecewise": (
        "PiecewiseConstantDecay",
        {"boundaries": [40, 41, 150], "values": [0.4, 0.3, 0.2, 0.05]},
    ),
    "piecewise fraction": (
        "PiecewiseConstantDecay",
        {"boundaries": [10.5, 60.0], "values": [0.4, 0.3, 0.7]},
    ),
    "piecewise one": ("PiecewiseConstantDecay", {"boundaries": [100], "values": [0.1, 0.01]}),
}
NAMES = sorted({name for name, _ in CASES.values()})


def options_of(case: str) -> tuple[str, dict[str, Any]]:
    name, options = CASES[case]
    if name == "PiecewiseConstantDecay":
        return name, options
    return name, {"initial_learning_rate": 0.37, **options}


def pair(case: str) -> tuple[Any, Any]:
    name, options = options_of(case)
    theirs = getattr(keras.optimizers.schedules, name)(**options)
    return getattr(schedules, name)(**options), theirs


def floats(values: Any) -> Any:
    return np.array([float(value) for value in values])


@pytest.mark.parametrize("case", CASES)
def test_rates_of_all_steps_are_those_of_keras(case: str) -> None:
    ours, theirs = pair(case)
    expected = floats(theirs(step) for step in range(STEPS))
    # Not within 1e-5, but equal: where a rate comes near 0, one more rounding is seen.
    np.testing.assert_array_equal([ours.at(step) for step in range(STEPS)], expected)
    np.testing.assert_array_equal(floats(ours(step) for step in range(STEPS)), expected)
    tensors = floats(ours(torch.tensor(step)) for step in range(STEPS))
    np.testing.assert_array_equal(tensors, expected)
    # Whole tensors go through vector instructions, which round cosines and powers their own way.
    np.testing.assert_allclose(ours(torch.arange(STEPS)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_rates_in_float64_are_those_of_keras(case: str) -> None:
    before = keras.config.floatx(), torchseq.config.floatx()
    try:
        keras.config.set_floatx("float64")
        torchseq.config.set_floatx("float64")
        ours, theirs = pair(case)
        expected = floats(theirs(step) for step in range(0, STEPS, 3))
        np.testing.assert_array_equal([ours.at(step) for step in range(0, STEPS, 3)], expected)
        assert ours(3).dtype is torch.float64
    finally:
        keras.config.set_floatx(before[0])
        torchseq.config.set_floatx(before[1])


@pytest.mark.parametrize("case", CASES)
def test_configs_are_those_of_keras_and_go_round(case: str) -> None:
    ours, theirs = pair(case)
    config = keras.optimizers.schedules.serialize(theirs)
    assert schedules.serialize(ours) == config
    back = schedules.deserialize(config)
    assert type(back) is type(ours)
    assert back.get_config() == ours.get_config()
    old = {"class_name": config["class_name"], "config": config["config"]}  # of Keras 2
    assert schedules.deserialize(old).get_config() == ours.get_config()
    again = keras.optimizers.schedules.deserialize(schedules.serialize(ours))
    assert again.get_config() == theirs.get_config()


@pytest.mark.parametrize("name", [*NAMES, "LearningRateSchedule", "serialize", "deserialize"])
def test_arguments_and_defaults_are_those_of_keras(name: str) -> None:
    ours = inspect.signature(getattr(schedules, name)).parameters
    theirs = inspect.signature(getattr(keras.optimizers.schedules, name)).parameters
    assert {key: p.default for key, p in ours.items()} == {
        key: p.default for key, p in theirs.items()
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ExponentialDecay", {"decay_steps": 0, "decay_rate": 0.5}),
        ("InverseTimeDecay", {"decay_steps": -1, "decay_rate": 0.5}),
        ("PolynomialDecay", {"decay_steps": 0}),
        ("CosineDecay", {"decay_steps": -3}),
        ("CosineDecayRestarts", {"first_decay_steps": 0}),
    ],
)
def test_numbers_of_steps_are_checked_as_in_keras(name: str, options: dict[str, Any]) -> None:
    key = "first_decay_steps" if name.endswith("Restarts") else "decay_steps"
    for library in (keras.optimizers.schedules, schedules):
        with pytest.raises(ValueError, match=rf"`{key}` must be > 0.* {key}={options[key]}\b"):
            getattr(library, name)(0.1, **options)


def test_numbers_of_values_are_checked_as_in_keras() -> None:
    for library in (keras.optimizers.schedules, schedules):
        with pytest.raises(ValueError, match="length of .?boundaries.? (must|should) be 1 less"):
            library.PiecewiseConstantDecay([1, 2], [0.1, 0.2])


class Noam(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A user's, as it stands in tutorials; one text for both libraries."""

    def __call__(self, step: Any) -> Any:
        step = step + 1
        return 0.3 * min(step**-0.5, step * 20**-1.5)


class OurNoam(schedules.LearningRateSchedule):
    __call__ = Noam.__call__


def network(library: Any) -> Any:
    return library.Sequential([library.Input((3,)), library.layers.Dense(2)])


def rates_in_training(optimizer: Any, steps: int) -> list[float]:
    """Train a weight on gradients of 1 with SGD, which shows the rate of each step."""
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer.build([weight])
    rates = []
    for _ in range(steps):
        before = float(weight.detach())
        weight.grad = torch.ones(())
        optimizer.step()
        rates.append(before - float(weight.detach()))
        with torch.no_grad():
            weight.zero_()
    return rates


@pytest.mark.parametrize("case", ["cosine warm-up", "restarts slower", "piecewise", "own"])
def test_optimizers_take_the_rate_of_each_step(case: str, rng: np.random.Generator) -> None:
    ours, theirs = (OurNoam(), Noam()) if case == "own" else pair(case)
    rates = rates_in_training(torchseq.optimizers.SGD(ours), STEPS)
    np.testing.assert_allclose(rates, floats(theirs(step) for step in range(STEPS)), rtol=1e-6)


@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("case", ["cosine warm-up", "restarts slower", "own"])
def test_weights_after_training_are_those_of_keras(
    case: str, steps: int | None, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(64, 3)).astype("float32"), rng.normal(size=(64, 2)).astype("float32")
    ours, theirs = (OurNoam(), Noam()) if case == "own" else pair(case)
    models = []
    for library, schedule in ((torchseq, ours), (keras, theirs)):
        model = network(library)
        models.append(model)
        model.set_weights([np.full((3, 2), 0.1, "float32"), np.zeros(2, "float32")])
        adam = library.optimizers.Adam(schedule, gradient_accumulation_steps=steps)
        model.compile(adam, "mse")
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    rates = [float(model.optimizer.learning_rate) for model in models]
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)


def test_files_of_keras_bring_their_schedule(tmp_path: Any, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    for source, target in ((keras, torchseq), (torchseq, keras)):
        model = network(source)
        schedule = source.optimizers.schedules.PolynomialDecay(0.1, 10, power=2.0)
        model.compile(source.optimizers.SGD(schedule), "mse")
        model.fit(x, y, batch_size=2, epochs=1, verbose=0)
        model.save(tmp_path / "m.keras")
        other = target.saving.load_model(tmp_path / "m.keras")
        assert int(other.optimizer.iterations) == 4
        assert float(other.optimizer.learning_rate) == float(model.optimizer.learning_rate)
