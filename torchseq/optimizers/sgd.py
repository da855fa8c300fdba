"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots


class SGD(Optimizer):
    """Gradient descent, with momentum if asked.

    Without momentum `w -= rate * g`; with it `m = momentum * m - rate * g` and `w += m`; Nesterov's
    form adds `momentum * m - rate * g` instead.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        momentum: weight of the old update, in [0, 1].
        nesterov: look ahead along the momentum.
        **options: those of `Optimizer`.

    Source: keras.optimizers.SGD. The momentum holds the learning rate, unlike torch's.
    """

    is_elementwise = True
    _saved = ("momentum", "nesterov")

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.momentum = arguments.fraction(self, "momentum", momentum)
        self.nesterov = nesterov

    def build_slots(self) -> None:
        """Make the momentum."""
        if self.momentum:
            self.add_slots("momentum")

    def update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, learning_rate: float
    ) -> None:
        """Move the weights against their gradients."""
        if not self.momentum:
            arithmetic.add_scaled_(params, grads, -learning_rate)
            return
        moments = slots["momentum"]
        torch._foreach_mul_(moments, self.momentum)
        arithmetic.add_scaled_(moments, grads, -learning_rate)
        if self.nesterov:
            torch._foreach_add_(params, moments, alpha=self.momentum)
            arithmetic.add_scaled_(params, grads, -learning_rate)
        else:
            torch._foreach_add_(params, moments)
