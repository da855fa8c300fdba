"""Adamax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Config
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots
from torchseq.optimizers.rounding import correction, number_type


class Adamax(Optimizer):
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

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.beta_1 = arguments.fraction(self, "beta_1", beta_1)
        self.beta_2 = arguments.fraction(self, "beta_2", beta_2)
        self.epsilon = arguments.number(self, "epsilon", epsilon, minimum=0)

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

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        names = ("beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
