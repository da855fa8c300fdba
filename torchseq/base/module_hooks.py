"""The hooks that users can put on modules: where there are none, a call can go past the module."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

GLOBAL: tuple[Any, ...] = (
    torch_module._global_forward_hooks,
    torch_module._global_forward_pre_hooks,
    torch_module._global_backward_hooks,
    torch_module._global_backward_pre_hooks,
)
"""The collections of hooks of all modules."""


def hooks_of(module: nn.Module) -> tuple[Any, ...]:
    """Return the collections of a module's own hooks, which stay the same objects."""
    return (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )


def has_hooks(module: nn.Module) -> bool:
    """Tell whether a call of the module runs any hook, or another `forward` than its class's."""
    return any(hooks_of(module)) or any(GLOBAL) or "forward" in module.__dict__
