"""Adadelta: the paper's formula, which is torch's too."""

import numpy as np
import pytest
import torch
from torch import nn

from torchseq.optimizers import Adadelta


def test_equals_torchs(rng: np.random.Generator) -> None:
    ours, theirs = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    optimizer = Adadelta(0.5, rho=0.8, epsilon=1e-3)
    torchs = torch.optim.Adadelta([theirs], lr=0.5, rho=0.8, eps=1e-3)
    for _ in range(10):
        grad = torch.tensor(rng.normal(size=4).astype("float32"))
        optimizer.apply([grad], [ours])
        theirs.grad = grad
        torchs.step()
    torch.testing.assert_close(ours.detach(), theirs.detach())


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"Adadelta: `rho` must be in \[0, 1\]; got rho=1.1"):
        Adadelta(rho=1.1)
    with pytest.raises(ValueError, match="Adadelta: `epsilon` must be at least 0; got epsilon=-1"):
        Adadelta(epsilon=-1)
