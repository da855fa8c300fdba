"""Adam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Config
from torchseq.optimizers.optimizer import Optimizer, Slots


class Adam(Optimizer):
    """Moving averages of the gradient and of its square, corrected for their start at zero.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        beta_1: weight of the old average gradient, in [0, 1].
        beta_2: weight of the old average square, in [0, 1].
        epsilon: added to the root of the average square **before** the correction.
        amsgrad: divide by the largest average square so far.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Adam; Kingma & Ba, 2014. Runs torch's fused kernel; its own correction,
        which comes before epsilon is added, is switched off.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.beta_1 = arguments.fraction(self, "beta_1", beta_1)
        self.beta_2 = arguments.fraction(self, "beta_2", beta_2)
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def build_slots(self) -> None:
        """Make the two averages."""
        self.add_slots("momentum", "velocity")
        if self.amsgrad:
            self.add_slots("velocity_hat")

    def update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, learning_rate: float
    ) -> None:
        """Compute `w -= corrected_rate * mean / (sqrt(square) + epsilon)`.

        The kernel has a correction of its own, by `1 - beta**step`: 1 at an infinite step.
        """
        infinity = torch.full((), math.inf, device=params[0].device)
        torch._fused_adam_(
            params,
            grads,
            slots["momentum"],
            slots["velocity"],
            slots.get("velocity_hat", []),
            [infinity] * len(params),
            lr=self._corrected(learning_rate, params[0].dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=self.amsgrad,
            maximize=False,
        )

    def _corrected(self, learning_rate: float, dtype: torch.dtype) -> float:
        """Return the rate that corrects both averages for their start at zero.

        Rounded at each operation as Keras rounds it: `1 - beta_2**t` is small at first, so float32
        and float64 differ by 3e-5 there.
        """
        number = np.float64 if dtype is torch.float64 else np.float32
        step = number(self._num_updates() + 1)
        mean_weight = number(1) - number(self.beta_1) ** step
        square_weight = number(1) - number(self.beta_2) ** step
        return float(number(learning_rate) * np.sqrt(square_weight) / mean_weight)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        names = ("beta_1", "beta_2", "epsilon", "amsgrad")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
