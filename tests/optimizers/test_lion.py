"""Lion: steps of one size, and its arguments."""

import pytest
import torch
from torch import nn

from torchseq.optimizers import Lion


def test_every_entry_moves_by_the_rate_or_not_at_all() -> None:
    weight = nn.Parameter(torch.zeros(3))
    optimizer = Lion(0.5, beta_1=0.5, beta_2=0.75)
    optimizer.apply([torch.tensor([1e-6, -1e6, 0.0])], [weight])
    assert weight.tolist() == [-0.5, 0.5, 0.0]
    torch.testing.assert_close(optimizer.variables[-1].value, torch.tensor([2.5e-7, -2.5e5, 0.0]))


@pytest.mark.parametrize("beta_1", [0, 0.0])
def test_beta_1_of_zero_would_leave_signs_of_gradients(beta_1: float) -> None:
    message = r"Lion: `beta_1` must be in \(0, 1\]; got beta_1=0.* The sign of the current"
    with pytest.raises(ValueError, match=message):
        Lion(beta_1=beta_1)


@pytest.mark.parametrize(("name", "value"), [("beta_1", 1.5), ("beta_1", -1), ("beta_2", 2)])
def test_errors(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Lion: `{name}` must be in .0, 1\]; got {name}={value}"):
        Lion(**{name: value})
