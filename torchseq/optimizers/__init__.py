"""Optimizers, under Keras's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchseq.base import registry as _registry
from torchseq.optimizers import schedules
from torchseq.optimizers import torch_forms as _torch_forms
from torchseq.optimizers.adadelta import Adadelta
from torchseq.optimizers.adafactor import Adafactor
from torchseq.optimizers.adagrad import Adagrad
from torchseq.optimizers.adam import Adam
from torchseq.optimizers.adamax import Adamax
from torchseq.optimizers.adamw import AdamW
from torchseq.optimizers.ftrl import Ftrl
from torchseq.optimizers.lamb import Lamb
from torchseq.optimizers.lion import Lion
from torchseq.optimizers.loss_scale import LossScaleOptimizer
from torchseq.optimizers.muon import Muon
from torchseq.optimizers.nadam import Nadam
from torchseq.optimizers.optimizer import Optimizer
from torchseq.optimizers.rmsprop import RMSprop
from torchseq.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from torchseq.optimizers.sgd import SGD
from torchseq.optimizers.torch_optimizer import TorchOptimizer

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "ScheduleFreeAdamW",
    "TorchOptimizer",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

_CLASSES = (
    SGD,
    Adam,
    RMSprop,
    AdamW,
    Adamax,
    Nadam,
    Adadelta,
    Adagrad,
    Ftrl,
    Lion,
    Lamb,
    Adafactor,
    Muon,
    ScheduleFreeAdamW,
)
_WRAPPERS = (LossScaleOptimizer, TorchOptimizer)  # no name alone makes one
_registry.register_builtin(
    "keras.optimizers", {cls.__name__: cls for cls in (*_CLASSES, *_WRAPPERS)}
)
_family = _registry.Family(
    "optimizer",
    "keras.optimizers",
    {name: cls for cls in _CLASSES for name in (cls.__name__, cls.__name__.lower())},
)


def get(identifier: Any) -> Any:
    """Return the optimizer for a name in any case, a config, a class or an object.

    Optimizers and schedulers of torch, and functions that make them, come as a `TorchOptimizer`.

    Raises:
        ValueError: if the name is not known, with the nearest known ones.
    """
    if _torch_forms.is_torch_form(identifier):
        return TorchOptimizer(*_torch_forms.parts_of(identifier))
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
