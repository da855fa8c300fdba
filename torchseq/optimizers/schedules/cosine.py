"""Schedules that fall as half a cosine wave: once, after a warm-up if asked, or again and again."""

from __future__ import annotations

import math
from typing import Any

from torchseq.optimizers.schedules.arithmetic import Arithmetic
from torchseq.optimizers.schedules.schedule import ClosedFormSchedule, num_steps, number


class CosineDecay(ClosedFormSchedule):
    """A rate that falls as half a cosine wave, after a linear warm-up if asked.

    Args:
        initial_learning_rate: of step 0; at least 0.
        decay_steps: steps of the fall, those of the warm-up not counted; above 0.
        alpha: the last rate as a fraction of that from which it falls.
        name: kept for Keras's configs.
        warmup_target: the rate after the warm-up, from which it falls; None for no warm-up.
        warmup_steps: steps of the warm-up, of no effect without `warmup_target`; at least 0.

    Raises:
        ValueError: if an argument is out of its range.

    Source: keras.optimizers.schedules.CosineDecay; Loshchilov and Hutter, arXiv:1608.03983. For
        integers see `ExponentialDecay`: here `initial_learning_rate=0` warms up from 0 to
        `warmup_target`, of which Keras then cuts off the fraction.

    Examples:
        >>> schedule = CosineDecay(0.0, decay_steps=100, warmup_target=0.5, warmup_steps=10)
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 60, 110)]
        [0.0, 0.25, 0.5, 0.25, 0.0]
    """

    _saved = (
        "initial_learning_rate",
        "decay_steps",
        "alpha",
        "name",
        "warmup_target",
        "warmup_steps",
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str | None = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ):
        self.initial_learning_rate = number(self, "initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = num_steps(self, "decay_steps", decay_steps)
        self.alpha = number(self, "alpha", alpha)
        self.name = name
        self.warmup_target = (
            None if warmup_target is None else number(self, "warmup_target", warmup_target, 0)
        )
        self.warmup_steps = number(self, "warmup_steps", warmup_steps, 0)

    def formula(self, step: Any, maths: Arithmetic) -> Any:
        """Return the rate of a step."""
        step, last = maths.number(step), maths.number(self.decay_steps)
        initial = maths.number(self.initial_learning_rate)
        if self.warmup_target is None:
            return self._fallen(maths.minimum(step, last), initial, maths)
        target, warmup = maths.number(self.warmup_target), maths.number(self.warmup_steps)
        step = maths.minimum(step, last + warmup)
        return maths.choose(
            step < warmup,
            lambda: (target - initial) * (step / warmup) + initial,
            lambda: self._fallen(step - warmup, target, maths),
        )

    def _fallen(self, step: Any, highest: Any, maths: Arithmetic) -> Any:
        angle = maths.number(math.pi) * (step / maths.number(self.decay_steps))
        wave = 0.5 * (1.0 + maths.cos(angle))
        return highest * (maths.number(1 - self.alpha) * wave + maths.number(self.alpha))


class CosineDecayRestarts(ClosedFormSchedule):
    """A rate that falls as half a cosine wave, again and again.

    Args:
        initial_learning_rate: of step 0; at least 0.
        first_decay_steps: steps of the first fall; above 0.
        t_mul: each fall has so many times the steps of the one before; above 0.
        m_mul: each fall starts from so many times the rate of the one before; at least 0.
        alpha: the last rate of a fall as a fraction of `initial_learning_rate`.
        name: kept for Keras's configs.

    Raises:
        ValueError: if an argument is out of its range.

    Source: keras.optimizers.schedules.CosineDecayRestarts; Loshchilov and Hutter,
        arXiv:1608.03983. With `t_mul` below 1 the falls end, and the rate is NaN from then on, as
        in Keras. For integers see `ExponentialDecay`.

    Examples:
        >>> schedule = CosineDecayRestarts(0.5, first_decay_steps=10, m_mul=0.5)
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 20, 30)]
        [0.5, 0.25, 0.25, 0.125, 0.125]
    """

    _saved = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = "SGDRDecay",
    ):
        self.initial_learning_rate = number(self, "initial_learning_rate", initial_learning_rate, 0)
        self.first_decay_steps = num_steps(self, "first_decay_steps", first_decay_steps)
        self.t_mul = num_steps(self, "t_mul", t_mul)
        self.m_mul = number(self, "m_mul", m_mul, 0)
        self.alpha = number(self, "alpha", alpha)
        self.name = name

    def formula(self, step: Any, maths: Arithmetic) -> Any:
        """Return the rate of a step."""
        restarts, fraction = self._place(
            maths.number(step) / maths.number(self.first_decay_steps), maths
        )
        alpha = maths.number(self.alpha)
        wave = 1.0 + maths.cos(maths.number(math.pi) * fraction)
        wave = 0.5 * maths.power(maths.number(self.m_mul), restarts) * wave
        return maths.number(self.initial_learning_rate) * ((1 - alpha) * wave + alpha)

    def _place(self, periods: Any, maths: Arithmetic) -> tuple[Any, Any]:
        """Return how many falls are over, and the fraction of the present one that is.

        Args:
            periods: steps so far, in lengths of the first fall.
            maths: the operations that are not Python's.
        """
        if self.t_mul == 1:
            restarts = maths.floor(periods)
            return restarts, periods - restarts
        ratio = maths.number(self.t_mul)
        # n falls last (1 - ratio**n) / (1 - ratio) times as long as the first.
        restarts = maths.floor(maths.log(1.0 - periods * (1.0 - ratio)) / maths.log(ratio))
        length = maths.power(ratio, restarts)
        return restarts, (periods - (1.0 - length) / (1.0 - ratio)) / length
