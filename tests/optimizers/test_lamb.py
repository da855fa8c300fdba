"""Lamb: the size of its updates."""

import numpy as np
import pytest
import torch
from torch import nn

from torchseq.optimizers import Lamb


def test_update_of_each_tensor_is_as_long_as_the_tensor(rng: np.random.Generator) -> None:
    sizes = [(3, 4), (5,), ()]
    weights = [nn.Parameter(torch.tensor(np.asarray(rng.normal(size=size)))) for size in sizes]
    before = [weight.detach().clone() for weight in weights]
    grads = [torch.tensor(np.asarray(rng.normal(size=size))) for size in sizes]
    optimizer = Lamb(0.1)
    for _ in range(3):
        before = [weight.detach().clone() for weight in weights]
        optimizer.apply(grads, weights)
    for weight, old in zip(weights, before, strict=True):
        torch.testing.assert_close((weight - old).norm(), 0.1 * old.norm())


def test_weights_of_zero_move_as_adams() -> None:
    weight = nn.Parameter(torch.zeros(2))
    Lamb(0.1, epsilon=0.0).apply([torch.tensor([3.0, -4.0])], [weight])
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.1, 0.1]))


def test_gradients_of_zero_move_nothing() -> None:
    weight = nn.Parameter(torch.ones(2))
    Lamb(0.1).apply([torch.zeros(2)], [weight])
    assert weight.tolist() == [1.0, 1.0]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"Lamb: `beta_1` must be in \[0, 1\]; got beta_1=-0.1"):
        Lamb(beta_1=-0.1)
    with pytest.raises(ValueError, match="Lamb: `epsilon` must be at least 0; got epsilon=-1"):
        Lamb(epsilon=-1)
