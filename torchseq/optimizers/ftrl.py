"""Ftrl."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots
from torchseq.optimizers.rounding import number_type

_AT_LEAST_0 = (
    "initial_accumulator_value",
    "l1_regularization_strength",
    "l2_regularization_strength",
    "l2_shrinkage_regularization_strength",
)


class Ftrl(Optimizer):
    """Follow the regularized leader: each weight is the best one for all gradients so far.

    For shallow models with many sparse inputs; l1 regularization makes weights exactly 0.

    Args:
        learning_rate: a number above 0, a schedule `step -> rate`, or a callable without arguments.
        learning_rate_power: the rate falls with the sum of squares to this power; at most 0, and
            at 0 it stays.
        initial_accumulator_value: what the sums of squares start from; at least 0.
        l1_regularization_strength: at least 0.
        l2_regularization_strength: a stabilizing penalty; at least 0.
        l2_shrinkage_regularization_strength: a penalty on the weights' size; at least 0.
        beta: as in the paper: `beta / (2 * learning_rate)` is added to the stabilizing penalty.
        **options: those of `Optimizer`.

    Raises:
        ValueError: for a value outside the ranges above.

    Source: keras.optimizers.Ftrl; McMahan et al., 2013. As there, a rate of 0 makes weights NaN.
    """

    is_elementwise = True
    _saved = ("learning_rate_power", *_AT_LEAST_0, "beta")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.learning_rate_power = arguments.number(
            self, "learning_rate_power", learning_rate_power
        )
        if learning_rate_power > 0:
            raise ValueError(
                "Ftrl: `learning_rate_power` must be at most 0; got "
                f"learning_rate_power={learning_rate_power}."
            )
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        for name in _AT_LEAST_0:
            arguments.number(self, name, getattr(self, name), minimum=0)
        self.beta = arguments.number(self, "beta", beta)

    def build_slots(self) -> None:
        """Make the sums of squares and the linear terms."""
        self.add_slots("accumulator", "linear", value=self.initial_accumulator_value)
        torch._foreach_zero_(self._slots["linear"])

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return the rate, and what it leaves of the penalties."""
        return learning_rate, self._doubled_penalty(learning_rate, dtype)

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Slots,
        learning_rate: float,
        penalty: float,
    ) -> None:
        """Compute `w = (clip(linear, -l1, l1) - linear) / (sum ** -power / rate + 2 * l2)`."""
        sums, linears = slots["accumulator"], slots["linear"]
        before = torch._foreach_pow(sums, -self.learning_rate_power)
        torch._foreach_addcmul_(sums, grads, grads)
        after = torch._foreach_pow(sums, -self.learning_rate_power)
        growths = torch._foreach_sub(after, before)
        torch._foreach_div_(growths, learning_rate)
        shrinkage = 2 * self.l2_shrinkage_regularization_strength
        shrunk = torch._foreach_add(grads, params, alpha=shrinkage) if shrinkage else grads
        torch._foreach_add_(linears, torch._foreach_addcmul(shrunk, growths, params, value=-1))
        torch._foreach_div_(after, learning_rate)
        arithmetic.add_number_(after, penalty)
        weights = self._beyond_l1(linears)
        torch._foreach_div_(weights, after)
        torch._foreach_copy_(params, weights)

    def _doubled_penalty(self, learning_rate: float, dtype: torch.dtype) -> float:
        """Return `2 * (l2 + beta / (2 * rate))`; like a tensor, NaN or infinite at a rate of 0."""
        rate = number_type(dtype)(learning_rate)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(2 * (self.l2_regularization_strength + self.beta / (2 * rate)))

    def _beyond_l1(self, linears: list[Tensor]) -> list[Tensor]:
        """Return `clip(linear, -l1, l1) - linear`."""
        bound = self.l1_regularization_strength
        if not bound:
            return list(torch._foreach_neg(linears))
        clipped = torch._foreach_clamp_min(linears, -bound)
        torch._foreach_clamp_max_(clipped, bound)
        torch._foreach_sub_(clipped, linears)
        return list(clipped)
