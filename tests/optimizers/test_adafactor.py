"""Adafactor: its state's shapes, plain torch parameters, errors."""

from typing import Any

import pytest
import torch
from torch import nn

import torchseq
from torchseq import layers
from torchseq.optimizers import Adafactor


def test_rows_and_columns_follow_kerass_axes() -> None:
    model = torchseq.Sequential(
        [torchseq.Input((8, 8, 2)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(5)]
    )
    optimizer = Adafactor()
    optimizer.build(model.trainable_weights)
    shapes = [variable.shape for variable in optimizer.variables[2:]]
    assert shapes[:3] == [(3, 3, 2), (3, 3, 4), (3, 3, 2, 4)]  # of a kernel (3, 3, 2, 4)
    assert shapes[3:6] == [(), (), (4,)]  # a bias is not factored
    assert shapes[6:9] == [(144,), (5,), (144, 5)]


def test_first_step_has_the_size_of_the_rate_times_the_weight() -> None:
    weight = nn.Parameter(torch.full((4,), 2.0))
    optimizer = Adafactor(0.1)
    optimizer.apply([torch.tensor([3.0, -3.0, 3.0, -3.0])], [weight])
    # All squares are equal, so the update is the sign, times rms(w) = 2.
    torch.testing.assert_close(weight.detach(), torch.tensor([1.8, 2.2, 1.8, 2.2]))


def test_weights_that_are_unfrozen_get_their_own_state() -> None:
    old, new = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))
    optimizer = Adafactor(0.1)
    optimizer.apply([torch.ones(3, 2)], [old])
    rows = optimizer.variables[2].numpy()
    optimizer.build([new, old])
    assert [variable.shape for variable in optimizer.variables[2:]] == [
        *[(), (), (2,)],
        *[(3,), (2,), (3, 2)],
    ]
    assert (optimizer.variables[5].numpy() == rows).all()
    optimizer.apply([torch.ones(2), torch.ones(3, 2)], [new, old])
    assert (new.detach() < 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_2_decay": "fast"}, "Adafactor: `beta_2_decay` must be a number; got"),
        ({"epsilon_1": -1.0}, "Adafactor: `epsilon_1` must be at least 0; got epsilon_1=-1.0"),
        ({"epsilon_2": -1.0}, "Adafactor: `epsilon_2` must be at least 0"),
        ({"clip_threshold": float("nan")}, "Adafactor: `clip_threshold` must be at least 0"),
        ({"learning_rate": -1.0}, "Adafactor: `learning_rate` must be at least 0"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adafactor(**options)
