"""Adafactor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.variable import Variable
from torchseq.optimizers import arithmetic
from torchseq.optimizers.optimizer import Optimizer, Slots
from torchseq.optimizers.rounding import number_type


class Adafactor(Optimizer):
    """Divides the gradient by the root of an average square that is kept as rows and columns.

    A weight with two or more axes has the average square's mean over the last axis (`r`) and over
    the one before (`c`), and `r * c / mean(r)` stands for it. Steps are relative to the weights'
    size.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments; the
            rate of a step is at most `1 / sqrt(step)`.
        beta_2_decay: the weight of the old average is `1 - step**beta_2_decay`.
        epsilon_1: added to the squares.
        epsilon_2: least size that a weight counts as having.
        clip_threshold: largest root mean square of an update, before it is multiplied by the rate.
        relative_step: without effect, as in Keras: the rate is bounded with it and without it.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Adafactor; Shazeer & Stern, 2018. Keras's axes count, in Keras's
        layout of the weight. Like Keras's it also keeps `r * c / mean(r)`, as large as the weight,
        and two zeros for each weight that is not factored.
    """

    _saved = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.beta_2_decay = arguments.number(self, "beta_2_decay", beta_2_decay)
        self.epsilon_1 = arguments.number(self, "epsilon_1", epsilon_1, minimum=0)
        self.epsilon_2 = arguments.number(self, "epsilon_2", epsilon_2, minimum=0)
        self.clip_threshold = arguments.number(self, "clip_threshold", clip_threshold, minimum=0)
        self.relative_step = relative_step

    def build_slots(self) -> None:
        """Make rows, columns and the average square of each weight."""
        for index, weight in enumerate(self._weights):
            shape, path = weight.shape, f"{self.name}/{weight.name}"
            if len(shape) < 2:
                for name in ("r", "c"):
                    self.add_slot(weight, name, None)
                    if not self._is_inner:  # in a LossScaleOptimizer Keras does not show them
                        self.add_number(f"{name}_{index}", 0, torch.int32, weight.name)
            else:
                empty = weight.tensor.detach()
                self.add_slot(weight, "r", empty.new_zeros(shape[:-1]), path)
                self.add_slot(weight, "c", empty.new_zeros(shape[:-2] + shape[-1:]), path)
            self.add_slot(weight, "velocity", torch.zeros_like(weight.tensor.detach()))

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return the weight of the new squares, and the rate."""
        number = number_type(dtype)
        step = number(self._num_updates() + 1)
        new_share = float(number(1) - (number(1) - step ** number(self.beta_2_decay)))
        return new_share, min(learning_rate, float(1 / step ** number(0.5)))

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Slots,
        new_share: float,
        rate: float,
    ) -> None:
        """Compute `w -= rate * max(epsilon_2, rms(w)) * u / max(1, rms(u) / clip_threshold)`.

        With `u = g / sqrt(average square)`. Means over axes and outer products are taken weight by
        weight; all else is over lists.
        """
        squares = torch._foreach_mul(grads, grads)
        torch._foreach_add_(squares, self.epsilon_1)
        velocities = slots["velocity"]
        _average(self._weights_of(params), squares, slots, new_share)
        updates = torch._foreach_div(grads, torch._foreach_sqrt(velocities))
        sizes = torch._foreach_clamp_min(_root_mean_squares(params), self.epsilon_2)
        excesses = torch._foreach_div(_root_mean_squares(updates), self.clip_threshold)
        scales = torch._foreach_div(sizes, torch._foreach_clamp_min(excesses, 1.0))
        torch._foreach_mul_(updates, scales)
        arithmetic.add_scaled_(params, updates, -rate)


def _average(
    weights: list[Variable], squares: Sequence[Tensor], slots: Slots, new_share: float
) -> None:
    """Update rows, columns and average squares; `new_share` is the weight of the new squares."""
    factored = [index for index, weight in enumerate(weights) if weight.ndim >= 2]
    plain = [index for index, weight in enumerate(weights) if weight.ndim < 2]
    velocities = slots["velocity"]
    if plain:
        arithmetic.lerp_([velocities[i] for i in plain], [squares[i] for i in plain], new_share)
    if not factored:
        return
    rows, columns = ([slots[name][i] for i in factored] for name in ("r", "c"))
    in_keras_layout = [weights[i].in_keras_layout(squares[i]) for i in factored]
    arithmetic.lerp_(rows, [square.mean(-1) for square in in_keras_layout], new_share)
    arithmetic.lerp_(columns, [square.mean(-2) for square in in_keras_layout], new_share)
    shares = torch._foreach_div(rows, [row.mean(-1, keepdim=True) for row in rows])
    products = [
        weights[i].in_torch_layout(share.unsqueeze(-1) * column.unsqueeze(-2))
        for i, share, column in zip(factored, shares, columns, strict=True)
    ]
    torch._foreach_copy_([velocities[i] for i in factored], products)


def _root_mean_squares(tensors: Sequence[Tensor]) -> list[Tensor]:
    roots = [math.sqrt(max(tensor.numel(), 1)) for tensor in tensors]
    return list(torch._foreach_div(torch._foreach_norm(list(tensors)), roots))
