"""AdamW."""

from __future__ import annotations

from typing import Any

from torchseq.optimizers.adam import Adam


class AdamW(Adam):
    """Adam with weight decay, apart from the averages of the gradient.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        weight_decay: each step multiplies the weights by `1 - weight_decay * learning_rate`,
            before it updates them.
        beta_1: weight of the old average gradient, in [0, 1].
        beta_2: weight of the old average square, in [0, 1].
        epsilon: added to the root of the average square **before** the correction.
        amsgrad: divide by the largest average square so far.
        **options: those of `Optimizer`.

    Raises:
        ValueError: if `weight_decay` is None.

    Source: keras.optimizers.AdamW; Loshchilov & Hutter, 2019.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ):
        if weight_decay is None:
            raise ValueError(
                "AdamW: `weight_decay` must be a number; got weight_decay=None. Take Adam to "
                "train without it."
            )
        super().__init__(
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            amsgrad=amsgrad,
            weight_decay=weight_decay,
            **options,
        )
