"""ScheduleFreeAdamW: the weights are the mean of a second point; warmup; errors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchseq
from torchseq import layers
from torchseq.optimizers import ScheduleFreeAdamW


@pytest.mark.parametrize("beta_1", [0.0, 0.5, 0.9])
def test_weights_are_the_mean_of_the_points_that_gradients_move(
    beta_1: float, rng: np.random.Generator
) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = ScheduleFreeAdamW(0.1, beta_1=beta_1)
    points = []
    for _ in range(6):
        optimizer.apply([rng.normal(size=3).astype("float32")], [weight])
        points.append(optimizer.variables[2].numpy())
    np.testing.assert_allclose(weight.detach(), np.mean(points, axis=0), rtol=1e-5)


def test_point_starts_from_the_weights_also_of_those_that_come_later() -> None:
    old, new = nn.Parameter(torch.full((2,), 3.0)), nn.Parameter(torch.full((2,), 5.0))
    optimizer = ScheduleFreeAdamW(0.1)
    optimizer.apply([torch.ones(2)], [old])
    moved = optimizer.variables[2].numpy()
    optimizer.build([old, new])
    np.testing.assert_array_equal(optimizer.variables[2].numpy(), moved)
    np.testing.assert_array_equal(optimizer.variables[4].numpy(), [5.0, 5.0])


def test_first_steps_of_the_warmup_are_small() -> None:
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    for weight, warmup in zip(weights, (0, 10), strict=True):
        ScheduleFreeAdamW(0.1, warmup_steps=warmup).apply([torch.ones(2)], [weight])
    assert weights[0].tolist() == pytest.approx([0.9, 0.9])
    assert weights[1].tolist() == pytest.approx([0.99, 0.99])


def test_fit_keeps_the_weights_that_evaluate_saw(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(32, 3)).astype("float32"), rng.normal(size=(32, 1)).astype("float32")
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(1)])
    model.compile(ScheduleFreeAdamW(0.05), "mse")
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(history.history["val_loss"][-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.5}, r"ScheduleFreeAdamW: `beta_1` must be in \[0, 1\]; got beta_1=1.5"),
        ({"beta_2": -1}, r"ScheduleFreeAdamW: `beta_2` must be in \[0, 1\]"),
        ({"epsilon": -1.0}, "ScheduleFreeAdamW: `epsilon` must be at least 0"),
        ({"warmup_steps": -1}, "ScheduleFreeAdamW: `warmup_steps` must be at least 0"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScheduleFreeAdamW(**options)
