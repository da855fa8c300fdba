"""Adamax: its norm, and where epsilon goes."""

import pytest
import torch
from torch import nn

from torchseq.optimizers import Adamax


def test_norm_falls_slowly_and_has_no_epsilon_in_it() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = Adamax(1.0, beta_1=0.5, beta_2=0.9, epsilon=1.0)
    optimizer.apply([torch.tensor([3.0, -2.0])], [weight])
    # The average is half the gradient, which the correction doubles.
    torch.testing.assert_close(weight.detach(), torch.tensor([-3.0 / 4, 2.0 / 3]))
    optimizer.apply([torch.zeros(2)], [weight])
    torch.testing.assert_close(optimizer.variables[-1].value, torch.tensor([2.7, 1.8]))


def test_epsilon_is_not_torchs() -> None:
    ours, theirs = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = Adamax(0.1, beta_2=0.5, epsilon=0.1)
    torchs = torch.optim.Adamax([theirs], lr=0.1, betas=(0.9, 0.5), eps=0.1)
    for grad in (torch.tensor([1.0, 0.01]), torch.tensor([0.1, 0.02])):
        optimizer.apply([grad], [ours])
        theirs.grad = grad.clone()
        torchs.step()
    assert (ours - theirs).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_1": 1.5}, r"Adamax: `beta_1` must be in \[0, 1\]; got beta_1=1.5"),
        ({"beta_2": -1}, r"Adamax: `beta_2` must be in \[0, 1\]; got beta_2=-1"),
        ({"epsilon": -1e-7}, "Adamax: `epsilon` must be at least 0; got epsilon=-1e-07"),
    ],
)
def test_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adamax(**options)
