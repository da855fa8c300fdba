"""Optimizers, under Keras's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchseq.base import registry as _registry
from torchseq.optimizers.adam import Adam
from torchseq.optimizers.optimizer import Optimizer
from torchseq.optimizers.rmsprop import RMSprop
from torchseq.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer", "RMSprop", "deserialize", "get", "serialize"]

_CLASSES = (SGD, Adam, RMSprop)
_registry.register_builtin("keras.optimizers", {cls.__name__: cls for cls in _CLASSES})
_family = _registry.Family(
    "optimizer",
    "keras.optimizers",
    {name: cls for cls in _CLASSES for name in (cls.__name__, cls.__name__.lower())},
)


def get(identifier: Any) -> Any:
    """Return the optimizer for a name in any case, a config, a class or an object.

    Raises:
        ValueError: if the name is not known, with the nearest known ones.
    """
    if isinstance(identifier, str) and identifier.lower() in _family.names:
        identifier = identifier.lower()
    return _family.get(identifier)


def serialize(optimizer: Any) -> Any:
    """Return an optimizer's config."""
    return _family.serialize(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the optimizer that a config describes.

    Raises:
        ValueError: if it names a class that is not known.
    """
    return _family.deserialize(config, custom_objects)
