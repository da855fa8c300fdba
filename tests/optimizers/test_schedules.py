"""Schedules: what they take and return, users' own, errors, where they are computed, resuming."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import layers, optimizers
from torchseq.optimizers import SGD, Adam, schedules

Array = np.ndarray[Any, Any]
ALL = [
    schedules.ExponentialDecay(0.1, 7, 0.5),
    schedules.ExponentialDecay(0.1, 7, 0.5, staircase=True),
    schedules.InverseTimeDecay(0.1, 5, 0.3),
    schedules.PolynomialDecay(0.1, 20, power=2.0),
    schedules.PolynomialDecay(0.1, 6, cycle=True),
    schedules.CosineDecay(0.1, 20, warmup_target=0.2, warmup_steps=3),
    schedules.CosineDecayRestarts(0.1, 6),
    schedules.CosineDecayRestarts(0.1, 6, t_mul=1.0),
    schedules.PiecewiseConstantDecay([3, 8], [0.1, 0.05, 0.01]),
]


def network() -> Any:
    return torchseq.Sequential([torchseq.Input((3,)), layers.Dense(2)])


def data(rng: np.random.Generator) -> tuple[Array, Array]:
    return rng.normal(size=(16, 3)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")


# --- steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ALL)
def test_steps_of_all_kinds_give_the_same_rate_as_a_tensor(schedule: Any) -> None:
    expected = schedule.at(4)
    variable = torchseq.Variable(np.int32(4), trainable=False)
    for step in (4, 4.0, np.int64(4), np.array(4), torch.tensor(4), variable):
        rate = schedule(step)
        assert isinstance(rate, torch.Tensor)
        assert rate.shape == ()
        assert rate.dtype is torch.float32
        assert float(rate) == expected
    assert type(expected) is float
    assert schedule(np.arange(5)).shape == (5,)
    assert float(schedule(np.arange(5))[4]) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ALL)
def test_no_value_of_a_tensor_is_read(schedule: Any) -> None:
    rate = schedule(torch.tensor(4, device="meta"))  # a tensor without values
    assert rate.device.type == "meta"
    assert rate.shape == ()


def test_pieces_are_right_for_steps_that_float32_cannot_count() -> None:
    schedule = schedules.PiecewiseConstantDecay([2**24], [0.5, 0.25])
    assert schedule.at(2**24) == 0.5
    assert schedule.at(2**24 + 1) == 0.25
    assert float(schedule(torch.tensor(2**24 + 1))) == 0.25
    assert schedules.PiecewiseConstantDecay([], [0.5]).at(3) == 0.5


def test_integer_rates_are_the_numbers_they_are() -> None:
    assert schedules.ExponentialDecay(1, 10, 0.25).at(5) == 0.5
    assert schedules.CosineDecay(0, 10, warmup_target=0.5, warmup_steps=2).at(1) == 0.25


# --- in optimizers ------------------------------------------------------------------------------


class Halving(schedules.LearningRateSchedule):
    def __init__(self, rate: float = 0.5):
        self.rate = rate

    def __call__(self, step: Any) -> Any:
        return self.rate * 0.5**step

    def get_config(self) -> Any:
        return {"rate": self.rate}


class Own(schedules.LearningRateSchedule):
    """Calls one function on the step."""

    def __init__(self, function: Any):
        self.function = function

    def __call__(self, step: Any) -> Any:
        return self.function(step)


@pytest.mark.parametrize(
    "function",
    [
        lambda step: 0.1 / (step + 1),
        lambda step: 0.1 / math.sqrt(step + 1),
        lambda step: 0.1 / np.sqrt(np.float32(step) + 1),
        lambda step: 0.1 / torch.sqrt(step + 1.0),
        lambda step: 0.1 if step < 3 else 0.01,
        lambda step: [0.1, 0.2, 0.3, 0.4, 0.5][step],
        lambda step: 0.1 * min(step + 1, 3) ** -0.5,
        lambda step: schedules.ExponentialDecay(0.1, 3, 0.5)(step) + 0.01,
        lambda step: 0.1 + int(step),
    ],
)
def test_schedules_of_users_compute_in_their_own_way(function: Any) -> None:
    optimizer = SGD(Own(function))
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer.build([weight])
    for step in range(5):
        expected = float(function(torch.tensor(step, dtype=torch.int32)))
        assert float(optimizer.learning_rate) == pytest.approx(expected)
        before = float(weight.detach())
        weight.grad = torch.ones(())
        optimizer.step()
        assert before - float(weight.detach()) == pytest.approx(expected, rel=1e-5)


def test_schedules_derived_from_keras_own_are_asked_themselves() -> None:
    class Floored(schedules.ExponentialDecay):
        def __call__(self, step: Any) -> Any:
            return torch.clamp(super().__call__(step), min=0.25)

    optimizer = SGD(Floored(0.5, 1, 0.5))
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer.build([weight])
    for _ in range(4):
        weight.grad = torch.ones(())
        optimizer.step()
    assert float(weight.detach()) == -(0.5 + 3 * 0.25)


def test_a_step_computes_its_rate_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = Adam(schedules.CosineDecay(0.1, 10))
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer.build([weight])

    def refuse(*given: Any) -> Any:
        raise AssertionError("a step made a tensor of its number")

    monkeypatch.setattr(schedules.CosineDecay, "formula", lambda *given: np.float32(0.5))
    monkeypatch.setattr(type(optimizer._iterations._owner), "tensor", property(refuse))
    weight.grad = torch.ones(2)
    optimizer.step()
    np.testing.assert_allclose(weight.detach(), [-0.5, -0.5], rtol=1e-5)


NAMES = [
    name
    for name in optimizers.__all__
    if isinstance(getattr(optimizers, name), type)
    and name not in {"Optimizer", "TorchOptimizer", "LossScaleOptimizer", "MultiOptimizer"}
]


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_takes_a_schedule_and_its_config_goes_round(name: str) -> None:
    cls = getattr(optimizers, name)
    schedule = schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=2)
    made = cls(learning_rate=schedule)
    back = optimizers.deserialize(optimizers.serialize(made))
    assert type(back) is cls
    assert back.get_config() == made.get_config()
    assert float(back.learning_rate) == schedule.at(0)
    weight = torch.nn.Parameter(torch.ones(2, 2))
    back.build([weight])
    weight.grad = torch.ones(2, 2)
    back.step()
    assert float(back.learning_rate) == schedule.at(1)
    assert [variable.name for variable in back.variables].count("learning_rate") == 0


def test_a_rate_that_follows_a_schedule_cannot_be_set() -> None:
    optimizer = SGD(schedules.ExponentialDecay(0.1, 10, 0.5))
    with pytest.raises(TypeError, match="follows a schedule and cannot be set"):
        optimizer.learning_rate = 0.2
    optimizer.learning_rate = schedules.PolynomialDecay(0.3, 10)
    assert float(optimizer.learning_rate) == pytest.approx(0.3)


# --- files and copies ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".keras", ".h5"])
@pytest.mark.parametrize("schedule", [ALL[5], Halving()])
def test_training_goes_on_from_a_file_at_the_step_of_the_schedule(
    suffix: str, schedule: Any, tmp_path: Any, rng: np.random.Generator
) -> None:
    x, y = data(rng)
    model = network()
    model.compile(Adam(schedule), "mse")
    model.fit(x, y, batch_size=4, verbose=0)
    path = tmp_path / f"m{suffix}"
    model.save(path)
    loaded = torchseq.saving.load_model(path, custom_objects={"Halving": Halving})
    assert type(loaded.optimizer._learning_rate) is type(schedule)
    assert float(loaded.optimizer.learning_rate) == float(schedule(4))
    for each in (model, loaded):
        each.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("schedule", [*ALL, Halving()])
def test_schedules_are_copied_and_pickled(schedule: Any) -> None:
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert other.get_config() == schedule.get_config()
        assert float(other(3)) == float(schedule(3))


def test_numbers_in_tensors_and_arrays_become_plain_numbers() -> None:
    schedule = schedules.PolynomialDecay(torch.tensor(0.5), np.int64(10), np.float32(0.25))
    assert schedule.get_config()["initial_learning_rate"] == 0.5
    assert schedules.serialize(schedule)["config"]["decay_steps"] == 10
    assert schedule.at(10) == 0.25


# --- errors -------------------------------------------------------------------------------------


def test_a_schedule_must_have_its_methods() -> None:
    base = schedules.LearningRateSchedule()
    with pytest.raises(NotImplementedError, match="must have `__call__"):
        base(0)
    with pytest.raises(NotImplementedError, match="must have `get_config` to be saved"):
        base.get_config()
    with pytest.raises(ValueError, match="'NoDecay'"):
        schedules.deserialize({"class_name": "NoDecay", "config": {}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.ExponentialDecay(-0.1, 1, 0.5), "`initial_learning_rate` must be at l"),
        (lambda: schedules.ExponentialDecay("a", 1, 0.5), "`initial_learning_rate` must be at l"),
        (lambda: schedules.ExponentialDecay(0.1, 1, -0.5), "`decay_rate` must be at least 0"),
        (lambda: schedules.InverseTimeDecay(0.1, None, 1.0), "`decay_steps` must be a number"),
        (lambda: schedules.PolynomialDecay(0.1, 5, -1.0), "`end_learning_rate` must be at least 0"),
        (lambda: schedules.PolynomialDecay(0.1, 5, power="x"), "`power` must be a number"),
        (lambda: schedules.CosineDecay(0.1, 5, warmup_target=-1), "`warmup_target` must be at l"),
        (lambda: schedules.CosineDecay(0.1, 5, warmup_steps=-1), "`warmup_steps` must be at least"),
        (
            lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0),
            "`t_mul` must be > 0; got t_mul=0",
        ),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, m_mul=-2), "`m_mul` must be at least 0"),
        (lambda: schedules.PiecewiseConstantDecay([3, 2], [1, 2, 3]), r"increase; got .*\[3, 2\]"),
        (lambda: schedules.PiecewiseConstantDecay([3], [1.0, -1.0]), "`values` must be at least 0"),
    ],
)
def test_bad_arguments_are_refused_at_once(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
