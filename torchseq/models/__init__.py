"""Models."""

from torchseq.base import registry as _registry
from torchseq.models.model import Model
from torchseq.models.sequential import Sequential
from torchseq.saving import load_model, save_model

__all__ = ["Model", "Sequential", "load_model", "save_model"]

_registry.register_builtin("keras", {"Model": Model, "Sequential": Sequential})
