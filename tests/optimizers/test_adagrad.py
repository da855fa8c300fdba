"""Adagrad: its sums, and where epsilon goes."""

import pytest
import torch
from torch import nn

from torchseq.optimizers import Adagrad


def test_epsilon_is_inside_the_root() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = Adagrad(1.0, initial_accumulator_value=2.0, epsilon=3.0)
    optimizer.apply([torch.tensor([2.0, 0.0])], [weight])
    torch.testing.assert_close(weight.detach(), torch.tensor([-2.0 / 3, 0.0]))
    torch.testing.assert_close(optimizer.variables[-1].value, torch.tensor([6.0, 2.0]))


def test_errors() -> None:
    message = "Adagrad: `initial_accumulator_value` must be at least 0; got .*=-0.1"
    with pytest.raises(ValueError, match=message):
        Adagrad(initial_accumulator_value=-0.1)
