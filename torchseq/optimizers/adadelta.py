"""Adadelta."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots


class Adadelta(Optimizer):
    """Scales the gradient by the typical size of recent updates over that of recent gradients.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments; 1 for
            the paper's form.
        rho: weight of the old averages, in [0, 1].
        epsilon: added to both average squares **inside** the roots.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Adadelta; Zeiler, 2012.
    """

    is_elementwise = True
    _saved = ("rho", "epsilon")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.rho = arguments.fraction(self, "rho", rho)
        self.epsilon = arguments.number(self, "epsilon", epsilon, minimum=0)

    def build_slots(self) -> None:
        """Make the average squares of gradients and of updates."""
        self.add_slots("accumulated_grad", "accumulated_delta_var")

    def update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, learning_rate: float
    ) -> None:
        """Compute `w -= rate * d`, with `d = g * sqrt(d_square + eps) / sqrt(g_square + eps)`."""
        grad_squares, delta_squares = slots["accumulated_grad"], slots["accumulated_delta_var"]
        arithmetic.average_squares_(grad_squares, grads, self.rho)
        deltas = torch._foreach_add(delta_squares, self.epsilon)
        torch._foreach_sqrt_(deltas)
        torch._foreach_mul_(deltas, grads)
        roots = torch._foreach_add(grad_squares, self.epsilon)
        torch._foreach_sqrt_(roots)
        torch._foreach_div_(deltas, roots)
        arithmetic.average_squares_(delta_squares, deltas, self.rho)
        arithmetic.add_scaled_(params, deltas, -learning_rate)
