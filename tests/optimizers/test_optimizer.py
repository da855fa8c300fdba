"""What all optimizers share: rates, errors, torch parameters, copies, several models, moves."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from torchseq import layers
from torchseq.optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Nadam,
    Optimizer,
    RMSprop,
)

Array = np.ndarray[Any, Any]
ALL = [
    Adam(0.01, amsgrad=True),
    SGD(0.05, momentum=0.9),
    RMSprop(0.01, momentum=0.5, centered=True),
    Adam(0.01, use_ema=True, gradient_accumulation_steps=2, weight_decay=0.1),
    AdamW(0.01),
    Adamax(0.01),
    Nadam(0.01),
    Nadam(0.01, use_ema=True, gradient_accumulation_steps=2, weight_decay=0.1),
    Adadelta(1.0),
    Adagrad(0.1),
    Ftrl(0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.01),
    Lion(0.01),
    Lamb(0.01),
]


def fresh(optimizer: Optimizer) -> Optimizer:
    return type(optimizer).from_config(optimizer.get_config())


def network() -> Any:
    return torchseq.Sequential(
        [torchseq.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(2)]
    )


def data(rng: np.random.Generator) -> tuple[Array, Array]:
    return rng.normal(size=(12, 3)).astype("float32"), rng.normal(size=(12, 2)).astype("float32")


def values(optimizer: Optimizer) -> list[Array]:
    return [variable.numpy() for variable in optimizer.variables]


def assert_equal(some: list[Array], others: list[Array]) -> None:
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


# --- learning rate ------------------------------------------------------------------------------


def test_learning_rate_is_read_and_set_in_all_the_ways_that_scripts_do() -> None:
    optimizer = Adam(0.5)
    assert float(optimizer.learning_rate) == 0.5
    assert optimizer.learning_rate.numpy() == np.float32(0.5)
    optimizer.learning_rate = 0.25
    assert float(optimizer.lr) == 0.25
    optimizer.lr = np.float32(0.125)
    assert float(optimizer.learning_rate) == 0.125
    optimizer.learning_rate.assign(0.1)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    optimizer.learning_rate = optimizer.learning_rate * 0.5
    assert float(optimizer.learning_rate) == pytest.approx(0.05)
    optimizer.learning_rate *= 0.5
    assert float(optimizer.learning_rate) == pytest.approx(0.025)
    assert float(SGD(lr=0.3).learning_rate) == pytest.approx(0.3)
    assert float(SGD(1).learning_rate) == 1
    assert optimizer.get_config()["learning_rate"] == pytest.approx(0.025)


def test_callable_rate_is_asked_at_each_step() -> None:
    rates = iter([0.5, 0.25, 0.0])
    optimizer = SGD(lambda: next(rates))
    weight = nn.Parameter(torch.zeros(2))
    for expected in (-0.5, -0.75, -0.75):
        optimizer.apply([torch.ones(2)], [weight])
        assert weight.tolist() == [expected, expected]
    assert [variable.name for variable in optimizer.variables] == ["iteration"]


def test_rate_can_become_a_callable_but_a_callable_no_number() -> None:
    optimizer = SGD(0.5)
    optimizer.learning_rate = lambda: 0.25
    assert optimizer.learning_rate == 0.25
    with pytest.raises(TypeError, match="SGD: the learning rate follows a schedule and cannot"):
        optimizer.learning_rate = 0.1


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": "fast"}, "`learning_rate` must be a number, a schedule or a callable"),
        ({"learning_rate": None}, "`learning_rate` must be a number"),
        ({"learning_rate": True}, "`learning_rate` must be a number"),
        ({"learning_rate": -0.1}, "`learning_rate` must be at least 0; got -0.1"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be at least 0; got nan"),
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "only one of `clipnorm`, `clipvalue` and"),
        ({"clipnorm": -1.0}, "`clipnorm` must be at least 0; got clipnorm=-1.0"),
        ({"use_ema": True, "ema_momentum": 1.5}, r"`ema_momentum` must be in \[0, 1\]; got"),
        (
            {"use_ema": True, "ema_overwrite_frequency": 0},
            "`ema_overwrite_frequency` must be a positive integer",
        ),
        ({"gradient_accumulation_steps": 1}, "`gradient_accumulation_steps` must be .* least 2"),
        ({"gradient_accumulation_steps": 2.5}, "`gradient_accumulation_steps` must be"),
        ({"rate": 0.1}, r"unrecognized arguments \['rate'\]"),
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", [Adam, SGD, RMSprop])
def test_errors_of_options(cls: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{cls.__name__}: .*{message}"):
        cls(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(momentum=1.5), r"SGD: `momentum` must be in \[0, 1\]; got momentum=1.5"),
        (lambda: SGD(momentum=-0.1), r"SGD: `momentum` must be in \[0, 1\]"),
        (lambda: Adam(beta_1="0.9"), "Adam: `beta_1` must be a number; got beta_1='0.9'"),
        (lambda: RMSprop(rho=2), r"RMSprop: `rho` must be in \[0, 1\]; got rho=2"),
    ],
)
def test_errors_of_own_options(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_names_name_the_nearest() -> None:
    with pytest.raises(
        ValueError, match="optimizer: 'adma' is not a known name. Nearest: .*'adam'"
    ):
        torchseq.optimizers.get("adma")
    assert type(torchseq.optimizers.get("RMSprop")) is RMSprop
    assert type(torchseq.optimizers.get("ADAM")) is Adam
    assert type(torchseq.optimizers.get(SGD)) is SGD


def test_errors_of_apply() -> None:
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))]
    optimizer = SGD()
    with pytest.raises(ValueError, match=r"SGD: apply\(grads\) without weights needs a built"):
        optimizer.apply([torch.ones(2)])
    optimizer.build(weights)
    with pytest.raises(ValueError, match="one gradient per weight; got 1 gradients for 2 weights"):
        optimizer.apply([torch.ones(2)])
    with pytest.raises(ValueError, match=r"must have its shape, \(2,\); got \(3,\)"):
        optimizer.apply([torch.ones(3), torch.ones(3)])


def test_errors_of_set_weights_change_nothing() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = Adam()
    optimizer.apply([torch.ones(2)], [weight])
    before = values(optimizer)
    with pytest.raises(ValueError, match="Adam: set_weights needs 4 arrays, as `variables` has"):
        optimizer.set_weights(before[:-1])
    with pytest.raises(ValueError, match=r"velocity' must have shape \(2,\); got \(5,\)"):
        optimizer.set_weights([np.int64(9), np.float32(9), np.ones(2), np.ones(5)])
    assert_equal(values(optimizer), before)
    optimizer.set_weights([np.int64(9), np.float32(0.5), np.ones(2), np.ones(2)])
    assert int(optimizer.iterations) == 9
    assert float(optimizer.learning_rate) == 0.5


def test_exclusions_come_before_building() -> None:
    optimizer = Adam(weight_decay=0.1)
    optimizer.build([nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="exclude_from_weight_decay must be called before"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])


@pytest.mark.parametrize("optimizer", [SGD(0.001), torch.optim.SGD], ids=["own", "torch"])
def test_constraints_are_looked_up_in_each_fit(optimizer: Any) -> None:
    model = torchseq.Sequential([torchseq.Input((2,)), layers.Dense(2), layers.Dense(2)])
    model.compile(optimizer, "mse")
    for layer in model.layers:
        layer.set_weights([-np.ones((2, 2)), np.zeros(2)])
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 2), "float32")
    first, second = (layer.kernel for layer in model.layers)
    model.fit(x, y, verbose=0)
    assert second.numpy().max() < 0
    second.constraint = torchseq.constraints.NonNeg()
    model.fit(x, y, verbose=0)
    assert second.numpy().min() == 0
    assert first.numpy().max() < 0


# --- plain torch --------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_plain_torch_parameters_are_trained_as_a_models_weights(
    optimizer: Optimizer, rng: np.random.Generator
) -> None:
    model = network()
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        for param, weight in zip(module.parameters(), model.parameters(), strict=True):
            param.copy_(weight)
    x, y = map(torch.tensor, data(rng))
    by_torch, by_fit = fresh(optimizer), fresh(optimizer)
    by_torch.build(list(module.parameters()))
    model.compile(by_fit, "mse")
    for _ in range(6):
        loss = ((module(x) - y) ** 2).mean()
        loss.backward()
        by_torch.step()
        by_torch.zero_grad()
        model.train_on_batch(x, y)
    assert all(param.grad is None for param in module.parameters())
    for param, weight in zip(module.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(param, weight)


@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_gradients_of_any_strides(optimizer: Optimizer, rng: np.random.Generator) -> None:
    grads = [rng.normal(size=(4, 3)).astype("float32") for _ in range(5)]
    results = []
    for turn in (torch.tensor, lambda grad: torch.tensor(grad.T.copy()).T, np.asfortranarray):
        weight = nn.Parameter(torch.ones(4, 3))
        own = fresh(optimizer)
        for grad in grads:
            own.apply([turn(grad)], [weight])  # type: ignore[no-untyped-call, operator]
        results.append(weight.detach())
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_gradient_of_broadcast_strides_in_step() -> None:
    weight = nn.Parameter(torch.ones(4, 3))
    optimizer = Adam(0.1)
    optimizer.build([weight])
    (weight.sum() * 2.0).backward()  # its gradient has strides of 0
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 3), 0.9))


# --- copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_copy_of_a_model_goes_on_training_by_itself(
    optimizer: Optimizer, copier: Any, rng: np.random.Generator
) -> None:
    model = network()
    own = fresh(optimizer)
    own.exclude_from_weight_decay([model.weights[0]], ["bias"])
    model.compile(own, "mse")
    x, y = data(rng)
    model.fit(x, y, epochs=2, verbose=0, shuffle=False, batch_size=4)
    before = model.get_weights(), values(model.optimizer)
    other = copier(model)
    other.fit(x, y, epochs=2, verbose=0, shuffle=False, batch_size=4)
    assert_equal(model.get_weights(), before[0])
    assert_equal(values(model.optimizer), before[1])
    model.fit(x, y, epochs=2, verbose=0, shuffle=False, batch_size=4)
    assert_equal(model.get_weights(), other.get_weights())
    assert_equal(values(model.optimizer), values(other.optimizer))


# --- several models -----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_one_object_in_two_models_trains_each_as_its_own(
    optimizer: Optimizer, rng: np.random.Generator
) -> None:
    x, y = data(rng)
    shared, models, alone = fresh(optimizer), [network(), network()], []
    for model in models:
        single = network()
        single.set_weights(model.get_weights())
        single.compile(fresh(optimizer), "mse")
        alone.append(single)
        model.compile(shared, "mse")
    for _ in range(3):
        for model in (*models, *alone):
            model.train_on_batch(x, y)
    for model in (*models, *alone):
        model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    for model, single in zip(models, alone, strict=True):
        assert_equal(model.get_weights(), single.get_weights())
        assert_equal(values(model.optimizer), values(single.optimizer))
    shared.learning_rate = 0.0
    assert [float(model.optimizer.learning_rate) for model in models] == [0.0, 0.0]


def test_recompiling_with_the_same_object_goes_on(rng: np.random.Generator) -> None:
    x, y = data(rng)
    model = network()
    optimizer = Adam(0.01)
    for _ in range(3):
        model.compile(optimizer, "mse")
        model.fit(x, y, verbose=0)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == 3


# --- frozen weights and weights that move -------------------------------------------------------


@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_weights_that_are_unfrozen_are_trained_and_the_others_go_on(
    optimizer: Optimizer, rng: np.random.Generator
) -> None:
    x, y = data(rng)
    model = network()
    model.layers[0].trainable = False
    model.compile(fresh(optimizer), "mse")
    model.fit(x, y, epochs=4, verbose=0)
    frozen = model.layers[0].get_weights()
    slots = {variable.path: variable.numpy() for variable in model.optimizer.variables}
    model.layers[0].trainable = True
    model.optimizer.build(model.trainable_weights)
    after = {variable.path: variable.numpy() for variable in model.optimizer.variables}
    for path, value in slots.items():
        np.testing.assert_array_equal(after[path], value)
    assert len(after) > len(slots)
    model.fit(x, y, epochs=4, verbose=0)
    assert int(model.optimizer._iterations) == 8
    assert np.abs(model.layers[0].get_weights()[0] - frozen[0]).max() > 1e-4
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_weights_that_are_frozen_stay_and_keep_their_state(rng: np.random.Generator) -> None:
    x, y = data(rng)
    model = network()
    model.compile(Adam(0.01, weight_decay=0.1), "mse")
    model.fit(x, y, epochs=2, verbose=0)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()
    state = values(model.optimizer)[2:6]
    model.fit(x, y, epochs=2, verbose=0)
    assert_equal(model.layers[0].get_weights(), frozen)
    assert_equal(values(model.optimizer)[2:6], state)
    assert int(model.optimizer.iterations) == 4


@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_state_follows_weights_to_another_dtype(
    optimizer: Optimizer, rng: np.random.Generator
) -> None:
    x, y = data(rng)
    model = network()
    model.compile(fresh(optimizer), "mse")
    model.fit(x, y, epochs=2, verbose=0)
    before = values(model.optimizer)
    model.double()
    model.optimizer.build(model.trainable_weights)
    slots = [v for v in model.optimizer.variables[2:] if v.shape]  # Nadam has a number, too
    assert {v.dtype for v in slots} == {"float64"}
    assert_equal(values(model.optimizer), before)


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ALL, ids=repr)
def test_state_follows_weights_to_another_device(
    optimizer: Optimizer, rng: np.random.Generator
) -> None:
    x, y = data(rng)
    model = network()
    model.compile(fresh(optimizer), "mse")
    for device in ("cpu", "cuda", "cpu"):
        model.to(device)
        model.fit(x, y, epochs=2, verbose=0)
        slots = [v for v in model.optimizer.variables[2:] if v.shape]  # Nadam has a number, too
        assert {v.tensor.device.type for v in slots} == {device}
