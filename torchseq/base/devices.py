"""Where a module's tensors are."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchseq.base import settings


def device_of(module: nn.Module) -> torch.device:
    """Return where the module's first parameter or buffer is; where new ones go if it has none."""
    for tensor in chain(module.parameters(), module.buffers()):
        if not is_lazy(tensor):
            return tensor.device
    return settings.device()
