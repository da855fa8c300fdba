"""Dynamic loss scaling: the scale, steps left out on the device, copies, several models, errors."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from torchseq import layers
from torchseq.optimizers import SGD, Adafactor, Adam, LossScaleOptimizer, Nadam


def network() -> Any:
    return torchseq.Sequential(
        [torchseq.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)]
    )


def data(rng: np.random.Generator) -> tuple[Any, Any]:
    return rng.normal(size=(16, 3)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")


def test_training_equals_that_of_the_inner_optimizer(rng: np.random.Generator) -> None:
    x, y = data(rng)
    scaled, plain = network(), network()
    plain.set_weights(scaled.get_weights())
    scaled.compile(LossScaleOptimizer(Adam(0.01), initial_scale=2.0**10), "mse")
    plain.compile(Adam(0.01), "mse")
    losses = [
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
        for model in (scaled, plain)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for one, two in zip(scaled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
    assert int(scaled.optimizer.iterations) == 12
    assert int(scaled.optimizer.step_counter) == 12


def test_scale_grows_and_shrinks() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = LossScaleOptimizer(SGD(1.0), initial_scale=8.0, dynamic_growth_steps=2)
    assert float(optimizer.scale_loss(torch.tensor(2.0))) == 16
    scales = []
    for grad in (1.0, 1.0, float("inf"), 1.0, float("nan"), 1.0, 1.0):
        optimizer.apply([torch.full((2,), grad)], [weight])
        scales.append((float(optimizer.dynamic_scale), int(optimizer.step_counter)))
    assert scales == [(8, 1), (16, 0), (8, 0), (8, 1), (4, 0), (4, 1), (8, 0)]
    assert float(optimizer.scale_loss(torch.tensor(2.0))) == 16
    assert int(optimizer.iterations) == 5


def test_scale_that_would_become_infinite_stays() -> None:
    optimizer = LossScaleOptimizer(SGD(), initial_scale=2.0**127, dynamic_growth_steps=1)
    optimizer.apply([torch.ones(2)], [nn.Parameter(torch.zeros(2))])
    assert float(optimizer.dynamic_scale) == 2.0**127


@pytest.mark.parametrize("inner", [Adam(0.1), SGD(0.1, momentum=0.9), Nadam(0.1)], ids=repr)
def test_where_reading_waits_the_step_is_undone_there(
    inner: Any, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    results = []
    for on_host in (True, False):
        monkeypatch.setattr(
            "torchseq.optimizers.loss_scale._is_on_host", lambda _, is_=on_host: is_
        )
        weights = [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2, dtype=torch.double))]
        one_dtype = weights[:1] if isinstance(inner, Adam) else weights
        optimizer = LossScaleOptimizer(type(inner).from_config(inner.get_config()), 4.0)
        for index in range(6):
            grads = [torch.full(tuple(w.shape), 1.0 + index, dtype=w.dtype) for w in one_dtype]
            if index in (0, 3, 4):
                grads[0][1, 1] = float("nan")
            optimizer.apply(grads, one_dtype)
        assert int(optimizer.iterations) == 3
        results.append([*one_dtype, *(torch.tensor(v.numpy()) for v in optimizer.variables)])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two)


def test_learning_rate_is_the_inner_one() -> None:
    inner = SGD(0.5)
    optimizer = LossScaleOptimizer(inner)
    optimizer.learning_rate = 0.25
    assert float(inner.learning_rate) == float(optimizer.lr) == 0.25
    assert [float(v) for v in optimizer.variables] == [0, 0, 0, 0.25]


def test_one_object_in_two_models_and_in_copies(rng: np.random.Generator) -> None:
    x, y = data(rng)
    shared, some = LossScaleOptimizer(Adam(0.01)), [network(), network()]
    for model in some:
        model.compile(shared, "mse")
        model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    assert [int(model.optimizer.iterations) for model in some] == [2, 2]
    other = copy.deepcopy(some[0])
    for model in (some[0], other):
        model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    for one, two in zip(some[0].get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_exclusions_from_weight_decay_are_the_inner_ones() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = LossScaleOptimizer(SGD(0.1, weight_decay=0.5))
    optimizer.exclude_from_weight_decay([weight])
    optimizer.apply([torch.zeros(2)], [weight])
    assert weight.tolist() == [1, 1]


@pytest.mark.parametrize("kind", [Adafactor, lambda: LossScaleOptimizer(Adam(), 8.0)])
def test_state_travels_in_the_native_file(
    kind: Any, tmp_path: Any, rng: np.random.Generator
) -> None:
    x, y = data(rng)
    model = network()
    model.compile(kind(), "mse")
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors")
    loaded = torchseq.models.load_model(tmp_path / "m.safetensors")
    for one, two in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_moving_average_replaces_the_weights_at_the_end() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = LossScaleOptimizer(SGD(1.0, use_ema=True, ema_momentum=0.5), 2.0)
    for _ in range(2):
        optimizer.apply([torch.full((1,), 2.0)], [weight])
    assert weight.tolist() == [-2]
    optimizer.finalize_variable_values([weight])
    assert weight.tolist() == [-1.5]


def test_gradient_of_broadcast_strides_in_step() -> None:
    weight = nn.Parameter(torch.ones(4, 3))
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=2.0)
    optimizer.build([weight])
    optimizer.scale_loss(weight.sum()).backward()  # its gradient has strides of 0
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 3), 0.5))


def test_given_gradients_are_left_as_they_are() -> None:
    weight, grad = nn.Parameter(torch.ones(2)), torch.full((2,), 4.0)
    LossScaleOptimizer(SGD(), initial_scale=2.0).apply([grad], [weight])
    assert grad.tolist() == [4.0, 4.0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inner_optimizer": "adam"}, TypeError, "must be an optimizer; got 'adam'. Make one"),
        ({"dynamic": False}, ValueError, "the scale must be dynamic; .* `loss_scale_factor`"),
        ({"clipnorm": 1.0}, ValueError, "`clipnorm` must be given to the inner optimizer; got"),
        ({"rate": 1.0}, ValueError, r"LossScaleOptimizer: unrecognized arguments \['rate'\]"),
        ({"initial_scale": 0.0}, ValueError, "`initial_scale` must be above 0; got"),
        ({"initial_scale": "big"}, ValueError, "`initial_scale` must be a number; got"),
        ({"dynamic_growth_steps": 0}, ValueError, "`dynamic_growth_steps` must be a positive"),
    ],
)
def test_errors(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"LossScaleOptimizer: {message}|{message}"):
        LossScaleOptimizer(**{"inner_optimizer": SGD(), **options})


def test_options_at_their_defaults_come_from_old_files() -> None:
    inner = Adam(loss_scale_factor=4.0)
    optimizer = LossScaleOptimizer(inner, clipnorm=None, use_ema=False, ema_momentum=0.99)
    assert inner.loss_scale_factor is None
    assert optimizer.get_config()["name"] == "loss_scale_optimizer"


@pytest.mark.gpu
@pytest.mark.parametrize("inner", [Adam(0.1), SGD(0.1, momentum=0.9), Nadam(0.1)], ids=repr)
def test_no_step_waits_for_the_device(inner: Any) -> None:
    weights = [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))]
    on_device = [nn.Parameter(weight.detach().cuda()) for weight in weights]
    results = []
    for params in (weights, on_device):
        optimizer = LossScaleOptimizer(type(inner).from_config(inner.get_config()), 4.0)
        optimizer.build(params)
        all_grads = [
            [torch.full(tuple(w.shape), float("inf") if i in (0, 3) else 1.0) for w in params]
            for i in range(8)
        ]
        moved = [[grad.to(params[0].device) for grad in grads] for grads in all_grads]
        torch.cuda.set_sync_debug_mode("error")
        try:
            for grads in moved:
                for param, grad in zip(params, grads, strict=True):
                    param.grad = grad
                optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert int(optimizer.iterations) == 6
        results.append([v.numpy() for v in optimizer.variables])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
