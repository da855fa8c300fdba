"""Adagrad."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots


class Adagrad(Optimizer):
    """Divides the gradient by the root of the sum of all its squares.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        initial_accumulator_value: what the sums start from; at least 0.
        epsilon: added to the sum **inside** the root.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Adagrad; Duchi et al., 2011. torch's fused kernel adds epsilon
        outside the root, which gives other numbers.
    """

    is_elementwise = True
    _saved = ("initial_accumulator_value", "epsilon")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.initial_accumulator_value = arguments.number(
            self, "initial_accumulator_value", initial_accumulator_value, minimum=0
        )
        self.epsilon = arguments.number(self, "epsilon", epsilon, minimum=0)

    def build_slots(self) -> None:
        """Make the sums of squares."""
        self.add_slots("accumulator", value=self.initial_accumulator_value)

    def update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, learning_rate: float
    ) -> None:
        """Compute `w -= rate * g / sqrt(sum(g**2) + epsilon)`."""
        sums = slots["accumulator"]
        torch._foreach_addcmul_(sums, grads, grads)
        roots = torch._foreach_add(sums, self.epsilon)
        torch._foreach_sqrt_(roots)
        arithmetic.add_ratios_(params, grads, roots, -learning_rate)
