"""Adam."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, islands
from torchseq.optimizers import arithmetic, gradients
from torchseq.optimizers.optimizer import Optimizer, Slots
from torchseq.optimizers.rounding import correction, number_type


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

    _heeds_found_inf = True

    is_elementwise = True
    _saved = ("beta_1", "beta_2", "epsilon", "amsgrad")

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

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return the rate, corrected for the averages' start at zero."""
        step = self._num_updates() + 1
        return (corrected_rate(learning_rate, self.beta_1, self.beta_2, step, dtype),)

    def update(self, params: list[Tensor], grads: list[Tensor], slots: Slots, rate: float) -> None:
        """Compute `w -= corrected_rate * mean / (sqrt(square) + epsilon)`."""
        fused_step(
            params,
            grads,
            slots["momentum"],
            slots["velocity"],
            slots.get("velocity_hat", []),
            rate=rate,
            betas=(self.beta_1, self.beta_2),
            epsilon=self.epsilon,
            found_inf=self._found_inf,
        )


def corrected_rate(
    rate: float, beta_1: float, beta_2: float, step: int, dtype: torch.dtype
) -> float:
    """Return the rate that corrects both averages for their start at zero.

    Rounded at each operation as Keras rounds it.

    Args:
        rate: the learning rate.
        beta_1: weight of the old average gradient.
        beta_2: weight of the old average square.
        step: number of averaged gradients, from 1.
        dtype: of the weights.
    """
    root = np.sqrt(correction(beta_2, step, dtype))
    return float(number_type(dtype)(rate) * root / correction(beta_1, step, dtype))


def fused_step(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    maxima: list[Tensor],
    rate: Any,
    betas: tuple[float, float],
    epsilon: float,
    found_inf: Tensor | None = None,
) -> None:
    """Update averages and weights by `w -= rate * mean / (sqrt(square) + epsilon)`, in one kernel.

    The kernel has a correction of its own, by `1 - beta**step`: 1 at an infinite step.

    Args:
        params: the weights.
        grads: their gradients.
        means: average gradients.
        squares: average squares of the gradients.
        maxima: largest average squares, which then divide instead; empty if not wanted.
        rate: corrected for the averages' start at zero; a tensor in a step that becomes a graph.
        betas: weights of the old average gradient and square.
        epsilon: added to the root.
        found_inf: a float tensor without axes; where it is 1, nothing is changed.
    """
    if isinstance(rate, Tensor):
        if not _takes_tensors(rate):
            _plain_step(params, grads, means, squares, maxima, rate, betas, epsilon)
            return
        rate = rate.float()  # as the kernel reads it
        grads = [gradients.in_memory_like(*pair) for pair in zip(params, grads, strict=True)]
    torch._fused_adam_(
        params,
        grads,
        means,
        squares,
        maxima,
        [_infinity(params[0].device)] * len(params),
        lr=rate,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=0.0,
        eps=epsilon,
        amsgrad=bool(maxima),
        maximize=False,
        found_inf=found_inf,
    )


def _takes_tensors(rate: Tensor) -> bool:
    """Tell whether the kernel takes a rate that lies on the device, and a compiler is no better."""
    return rate.is_cuda and not islands.is_tracing()


def _plain_step(
    params: list[Tensor],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    maxima: list[Tensor],
    rate: Tensor,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    torch._foreach_lerp_(means, grads, 1 - betas[0])
    arithmetic.average_squares_(squares, grads, betas[1])
    if maxima:
        torch._foreach_maximum_(maxima, squares)
    roots = torch._foreach_sqrt(maxima or squares)
    torch._foreach_add_(roots, epsilon)
    arithmetic.add_ratios_(params, means, roots, -rate)


@functools.cache
def _infinity(device: torch.device) -> Tensor:
    """Return the one tensor of infinity of a device; nothing writes to it."""
    return torch.full((), math.inf, device=device)
