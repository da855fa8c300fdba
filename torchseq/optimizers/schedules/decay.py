"""Schedules that fall: by a factor, as 1 / time, as a power, in steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchseq.optimizers.schedules.arithmetic import Arithmetic
from torchseq.optimizers.schedules.schedule import ClosedFormSchedule, num_steps, number


class ExponentialDecay(ClosedFormSchedule):
    """The rate `initial_learning_rate * decay_rate ** (step / decay_steps)`.

    Args:
        initial_learning_rate: of step 0; at least 0.
        decay_steps: steps in which the rate falls by the factor `decay_rate`; above 0.
        decay_rate: at least 0.
        staircase: let the rate fall all at once, each `decay_steps` steps.
        name: kept for Keras's configs.

    Raises:
        ValueError: if an argument is out of its range.

    Source: keras.optimizers.schedules.ExponentialDecay. An integer rate counts as the number it
        is; Keras then computes with integers, which makes a `decay_rate` of 0.5 a 0.

    Examples:
        >>> schedule = ExponentialDecay(0.5, decay_steps=10, decay_rate=0.25)
        >>> [float(schedule(step)) for step in (0, 5, 10)]
        [0.5, 0.25, 0.125]
    """

    _saved = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "ExponentialDecay",
    ):
        self.initial_learning_rate = number(self, "initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = num_steps(self, "decay_steps", decay_steps)
        self.decay_rate = number(self, "decay_rate", decay_rate, 0)
        self.staircase = staircase
        self.name = name

    def formula(self, step: Any, maths: Arithmetic) -> Any:
        """Return the rate of a step."""
        periods = maths.number(step) / maths.number(self.decay_steps)
        if self.staircase:
            periods = maths.floor(periods)
        factor = maths.power(maths.number(self.decay_rate), periods)
        return maths.number(self.initial_learning_rate) * factor


class InverseTimeDecay(ClosedFormSchedule):
    """The rate `initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Args:
        initial_learning_rate: of step 0; at least 0.
        decay_steps: steps after which the divisor has grown by `decay_rate`; above 0.
        decay_rate: growth of the divisor.
        staircase: let the rate fall all at once, each `decay_steps` steps.
        name: kept for Keras's configs.

    Raises:
        ValueError: if an argument is out of its range.

    Source: keras.optimizers.schedules.InverseTimeDecay; for integers see `ExponentialDecay`.

    Examples:
        >>> schedule = InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)
        >>> [float(schedule(step)) for step in (0, 10, 30)]
        [0.5, 0.25, 0.125]
    """

    _saved = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "InverseTimeDecay",
    ):
        self.initial_learning_rate = number(self, "initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = num_steps(self, "decay_steps", decay_steps)
        self.decay_rate = number(self, "decay_rate", decay_rate)
        self.staircase = staircase
        self.name = name

    def formula(self, step: Any, maths: Arithmetic) -> Any:
        """Return the rate of a step."""
        periods = maths.number(step) / maths.number(self.decay_steps)
        if self.staircase:
            periods = maths.floor(periods)
        divisor = maths.number(1) + maths.number(self.decay_rate) * periods
        return maths.number(self.initial_learning_rate) / divisor


class PolynomialDecay(ClosedFormSchedule):
    """The rate `(initial - end) * (1 - step / decay_steps) ** power + end`.

    Args:
        initial_learning_rate: of step 0; at least 0.
        decay_steps: step at which the rate arrives at its end; above 0.
        end_learning_rate: of `decay_steps` and all later steps; at least 0.
        power: 1 for a straight line.
        cycle: instead of staying at the end, stretch `decay_steps` to its next multiple.
        name: kept for Keras's configs.

    Raises:
        ValueError: if an argument is out of its range.

    Source: keras.optimizers.schedules.PolynomialDecay; for integers see `ExponentialDecay`.

    Examples:
        >>> schedule = PolynomialDecay(0.5, decay_steps=10, end_learning_rate=0.0)
        >>> [float(schedule(step)) for step in (0, 5, 10, 11)]
        [0.5, 0.25, 0.0, 0.0]
    """

    _saved = (
        "initial_learning_rate",
        "decay_steps",
        "end_learning_rate",
        "power",
        "cycle",
        "name",
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = "PolynomialDecay",
    ):
        self.initial_learning_rate = number(self, "initial_learning_rate", initial_learning_rate, 0)
        self.decay_steps = num_steps(self, "decay_steps", decay_steps)
        self.end_learning_rate = number(self, "end_learning_rate", end_learning_rate, 0)
        self.power = number(self, "power", power)
        self.cycle = cycle
        self.name = name

    def formula(self, step: Any, maths: Arithmetic) -> Any:
        """Return the rate of a step."""
        step, last = maths.number(step), maths.number(self.decay_steps)
        if self.cycle:
            periods = maths.ceil(step / last)
            last = last * maths.choose(step == 0, lambda: maths.number(1), lambda: periods)
        else:
            step = maths.minimum(step, last)
        initial, end = (
            maths.number(self.initial_learning_rate),
            maths.number(self.end_learning_rate),
        )
        left = maths.power(1 - step / last, maths.number(self.power))
        return (initial - end) * left + end


class PiecewiseConstantDecay(ClosedFormSchedule):
    """The rate `values[0]` to step `boundaries[0]` inclusive, then `values[1]`, and so on.

    Args:
        boundaries: last steps of all rates but the last; none below the one before it.
        values: the rates, one more than boundaries; at least 0.
        name: kept for Keras's configs.

    Raises:
        ValueError: if there are not as many rates, a boundary is below the one before it, or an
            entry is no number.

    Source: keras.optimizers.schedules.PiecewiseConstantDecay. Keras returns integers for integer
        values, adds up the rates of overlapping intervals, and fails without boundaries.

    Examples:
        >>> schedule = PiecewiseConstantDecay([100, 200], [0.5, 0.25, 0.125])
        >>> [float(schedule(step)) for step in (0, 100, 101, 201)]
        [0.5, 0.5, 0.25, 0.125]
    """

    _saved = ("boundaries", "values", "name")

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str | None = "PiecewiseConstant",
    ):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "PiecewiseConstantDecay: the length of `boundaries` must be 1 less than the length "
                f"of `values`; got boundaries={boundaries} of length {len(boundaries)}, and "
                f"values={values} of length {len(values)}."
            )
        self.boundaries = [number(self, "boundaries", boundary) for boundary in boundaries]
        self.values = [number(self, "values", value, 0) for value in values]
        if self.boundaries != sorted(self.boundaries):
            raise ValueError(
                "PiecewiseConstantDecay: `boundaries` must increase; got "
                f"boundaries={self.boundaries}. Sort them."
            )
        self.name = name

    def formula(self, step: Any, maths: Arithmetic) -> Any:
        """Return the rate of a step."""
        return maths.pick(step, self.boundaries, self.values)
