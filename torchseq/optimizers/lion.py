"""Lion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots


class Lion(Optimizer):
    """Moves each weight by the learning rate, against the sign of an average gradient.

    Its rate is 3 to 10 times smaller than Adam's would be, its weight decay as much larger.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        beta_1: weight of the average gradient beside the current one in the update, in (0, 1].
        beta_2: weight of the old average when the average is updated, in [0, 1].
        **options: those of `Optimizer`.

    Raises:
        ValueError: for a weight outside its range.

    Source: keras.optimizers.Lion; Chen et al., 2023.
    """

    is_elementwise = True
    _saved = ("beta_1", "beta_2")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.beta_1 = arguments.fraction(self, "beta_1", beta_1)
        self.beta_2 = arguments.fraction(self, "beta_2", beta_2)
        if beta_1 == 0:
            raise ValueError(
                f"Lion: `beta_1` must be in (0, 1]; got beta_1={beta_1}. The sign of the current "
                "gradient alone would be left."
            )

    def build_slots(self) -> None:
        """Make the average."""
        self.add_slots("momentum")

    def update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, learning_rate: float
    ) -> None:
        """Compute `w -= rate * sign(beta_1 * mean + (1 - beta_1) * g)`, then the average."""
        means = slots["momentum"]
        # Not by lerp: where the two nearly cancel, its rounding would turn the sign.
        signs = torch._foreach_mul(means, self.beta_1)
        torch._foreach_add_(signs, grads, alpha=1 - self.beta_1)
        torch._foreach_sign_(signs)
        arithmetic.add_scaled_(params, signs, -learning_rate)
        torch._foreach_mul_(means, self.beta_2)
        torch._foreach_add_(means, grads, alpha=1 - self.beta_2)
