"""Where a module's tensors are."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchseq.base import settings


def device_of(module: nn.Module) -> torch.device:
    """Return where the module's first parameter or buffer is; where new ones go if it has none."""
    # Not by `parameters()`, which is slow, since `predict` on one row asks too.
    for part in module.modules():
        for tensor in part._parameters.values():
            if tensor is not None and not is_lazy(tensor):
                return tensor.device
    for buffer in module.buffers():
        if not is_lazy(buffer):
            return buffer.device
    return settings.device()
