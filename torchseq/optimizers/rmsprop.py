"""RMSprop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots


class RMSprop(Optimizer):
    """Divides the gradient by the root of a moving average of its square.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        rho: weight of the old average, in [0, 1].
        momentum: weight of the old update, in [0, 1].
        epsilon: added to the average **inside** the root.
        centered: subtract the square of the average gradient from the average square.
        **options: those of `Optimizer`.

    Source: keras.optimizers.RMSprop.
    """

    is_elementwise = True
    _saved = ("rho", "momentum", "epsilon", "centered")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.rho = arguments.fraction(self, "rho", rho)
        self.momentum = arguments.fraction(self, "momentum", momentum)
        self.epsilon = epsilon
        self.centered = centered

    def build_slots(self) -> None:
        """Make the averages and the momentum."""
        self.add_slots("velocity")
        if self.momentum > 0:
            self.add_slots("momentum")
        if self.centered:
            self.add_slots("average_gradient")

    def update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, learning_rate: float
    ) -> None:
        """Compute `w -= rate * g / sqrt(average(g**2) [- average(g)**2] + epsilon)`."""
        velocities = slots["velocity"]
        arithmetic.average_squares_(velocities, grads, self.rho)
        roots = torch._foreach_add(velocities, self.epsilon)
        if self.centered:
            averages = slots["average_gradient"]
            torch._foreach_lerp_(averages, grads, 1 - self.rho)
            torch._foreach_addcmul_(roots, averages, averages, value=-1)
        torch._foreach_sqrt_(roots)
        if self.momentum > 0:
            moments = slots["momentum"]
            torch._foreach_mul_(moments, self.momentum)
            arithmetic.add_ratios_(moments, grads, roots, learning_rate)
            torch._foreach_add_(params, moments, alpha=-1)
        else:
            arithmetic.add_ratios_(params, grads, roots, -learning_rate)
