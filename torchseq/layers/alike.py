"""Whether layers treat the samples of a batch alike, so that batches may be cut otherwise."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
from torch.nn import functional as F

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
    if not _spares_first_axis(getattr(layer, "axis", None)):
        return False
    options = (getattr(layer, name, None) for name in ("stateful", "noise_shape"))
    functions = (getattr(layer, name, None) for name in ("activation", "recurrent_activation"))
    return (
        not any(options) and all(map(_is_known, functions)) and layer.activity_regularizer is None
    )


def _spares_first_axis(axis: Any) -> bool:
    """Tell whether a layer's axes are surely not the samples'; of those from the end, the last."""
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    return all(each is None or each == -1 or each > 0 for each in axes)


def _is_known(function: Any) -> bool:
    """Tell whether an activation surely looks at no more than a sample.

    A callable object, such as `partial(torch.softmax, dim=0)`, may do anything.
    """
    if function is None or isinstance(function, Layer):  # a layer is looked at by itself
        return True
    if isinstance(function, FunctionType) and function.__module__.startswith("torchseq."):
        return True
    return function in _OF_ENTRIES


_OF_ENTRIES = (torch.relu, torch.sigmoid, torch.tanh, F.relu, F.gelu, F.silu, F.elu, F.selu)
