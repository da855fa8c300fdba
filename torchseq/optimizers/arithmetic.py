"""Operations on lists of tensors that several formulas share.

A factor may be a number or, in a compiled step, a tensor. torch's multi-tensor operations take the
factor of a sum as a Python number, which a graph would keep for good. A tensor without axes is an
input of the graph: it changes from step to step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def add_scaled_(targets: list[Tensor], values: Any, factor: Any) -> None:
    """Compute `targets += factor * values`."""
    if isinstance(factor, Tensor):
        torch._foreach_add_(targets, torch._foreach_mul(values, factor))
    else:
        torch._foreach_add_(targets, values, alpha=factor)


def add_ratios_(targets: list[Tensor], numerators: Any, denominators: Any, factor: Any) -> None:
    """Compute `targets += factor * numerators / denominators`."""
    if isinstance(factor, Tensor):
        ratios = torch._foreach_div(numerators, denominators)
        torch._foreach_mul_(ratios, factor)
        torch._foreach_add_(targets, ratios)
    else:
        torch._foreach_addcdiv_(targets, numerators, denominators, value=factor)


def add_number_(targets: Sequence[Tensor], number: Any) -> None:
    """Compute `targets += number`."""
    if isinstance(number, Tensor):
        for target in targets:
            target.add_(number)
    else:
        torch._foreach_add_(list(targets), number)


def average_squares_(averages: list[Tensor], values: Any, beta: float) -> None:
    """Compute `averages = beta * averages + (1 - beta) * values**2`."""
    torch._foreach_mul_(averages, beta)
    torch._foreach_addcmul_(averages, values, values, value=1 - beta)


def lerp_(targets: list[Tensor], values: Any, share: Any) -> None:
    """Compute `targets += share * (values - targets)`."""
    if isinstance(share, Tensor):
        differences = torch._foreach_sub(values, targets)
        add_scaled_(targets, differences, share)
    else:
        torch._foreach_lerp_(targets, values, share)
