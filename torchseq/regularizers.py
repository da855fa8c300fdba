"""Regularizers: penalties on weights that are added to the loss.

They take a weight in Keras's shape and return a scalar tensor through which gradients flow.

Source: keras.regularizers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchseq.base import arguments, registry, settings
from torchseq.base.types import Config
from torchseq.base.variable import as_tensor

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]


class Regularizer:
    """A penalty on a weight: `regularizer(x)`.

    A subclass writes `__call__`, and `get_config` if models with it are to be saved.

    Source: keras.Regularizer.
    """

    def __call__(self, x: Tensor) -> Any:
        """Return the penalty of a tensor, a scalar; the base class's is 0."""
        return 0.0

    def get_config(self) -> Config:
        """Return the constructor's arguments.

        Raises:
            NotImplementedError: if the subclass did not write it.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: a regularizer must write `get_config` to be saved. "
            "Return its constructor's arguments."
        )

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make a regularizer from what `get_config` returned."""
        return cls(**config)


class L1L2(Regularizer):
    """Penalty `l1 * sum(abs(x)) + l2 * sum(x²)`.

    Args:
        l1, l2: factors, at least 0; None means 0.

    Raises:
        ValueError: if a factor is negative or not finite.

    Source: keras.regularizers.L1L2.
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0):
        self.l1 = _factor(self, "l1", 0.0 if l1 is None else l1)
        self.l2 = _factor(self, "l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        if self.l1 == 0.0:
            return self.l2 * x.square().sum()
        penalty = self.l1 * x.abs().sum()
        return penalty if self.l2 == 0.0 else penalty + self.l2 * x.square().sum()

    def get_config(self) -> Config:
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """Penalty `l1 * sum(abs(x))`.

    Args:
        l1: factor, at least 0; None means 0.01.

    Raises:
        ValueError: if the factor is negative or not finite.

    Source: keras.regularizers.L1. Keras's config has the factor rounded to float32.
    """

    def __init__(self, l1: float | None = 0.01):
        self.l1 = _factor(self, "l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * as_tensor(x).abs().sum()

    def get_config(self) -> Config:
        return {"l1": self.l1}


class L2(Regularizer):
    """Penalty `l2 * sum(x²)`, without a half.

    Args:
        l2: factor, at least 0; None means 0.01.

    Raises:
        ValueError: if the factor is negative or not finite.

    Source: keras.regularizers.L2.

    Examples:
        >>> L2(0.1)(torch.tensor([1.0, 2.0]))
        tensor(0.5000)
    """

    def __init__(self, l2: float | None = 0.01):
        self.l2 = _factor(self, "l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Tensor) -> Tensor:
        return self.l2 * as_tensor(x).square().sum()

    def get_config(self) -> Config:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """Penalty for rows (or columns) that are not orthogonal: `factor` × mean |cosine| of pairs.

    Args:
        factor: at least 0.
        mode: `"rows"` or `"columns"`.

    Raises:
        ValueError: if `factor` is negative or not finite, or for another mode; when called, if
            the weight is no matrix.

    Source: keras.regularizers.OrthogonalRegularizer. Keras's config has the factor rounded to
        float32.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _factor(self, "factor", factor)
        self.mode = arguments.one_of(self, "mode", mode, ["rows", "columns"])

    def __call__(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        if x.ndim != 2:
            raise ValueError(
                f"OrthogonalRegularizer: the weight must have 2 axes; got shape {tuple(x.shape)}."
            )
        vectors = x if self.mode == "rows" else x.T
        lengths = vectors.square().sum(1, keepdim=True)
        # A zero vector stays zero: its reciprocal length is cut off, as in Keras.
        units = vectors * lengths.rsqrt().clamp(max=1.0 / settings.epsilon())
        size = len(units)
        others = 1.0 - torch.eye(size, dtype=x.dtype, device=x.device)
        num_pairs = size * (size - 1.0) / 2.0
        return self.factor * 0.5 * (units @ units.T * others).abs().sum() / num_pairs

    def get_config(self) -> Config:
        return {"factor": self.factor, "mode": self.mode}


def _factor(owner: Regularizer, name: str, value: Any) -> float:
    is_number = isinstance(value, float | int) or arguments.is_integer(value)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"{type(owner).__name__}: `{name}` must be a finite number of at least 0; "
            f"got {name}={value!r}."
        )
    return float(value)


# Keras's other names for the same classes.
l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer

_NAMES = {
    "L1": L1,
    "L1L2": L1L2,
    "L2": L2,
    "OrthogonalRegularizer": OrthogonalRegularizer,
    "Regularizer": Regularizer,
    "l1": L1,
    "l1_l2": L1L2,  # as in keras.regularizers; Keras's own strings know only the next one
    "l1l2": L1L2,
    "l2": L2,
    "orthogonal_regularizer": OrthogonalRegularizer,
    "regularizer": Regularizer,
}
_FAMILY = registry.Family("regularizer", "keras.regularizers", _NAMES)
registry.register_builtin("keras.regularizers", _NAMES)


def get(identifier: Any) -> Any:
    """Return the regularizer for a name, config, class or callable; None is None.

    Raises:
        ValueError: if the name is not known.
        TypeError: if it is none of these.
    """
    return _FAMILY.get(identifier)


def serialize(regularizer: Any) -> Any:
    """Return the config of a regularizer."""
    return _FAMILY.serialize(regularizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the regularizer that a name or config describes."""
    return _FAMILY.deserialize(config, custom_objects)
