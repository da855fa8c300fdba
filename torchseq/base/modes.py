"""Modes that hold for a while: training or evaluation, gradients, and others of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class mode:
    """Puts a module and all below it into training or evaluation mode, and back as they were.

    Args:
        module: the module.
        training: the mode inside the `with` block.
    """

    # A class, since `predict` on one row enters it, and `nn.Module.modules` is slow.

    def __init__(self, module: nn.Module, training: bool):
        self._module = module
        self._training = training
        self._changed: list[nn.Module] = []

    def __enter__(self) -> None:
        waiting: list[nn.Module | None] = [self._module]
        while waiting:
            part = waiting.pop()
            if part is None:
                continue
            if part.training is not self._training:
                part.training = self._training
                self._changed.append(part)
            waiting.extend(part._modules.values())

    def __exit__(self, *error: Any) -> None:
        for part in self._changed:
            part.training = not self._training


def gradless(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns without gradients.

    To switch them off takes as long as a small kernel, so it is done only if they are on.
    """
    if not torch.is_grad_enabled():
        return function(*args)
    with torch.no_grad():
        return function(*args)


@contextmanager
def setting(holder: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute of `holder` a value, and then the one that it had."""
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
