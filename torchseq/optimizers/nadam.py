"""Nadam."""

from __future__ import annotations

import torch
from torch import Tensor

from torchseq.base import naming
from torchseq.optimizers import arithmetic, state
from torchseq.optimizers.betas import TwoBetas
from torchseq.optimizers.optimizer import Slots
from torchseq.optimizers.rounding import correction, number_type

_DECAY = 0.96  # of the step's distance of `beta_1` from its final value


class Nadam(TwoBetas):
    """Adam that looks ahead along its average gradient, as Nesterov's momentum does.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        beta_1: weight of the old average gradient, in [0, 1]; the look ahead grows from about
            half of it to all of it.
        beta_2: weight of the old average square, in [0, 1].
        epsilon: added to the root of the corrected average square.
        **options: those of `Optimizer`.

    Source: keras.optimizers.Nadam; Dozat, 2015. The product of all weights of the look ahead so
        far is the last of `variables`, and lives on the host.
    """

    is_elementwise = True

    def build_slots(self) -> None:
        """Make the two averages and the product."""
        super().build_slots()
        dtype = self._params[0].dtype if self._params else None
        # Keras gives it no name. It goes on when weights are added later.
        path = None if self.built else naming.path_to(naming.auto_name("Variable"))
        self.add_number("product", 1.0, dtype, path)

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return what is missing in the average square, and the rates of average and gradient."""
        missing = correction(self.beta_2, self._num_updates() + 1, dtype)
        mean_rate, grad_rate = self._ahead(dtype)
        return float(missing), learning_rate * mean_rate, learning_rate * grad_rate

    def update(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: Slots,
        missing: float,
        mean_rate: float,
        grad_rate: float,
    ) -> None:
        """Compute `w -= rate * ahead / (root + epsilon)`.

        With `ahead = mean_rate * mean + grad_rate * g` and `root = sqrt(square / missing)`.
        """
        means, squares = slots["momentum"], slots["velocity"]
        torch._foreach_lerp_(means, grads, 1 - self.beta_1)
        arithmetic.average_squares_(squares, grads, self.beta_2)
        # Not folded into the rates: epsilon times its root would vanish in float16.
        roots = torch._foreach_div(squares, missing)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, self.epsilon)
        arithmetic.add_ratios_(params, means, roots, -mean_rate)
        arithmetic.add_ratios_(params, grads, roots, -grad_rate)

    def _ahead(self, dtype: torch.dtype) -> tuple[float, float]:
        """Return the weights of average and gradient in this update, and update the product."""
        number = number_type(dtype)
        step = self._num_updates() + 1
        now, ahead = (
            number(self.beta_1) * (number(1) - number(0.5) * number(_DECAY) ** number(at))
            for at in (step, step + 1)
        )
        variable = self._numbers["product"]
        product = number(state.number_of(variable)) * now
        state.set_number(variable, float(product))
        one = number(1)
        mean_rate, grad_rate = ahead / (one - product * ahead), (one - now) / (one - product)
        return float(mean_rate), float(grad_rate)
