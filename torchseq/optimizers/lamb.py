"""Lamb."""

from __future__ import annotations

import torch
from torch import Tensor

from torchseq.optimizers import arithmetic
from torchseq.optimizers.betas import TwoBetas
from torchseq.optimizers.optimizer import Slots
from torchseq.optimizers.rounding import correction


class Lamb(TwoBetas):
    """Adam whose update of each weight tensor has the tensor's own norm; for large batches.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        beta_1: weight of the old average gradient, in [0, 1].
        beta_2: weight of the old average square, in [0, 1].
        epsilon: added to the root of the corrected average square.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Lamb; You et al., 2019. As in Keras, `weight_decay` is apart from the
        update and so not in its norm, unlike in the paper.
    """

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return the rate, and what is missing in the averages."""
        step = self._num_updates() + 1
        missing = (float(correction(beta, step, dtype)) for beta in (self.beta_1, self.beta_2))
        return learning_rate, *missing

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Slots,
        learning_rate: float,
        missing_mean: float,
        missing_square: float,
    ) -> None:
        """Compute `w -= rate * norm(w) / norm(u) * u`, with Adam's update `u`."""
        means, squares = slots["momentum"], slots["velocity"]
        torch._foreach_lerp_(means, grads, 1 - self.beta_1)
        arithmetic.average_squares_(squares, grads, self.beta_2)
        roots = torch._foreach_div(squares, missing_square)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, self.epsilon)
        updates = list(torch._foreach_div(means, missing_mean))
        torch._foreach_div_(updates, roots)
        torch._foreach_mul_(updates, _norm_ratios(params, updates))
        arithmetic.add_scaled_(params, updates, -learning_rate)


def _norm_ratios(params: list[Tensor], updates: list[Tensor]) -> list[Tensor]:
    """Return `norm(w) / norm(u)` of each pair, 1 where either is 0; scalars on the device."""
    weight_norms = torch.stack(torch._foreach_norm(params))
    update_norms = torch.stack(torch._foreach_norm(updates))
    both = (weight_norms > 0) & (update_norms > 0)
    return list(torch.where(both, weight_norms / update_norms, 1.0).unbind())
