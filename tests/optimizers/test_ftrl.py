"""Ftrl: its penalties, its degenerate cases, its arguments."""

from typing import Any

import pytest
import torch
from torch import nn

from torchseq.optimizers import Ftrl


def test_first_step_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = Ftrl(0.5, initial_accumulator_value=1.0, l2_regularization_strength=0.25, beta=1.0)
    optimizer.apply([torch.tensor([2.0])], [weight])
    root = 5**0.5
    linear = 2 - (root - 1) / 0.5
    quadratic = root / 0.5 + 2 * (0.25 + 1 / (2 * 0.5))
    torch.testing.assert_close(weight.detach(), torch.tensor([-linear / quadratic]))


def test_l1_makes_weights_exactly_zero() -> None:
    weight = nn.Parameter(torch.tensor([0.0, 0.0]))
    optimizer = Ftrl(0.1, l1_regularization_strength=1.0)
    for _ in range(3):
        optimizer.apply([torch.tensor([0.3, 1.0])], [weight])
    assert weight[0] == 0
    assert weight[1] < 0


def test_rate_of_zero_is_nan_as_in_keras_and_no_crash() -> None:
    weight = nn.Parameter(torch.ones(2))
    Ftrl(0.0).apply([torch.ones(2)], [weight])
    assert weight.isnan().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate_power": 0.5}, "`learning_rate_power` must be at most 0; got learning_r"),
        ({"learning_rate_power": None}, "`learning_rate_power` must be a number; got learning_r"),
        ({"initial_accumulator_value": -1}, "`initial_accumulator_value` must be at least 0; got"),
        ({"l1_regularization_strength": -1}, "`l1_regularization_strength` must be at least 0"),
        ({"l2_regularization_strength": -1}, "`l2_regularization_strength` must be at least 0"),
        (
            {"l2_shrinkage_regularization_strength": -1},
            "`l2_shrinkage_regularization_strength` must be at least 0; got l2_shr.*=-1",
        ),
        ({"beta": "1"}, "`beta` must be a number; got beta='1'"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"Ftrl: {message}"):
        Ftrl(**options)
