"""Constraints: what a weight is put through after each update.

They take a weight in Keras's shape and return its new value.

Source: keras.constraints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from torchseq.base import registry, settings
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]


class Constraint:
    """A rule that weights must keep: `constraint(w)`.

    A subclass writes `__call__`, and `get_config` if its constructor has arguments.

    Source: keras.constraints.Constraint.
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weight's new value; the base class changes nothing."""
        return w

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make a constraint from what `get_config` returned."""
        return cls(**config)


class MaxNorm(Constraint):
    """Shortens the vectors along `axis` that are longer than `max_value`.

    Args:
        max_value: the largest norm.
        axis: axis or axes over which the norm is taken; 0 for a dense kernel, (0, 1, 2) for that
            of a 2D convolution.

    Source: keras.constraints.MaxNorm.
    """

    def __init__(self, max_value: float = 2, axis: int | tuple[int, ...] = 0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        w = as_tensor(w)
        norms = _norms(w, self.axis)
        return w * (norms.clamp(0, self.max_value) / (settings.epsilon() + norms))

    def get_config(self) -> Config:
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """Sets negative values to 0.

    Source: keras.constraints.NonNeg.
    """

    def __call__(self, w: Tensor) -> Tensor:
        return as_tensor(w).clamp(min=0)


class UnitNorm(Constraint):
    """Gives all vectors along `axis` length 1.

    Args:
        axis: see `MaxNorm`.

    Source: keras.constraints.UnitNorm.
    """

    def __init__(self, axis: int | tuple[int, ...] = 0):
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        w = as_tensor(w)
        return w / (settings.epsilon() + _norms(w, self.axis))

    def get_config(self) -> Config:
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """Moves the norms of the vectors along `axis` toward the range they should lie in.

    Args:
        min_value, max_value: the range.
        rate: how far an update goes, in [0, 1]; 1 goes all the way.
        axis: see `MaxNorm`.

    Source: keras.constraints.MinMaxNorm.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | tuple[int, ...] = 0,
    ):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        w = as_tensor(w)
        norms = _norms(w, self.axis)
        inside = norms.clamp(self.min_value, self.max_value)
        wanted = self.rate * inside + (1 - self.rate) * norms
        return w * (wanted / (settings.epsilon() + norms))

    def get_config(self) -> Config:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


def _norms(w: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    return w.square().sum(axis, keepdim=True).sqrt()


# Keras's other names for the same classes.
max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm

_NAMES = {
    "Constraint": Constraint,
    "MaxNorm": MaxNorm,
    "MinMaxNorm": MinMaxNorm,
    "NonNeg": NonNeg,
    "UnitNorm": UnitNorm,
    "constraint": Constraint,
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
}
_FAMILY = registry.Family("constraint", "keras.constraints", _NAMES)
registry.register_builtin("keras.constraints", _NAMES)


def get(identifier: Any) -> Any:
    """Return the constraint for a name, config, class or callable; None is None.

    Raises:
        ValueError: if the name is not known.
        TypeError: if it is none of these.
    """
    return _FAMILY.get(identifier)


def serialize(constraint: Any) -> Any:
    """Return the config of a constraint."""
    return _FAMILY.serialize(constraint)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the constraint that a name or config describes."""
    return _FAMILY.deserialize(config, custom_objects)
