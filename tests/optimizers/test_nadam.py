"""Nadam: the product of its look-ahead weights, a number among the variables."""

import numpy as np
import pytest
import torch
from torch import nn

from torchseq.optimizers import Nadam


def product(optimizer: Nadam) -> float:
    variable = optimizer.variables[-1]
    assert variable.shape == ()
    return float(variable)


def expected_product(steps: int) -> float:
    return float(np.prod([0.9 * (1 - 0.5 * 0.96**step) for step in range(1, steps + 1)]))


def test_product_is_the_last_variable_and_grows_once_per_step() -> None:
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    optimizer = Nadam()
    optimizer.build(weights)
    assert product(optimizer) == 1
    for step in range(1, 5):
        optimizer.apply([torch.ones(2), torch.ones(3)], weights)
        assert product(optimizer) == pytest.approx(expected_product(step))


def test_product_waits_for_accumulated_gradients() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = Nadam(gradient_accumulation_steps=2)
    for step in range(1, 6):
        optimizer.apply([torch.ones(2)], [weight])
        assert product(optimizer) == pytest.approx(expected_product(step // 2))


def test_product_goes_on_when_weights_are_added() -> None:
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    optimizer = Nadam()
    optimizer.apply([torch.ones(2)], weights[:1])
    path = optimizer.variables[-1].path
    optimizer.apply([torch.ones(2), torch.ones(3)], weights)
    assert product(optimizer) == pytest.approx(expected_product(2))
    assert optimizer.variables[-1].path == path


def test_product_is_set_with_the_other_variables() -> None:
    steps = [torch.tensor([0.3, -0.2]), torch.tensor([0.1, 0.4]), torch.tensor([1.0, 0.0])]
    whole, first, second = (nn.Parameter(torch.ones(2)) for _ in range(3))
    uninterrupted, before, after = Nadam(0.1), Nadam(0.1), Nadam(0.1)
    for grad in steps:
        uninterrupted.apply([grad], [whole])
    for grad in steps[:2]:
        before.apply([grad], [first])
    second.data.copy_(first.data)
    after.build([second])
    after.set_weights([variable.numpy() for variable in before.variables])
    after.apply([steps[2]], [second])
    assert second.tolist() == whole.tolist()


def test_twin_starts_its_own_product() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = Nadam()
    optimizer.apply([torch.ones(2)], [weight])
    twin = optimizer.twin()
    twin.build([nn.Parameter(torch.ones(4))])
    assert float(twin.variables[-1]) == 1
    assert product(optimizer) == pytest.approx(expected_product(1))


def test_float16_weights_without_gradient_stay() -> None:
    weight = nn.Parameter(torch.ones(2, dtype=torch.float16))
    Nadam(0.1).apply([torch.zeros(2, dtype=torch.float16)], [weight])
    assert weight.tolist() == [1.0, 1.0]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"Nadam: `beta_2` must be in \[0, 1\]; got beta_2=2"):
        Nadam(beta_2=2)
    with pytest.raises(ValueError, match="Nadam: `epsilon` must be at least 0; got epsilon='small"):
        Nadam(epsilon="small")  # type: ignore[arg-type]
