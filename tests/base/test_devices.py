"""Where a module's tensors are."""

import torch
from torch import nn

from torchseq.base import devices, settings


def test_the_first_tensor_that_exists_tells() -> None:
    module = nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 2, device="meta"))
    assert devices.device_of(module).type == "meta"
    assert devices.device_of(nn.BatchNorm1d(2, affine=False, device="meta")).type == "meta"


def test_a_module_without_tensors_is_where_new_weights_go() -> None:
    assert devices.device_of(nn.ReLU()) == settings.device()
    with torch.device("meta"):
        assert devices.device_of(nn.ReLU()).type == "meta"
