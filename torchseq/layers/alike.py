"""Whether layers treat the samples of a batch alike, so that batches may be cut otherwise."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType

from torchseq.base import registry
from torchseq.layers.layer import Layer

_RUN_USERS_CODE = ("Lambda", "TorchModuleWrapper")
_CHANGE_IN_TRAINING = ("BatchNormalization", "SpectralNormalization")


def treats_samples_alike(layer: Layer) -> bool:
    """Tell whether each output sample is a function of its input sample alone.

    Only layers of this package are known to do so.
    """
    name = type(layer).__name__
    if not registry.is_builtin(type(layer)) or name in _RUN_USERS_CODE:
        return False
    if name in _CHANGE_IN_TRAINING and layer.training:
        return False
    options = (getattr(layer, name, None) for name in ("stateful", "noise_shape"))
    functions = (getattr(layer, name, None) for name in ("activation", "recurrent_activation"))
    return (
        not any(options)
        and not any(map(_is_users_code, functions))
        and layer.activity_regularizer is None
    )


def _is_users_code(function: object) -> bool:
    """Tell whether an activation is a function that somebody else wrote; torch's own are known."""
    if isinstance(function, BuiltinFunctionType):
        return False
    return isinstance(function, FunctionType) and not function.__module__.startswith(
        ("torchseq.", "torch.")
    )
