"""Adamax."""

from __future__ import annotations

import torch
from torch import Tensor

from torchseq.optimizers import arithmetic
from torchseq.optimizers.betas import TwoBetas
from torchseq.optimizers.optimizer import Slots
from torchseq.optimizers.rounding import correction, number_type


class Adamax(TwoBetas):
    """Adam with the largest recent gradient in place of the average square.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        beta_1: weight of the old average gradient, in [0, 1].
        beta_2: what the old largest gradient is multiplied by in each step, in [0, 1].
        epsilon: added to the largest gradient when it divides; not kept in it, unlike in torch.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Adamax; Kingma & Ba, 2014, section 7.1.
    """

    is_elementwise = True

    def build_slots(self) -> None:
        """Make the average and the largest gradient."""
        self.add_slots("momentum", "norm")

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return the rate, corrected for the average's start at zero."""
        missing = correction(self.beta_1, self._num_updates() + 1, dtype)
        return (float(number_type(dtype)(learning_rate) / missing),)

    def update(self, params: list[Tensor], grads: list[Tensor], slots: Slots, rate: float) -> None:
        """Compute `w -= rate / (1 - beta_1**step) * mean / (largest + epsilon)`."""
        means, norms = slots["momentum"], slots["norm"]
        torch._foreach_lerp_(means, grads, 1 - self.beta_1)
        torch._foreach_mul_(norms, self.beta_2)
        torch._foreach_maximum_(norms, torch._foreach_abs(grads))
        arithmetic.add_ratios_(params, means, torch._foreach_add(norms, self.epsilon), -rate)
