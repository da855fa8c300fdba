"""AdamW: when it decays, and what it does not take."""

import numpy as np
import pytest
import torch
from torch import nn

from torchseq.optimizers import Adam, AdamW


def test_weights_shrink_before_adam_updates_them(rng: np.random.Generator) -> None:
    values = torch.tensor(rng.normal(size=(3, 2)))
    weight, shrunk = nn.Parameter(values.clone()), nn.Parameter(values * (1 - 0.1 * 0.5))
    grad = torch.tensor(rng.normal(size=(3, 2)))
    AdamW(0.1, weight_decay=0.5).apply([grad], [weight])
    Adam(0.1).apply([grad], [shrunk])
    torch.testing.assert_close(weight.detach(), shrunk.detach())


def test_excluded_weights_do_not_shrink() -> None:
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    optimizer = AdamW(0.1)
    optimizer.exclude_from_weight_decay([weights[0]])
    optimizer.apply([torch.zeros(2), torch.zeros(2)], weights)
    assert weights[0].tolist() == [1.0, 1.0]
    torch.testing.assert_close(weights[1].detach(), torch.full((2,), 1 - 0.004 * 0.1))


@pytest.mark.filterwarnings("ignore:.*Gradients do not exist")
def test_excluded_weights_do_not_shrink_where_others_have_no_gradient() -> None:
    weights = [nn.Parameter(torch.ones(2)) for _ in range(4)]
    optimizer = AdamW(0.1)
    optimizer.exclude_from_weight_decay([weights[2]])
    optimizer.apply([None, torch.zeros(2), torch.zeros(2), torch.zeros(2)], weights)
    shrunk = 1 - 0.004 * 0.1
    for weight, expected in zip(weights, (1, shrunk, 1, shrunk), strict=True):
        torch.testing.assert_close(weight.detach(), torch.full((2,), float(expected)))


def test_it_does_not_go_without_decay() -> None:
    with pytest.raises(ValueError, match="AdamW: `weight_decay` must be a number; .* Take Adam"):
        AdamW(weight_decay=None)  # type: ignore[arg-type]
