"""What the relatives of Adam have in common."""

from __future__ import annotations

from typing import Any

from torchseq.base import arguments
from torchseq.optimizers.optimizer import Optimizer


class TwoBetas(Optimizer):
    """Base of optimizers with an average gradient, a second state, and an epsilon.

    Adam itself takes any epsilon, as its fused kernel does.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        beta_1: weight of the old average gradient, in [0, 1].
        beta_2: weight of the old second state, in [0, 1].
        epsilon: added to what divides; at least 0.
        **options: those of `Optimizer`.
    """

    _saved: tuple[str, ...] = ("beta_1", "beta_2", "epsilon")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        self.beta_1 = arguments.fraction(self, "beta_1", beta_1)
        self.beta_2 = arguments.fraction(self, "beta_2", beta_2)
        self.epsilon = arguments.number(self, "epsilon", epsilon, minimum=0)

    def build_slots(self) -> None:
        """Make the two averages."""
        self.add_slots("momentum", "velocity")
