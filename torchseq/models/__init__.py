"""Models."""

from torchseq.base import registry as _registry
from torchseq.models.sequential import Sequential
from torchseq.saving import load_model, save_model

__all__ = ["Sequential", "load_model", "save_model"]

_registry.register_builtin("keras", {"Sequential": Sequential})
