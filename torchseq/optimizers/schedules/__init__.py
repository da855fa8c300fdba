"""Learning rate schedules, under Keras's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchseq.base import registry as _registry
from torchseq.optimizers.schedules.cosine import CosineDecay, CosineDecayRestarts
from torchseq.optimizers.schedules.decay import (
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from torchseq.optimizers.schedules.schedule import LearningRateSchedule

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

_CLASSES = (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
_names = {cls.__name__: cls for cls in _CLASSES}
_registry.register_builtin("keras.optimizers.schedules", _names)
_family = _registry.Family("learning rate schedule", "keras.optimizers.schedules", _names)


def serialize(learning_rate_schedule: Any) -> Any:
    """Return a schedule's config."""
    return _family.serialize(learning_rate_schedule)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the schedule that a config describes.

    Args:
        config: what `serialize` (or Keras's) returned, or Keras's older form without `module`.
        custom_objects: name in the config -> class of yours.

    Raises:
        ValueError: if it names a class that is not known.
    """
    return _family.deserialize(config, custom_objects)
