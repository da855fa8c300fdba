"""Schedule-free AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.optimizers import arithmetic
from torchseq.optimizers.betas import TwoBetas
from torchseq.optimizers.optimizer import Slots
from torchseq.optimizers.rounding import correction


class ScheduleFreeAdamW(TwoBetas):
    """Adam without a schedule: the weights are an average instead of the rate growing small.

    Gradients, taken at the weights, move a second point `z`; the weights are the mean of all `z`
    so far.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        beta_1: without effect, see below; in [0, 1].
        beta_2: weight of the old average square, in [0, 1].
        epsilon: added to the root of the corrected average square.
        warmup_steps: the rate grows evenly from 0 over so many steps.
        **options: those of `Optimizer`.

    Source: keras.optimizers.ScheduleFreeAdamW as it works on torch and TensorFlow; Defazio et al.,
        2024. The paper takes gradients between the mean and `z`, at `beta_1` of the way. Keras
        means to, but reads `z` after it has moved, and the terms with `beta_1` cancel out. Unlike
        Keras's, whose weights become NaN, it works with `beta_1=0`. Keras's `momentum` is `z`.
    """

    is_elementwise = True
    _saved = (*TwoBetas._saved, "warmup_steps")

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **options: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.warmup_steps = arguments.number(self, "warmup_steps", warmup_steps, minimum=0)

    def build_slots(self) -> None:
        """Make `z`, which starts from the weights, and the average square."""
        super().build_slots()
        if self._params:
            torch._foreach_copy_(self._slots["momentum"], [p.detach() for p in self._params])

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return the rate, the root of what is missing in the average, and the share of `z`."""
        step = self._num_updates() + 1
        if self.warmup_steps:
            learning_rate *= min(step / self.warmup_steps, 1.0)
        return learning_rate, float(np.sqrt(correction(self.beta_2, step, dtype))), 1 / step

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Slots,
        rate: float,
        missing_root: float,
        share: float,
    ) -> None:
        """Move `z` by `rate * g / (sqrt(square / missing) + epsilon)`; average it into `w`."""
        points, squares = slots["momentum"], slots["velocity"]
        # Keras rounds beta_2 before 1 - beta_2.
        new_share = float(correction(self.beta_2, 1, params[0].dtype))
        torch._foreach_mul_(squares, 1 - new_share)
        torch._foreach_addcmul_(squares, grads, grads, value=new_share)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, missing_root)
        torch._foreach_add_(roots, self.epsilon)
        arithmetic.add_ratios_(points, grads, roots, -rate)
        arithmetic.lerp_(params, points, share)
